"""The kernel of `engine.engagement.packing`: chooses a coding for each column of tables, and writes it.

What is written is bytes, the lowest bits first. A column of 64-bit words is looked at as how far each of them is above
the least, which is from 0 to 2**64 - 1 whatever the signs are.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

NEAR, RARE, FEW = 0, 1, 2
LONG: Final = 246  # a greater number is written as its length behind this, and its bytes
FEW_MAX: Final = 32
WORD_BITS: Final = 64
TABLE: Final = 3
"""Words before a table: columns, rows, and 1 where `LEAST` stand before each column."""
LEAST: Final = 2
"""Words before a column that signed words cannot hold: its least number modulo 2**64, and 1 where that is below 0."""
HEADS_BYTES: Final = 48
"""The most that a column or a table takes beside the bits of its numbers."""

_NUMBER: Final = 9  # bytes of a number of 64 bits
_HALF: Final = 32
_BYTE: Final = 8
_TIMES, _FIRST = 0, 1  # of a value that is one of few
_0, _1, _8, _63, _255, _LOWER, _SIGN, _LONG = (np.uint64(word) for word in (0, 1, 8, 63, 255, 2**32 - 1, 2**63, LONG))


@njit
def pack(words: Words, out: Bytes) -> int:
    """Write tables, each as its length, the number of its rows, and its columns. Returns how many bytes that is.

    Args:
        words: of each table, `TABLE` and its columns.
        out: room: 8 bytes a word, and `HEADS_BYTES` a column and a table.
    """
    above, where, what = np.empty_like(words), np.empty_like(words), np.empty_like(words)
    known, times = np.empty(FEW_MAX, np.uint64), np.empty(FEW_MAX, np.int64)
    signed, place, at = words.view(np.int64), 0, 0
    while place < len(words):
        columns, rows, wide = signed[place], signed[place + 1], signed[place + 2]
        begin = at + _NUMBER
        end = _put_number(out, begin, words[place + 1], _0)
        place += TABLE
        for _ in range(columns):
            least, below = _least(words, place, rows)
            if wide:
                least, below = words[place], words[place + 1] != _0
                place += LEAST
            for row in range(rows):  # modulo 2**64, in steps that do not wrap: in plain Python numpy complains
                word = words[place + row]
                above[row] = word - least if word >= least else word + ~least + _1
            end = _put_column(out, end, above, rows, least, below, where, what, known, times)
            place += rows
        at = _put_number(out, begin - _NUMBER, np.uint64(end - begin), _0)
        for k in range(begin, end):
            out[at] = out[k]
            at += 1
    return at


@njit
def _least(words: Words, place: int, rows: int) -> tuple[np.uint64, bool]:
    """The least of signed words, and whether it is below 0."""
    least = words[place] ^ _SIGN
    for k in range(place + 1, place + rows):
        if words[k] ^ _SIGN < least:
            least = words[k] ^ _SIGN
    return least ^ _SIGN, least < _SIGN


@njit
def _put_column(
    out: Bytes, at: int, above: Words, rows: int, least: np.uint64, below: bool, where: Words, what: Words,
    known: Words, times: Counts,
) -> int:  # fmt: skip
    """Write a column by how far its rows are above its least number, in the coding that takes the fewest bits."""
    high = _0
    for row in range(rows):
        if above[row] > high:
            high = above[row]
    coding, word, negative, common, width, far = RARE, least, below, _0, 0, 0
    places = _length(np.uint64(rows - 1))
    if high != _0:
        most = _length(high)
        near, width = _best_width(above, rows, most, places)
        coding, far = NEAR, most - width
        different = _count(above, rows, known, times)
        if different <= FEW_MAX:
            common, often = _commonest(above, known, different, times)
            farthest = high - common if high - common >= common else common - _1
            apart = _length(farthest) + 1
            rare = (rows - often) * (places + apart)
            few = different * most + rows * _length(np.uint64(different - 1))
            if few < near and few < rare:
                return _put_few(out, at, above, rows, least, below, known, different, most)
            if rare < near and apart <= WORD_BITS:
                coding, far = RARE, apart
                negative = below and bool(common <= ~least)
                word = least + common if common <= ~least else least - ~common - _1  # modulo 2**64
    out[at] = coding
    at = _put_signed(out, at + 1, word, negative)
    if coding == RARE:
        count = _from_common(above, rows, common, where, what)
    else:
        out[at] = width
        count = _above_width(above, rows, width, where, what)
        at = _put_all(out, at + 1, above, rows, width)
    at = _put_number(out, at, np.uint64(count), _0)
    out[at] = far if count else 0
    at = _put_all(out, at + 1, where, count, places)
    return _put_all(out, at, what, count, far)


@njit
def _best_width(above: Words, rows: int, most: int, places: int) -> tuple[int, int]:
    """Bits of the coding `near` at the best width, and that width; `most` is that which needs no patches."""
    lengths = np.zeros(WORD_BITS + 1, np.int64)
    for row in range(rows):
        lengths[_length(above[row])] += 1
    best, at, over = rows * most, most, 0
    for width in range(most - 1, -1, -1):
        over += lengths[width + 1]
        bits = rows * width + over * (places + most - width)
        if bits < best:
            best, at = bits, width
        elif 2 * over > rows:  # it only gets worse
            break
    return best, at


@njit
def _count(above: Words, rows: int, known: Words, times: Counts) -> int:
    """How many different values there are: they are in `known` then, ascending, and how often each is there. Of more
    than `FEW_MAX` no more is said than that."""
    different = 0
    for row in range(rows):
        value = above[row]
        at = _find(known, different, value)
        if at == different or known[at] != value:
            if different == FEW_MAX:
                return different + 1
            for k in range(different, at, -1):
                known[k] = known[k - 1]
                times[k] = times[k - 1]
            known[at] = value
            times[at] = 0
            different += 1
        times[at] += 1
    return different


@njit
def _commonest(above: Words, known: Words, different: int, times: Counts) -> tuple[np.uint64, int]:
    """The commonest of the values, of equals the one that comes first, and how often it is there."""
    often = 0
    for k in range(different):
        if times[k] > often:
            often = times[k]
    row = 0
    while times[_find(known, different, above[row])] < often:
        row += 1
    return above[row], often


@njit
def _find(known: Words, count: int, value: np.uint64) -> int:
    """Where a value is among so many ascending ones, or belongs."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if known[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _from_common(above: Words, rows: int, common: np.uint64, where: Words, what: Words) -> int:
    """Where the rows are that are not as the commonest, and how far they are from it. Returns how many."""
    count = 0
    for row in range(rows):
        value = above[row]
        if value != common:
            where[count] = row
            what[count] = (value - common) << _1 if value > common else ((common - value - _1) << _1) | _1
            count += 1
    return count


@njit
def _above_width(above: Words, rows: int, width: int, where: Words, what: Words) -> int:
    """Leave so many bits of each; where the rows are that have more, and their upper bits. Returns how many."""
    if width >= WORD_BITS:
        return 0
    shift, count = np.uint64(width), 0
    for row in range(rows):
        upper = above[row] >> shift
        if upper != _0:
            where[count] = row
            what[count] = upper
            above[row] ^= upper << shift
            count += 1
    return count


@njit
def _put_few(
    out: Bytes, at: int, above: Words, rows: int, least: np.uint64, below: bool, known: Words, different: int, most: int
) -> int:
    """Write the coding `few`: the different values, and for each row which."""
    out[at] = FEW
    at = _put_signed(out, at + 1, least, below)
    out[at] = different
    out[at + 1] = most
    at = _put_all(out, at + 2, known, different, most)
    for row in range(rows):
        above[row] = _find(known, different, above[row])
    return _put_all(out, at, above, rows, _length(np.uint64(different - 1)))


@njit
def _put_all(out: Bytes, at: int, values: Words, count: int, width: int) -> int:
    """Write so many bits of each of so many values one after the other, and fill up the last byte."""
    held, filled = _0, 0
    for k in range(count):
        value = values[k]
        for place in range(0, width, _HALF):
            held |= (value >> np.uint64(place) & _LOWER) << np.uint64(filled)
            filled += width - place if width - place < _HALF else _HALF
            while filled >= _BYTE:
                out[at] = held & _255
                held >>= _8
                filled -= _BYTE
                at += 1
    if filled:
        out[at] = held
        at += 1
    return at


@njit
def _put_signed(out: Bytes, at: int, word: np.uint64, negative: bool) -> int:
    """Write a number of either sign, which is a word less 2**64 where it is below 0."""
    if negative:
        return _put_number(out, at, (~word << _1) | _1, _0)
    return _put_number(out, at, word << _1, word >> _63)


@njit
def _put_number(out: Bytes, at: int, number: np.uint64, upper: np.uint64) -> int:
    """Write a number, in one byte where it is small; `upper` is what lies above its 64 bits."""
    if upper == _0 and number <= _LONG:
        out[at] = number
        return at + 1
    width = _NUMBER if upper != _0 else (_length(number) + 7) // 8
    out[at] = LONG + width
    for k in range(1, width + 1):
        out[at + k] = number & _255 if k < _NUMBER else upper
        number >>= _8
    return at + 1 + width


@njit
def _length(number: np.uint64) -> int:
    """How many bits a number takes."""
    bits = 0
    while number > _255:
        number >>= _8
        bits += 8
    while number != _0:
        number >>= _1
        bits += 1
    return bits
