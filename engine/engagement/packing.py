"""Tables of whole numbers as bytes: column by column, each in the shortest of three codings, in bits.

| coding | holds |
|---|---|
| near | what each value is above the least, in as many bits as most need; where one needs more, its upper bits |
| rare | the commonest value, and how far those lie from it that are another |
| few | the different values, and for each row which |

A column in which all values are equal takes four bytes or a few more.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NEAR, _RARE, _FEW = range(3)
_LONG: Final = 246  # a greater number is written as its length behind this, and its bytes
_FEW_MAX: Final = 32
_WORD_BITS: Final = 64
_LITTLE: Final = 48  # fewer numbers are packed sooner without numpy


def pack_tables(*tables: Sequence[Sequence[int]]) -> bytes:
    """Tables, each as its columns, to be read one after the other. A column is numbers from -(2**63) to 2**64 - 1 less
    than 2**64 apart; those of a table are of one length."""
    packed = []
    for columns in tables:
        count = len(columns[0]) if columns else 0
        table = pack_number(count) + b"".join(map(_pack_column, columns if count else ()))
        packed += [pack_number(len(table)), table]
    return b"".join(packed)


def unpack_tables(source: "Source", count: int) -> list[Iterator[tuple[int, ...]]]:
    """So many tables of `pack_tables`, as rows. Raises `ValueError` where the bytes are none."""
    return [_unpack_rows(source.take(source.number())) for _ in range(count)]


def _unpack_rows(packed: bytes) -> Iterator[tuple[int, ...]]:
    source = Source(packed)
    count, columns = source.number(), list[list[int]]()
    while source.place < len(packed):
        columns.append(_unpack_column(source, count))
    if count and not columns:
        raise ValueError(f"{count} rows without a column")
    return zip(*columns, strict=True)


def pack_number(number: int) -> bytes:
    """A number from 0 to 2**72 - 1, in one byte where it is small."""
    if number <= _LONG:
        return number.to_bytes(1, "little")
    width = number.bit_length() + 7 >> 3
    return (_LONG + width).to_bytes(1, "little") + number.to_bytes(width, "little")


class Source:
    """Packed bytes that are read from front to back. Methods raise `ValueError` where they end too soon."""

    __slots__ = ("_packed", "place")

    def __init__(self, packed: bytes, place: int = 0) -> None:
        self._packed, self.place = packed, place

    def take(self, length: int) -> bytes:
        """The next bytes."""
        found = self._packed[self.place : self.place + length]
        if len(found) < length:
            raise ValueError("packed bytes end too soon")
        self.place += length
        return found

    def number(self) -> int:
        """A number that `pack_number` wrote."""
        first = self.take(1)[0]
        return first if first <= _LONG else int.from_bytes(self.take(first - _LONG), "little")

    def bits(self, count: int, width: int) -> list[int]:
        """So many numbers of so many bits."""
        if not width or not count:
            return [0] * count
        if width > _WORD_BITS:
            raise ValueError(f"numbers of {width} bits")
        taken = self.take(count * width + 7 >> 3)
        if count <= _LITTLE:
            whole, mask = int.from_bytes(taken, "little"), (1 << width) - 1
            return [whole >> place & mask for place in range(0, count * width, width)]
        packed = np.frombuffer(taken, np.uint8)
        words = np.zeros((count, _WORD_BITS), np.uint8)
        words[:, :width] = np.unpackbits(packed, count=count * width, bitorder="little").reshape(count, width)
        found: list[int] = np.packbits(words, axis=1, bitorder="little").view("<u8").ravel().tolist()
        return found


def _pack_bits(values: Sequence[int], width: int) -> bytes:
    count = len(values)
    if not width or not count:
        return b""
    if count <= _LITTLE:
        whole = 0
        for value in reversed(values):
            whole = whole << width | value
        return whole.to_bytes(count * width + 7 >> 3, "little")
    words = np.array(values, "<u8").view(np.uint8).reshape(-1, 8)
    bits: NDArray[np.uint8] = np.unpackbits(words, axis=1, count=width, bitorder="little")
    return np.packbits(bits, bitorder="little").tobytes()


def _pack_column(column: Sequence[int]) -> bytes:
    count, first = len(column), column[0]
    if column.count(first) == count:
        return bytes((_RARE,)) + _signed(first) + b"\0\0"
    counts = Counter(column)
    low, high = min(counts), max(counts)
    most, places = (high - low).bit_length(), (count - 1).bit_length()
    near, width = _near({value - low: times for value, times in counts.items()}, count, most, places)
    if len(counts) <= _FEW_MAX:
        common, times = counts.most_common(1)[0]
        far = max(_fold(high - common), _fold(low - common)).bit_length()
        rare = (count - times) * (places + far)
        if len(counts) * most + count * (len(counts) - 1).bit_length() < min(near, rare):
            return _few(column, sorted(counts), most)
        if rare < near and far <= _WORD_BITS:
            others = [(place, _fold(value - common)) for place, value in enumerate(column) if value != common]
            return bytes((_RARE,)) + _signed(common) + _patches(others, places, far)
    above = [value - low for value in column]
    mask = (1 << width) - 1
    over = [(place, value >> width) for place, value in enumerate(above) if value > mask] if width < most else []
    lower = _pack_bits([value & mask for value in above] if over else above, width)
    return bytes((_NEAR,)) + _signed(low) + bytes((width,)) + lower + _patches(over, places, most - width)


def _near(counts: dict[int, int], count: int, most: int, places: int) -> tuple[int, int]:
    """Bits of the coding `near` at the best width, and that width, for numbers that occur so often."""
    ordered = sorted(counts)
    upto = [0, *accumulate(counts[value] for value in ordered)]
    best, at = count * most, most
    for width in range(most - 1, -1, -1):
        over = count - upto[bisect_left(ordered, 1 << width)]
        bits = count * width + over * (places + most - width)
        if bits < best:
            best, at = bits, width
        elif over << 1 > count:  # it only gets worse
            break
    return best, at


def _few(column: Sequence[int], values: list[int], width: int) -> bytes:
    codes, low = {value: code for code, value in enumerate(values)}, values[0]
    known = _pack_bits([value - low for value in values], width)
    each = _pack_bits([codes[value] for value in column], (len(values) - 1).bit_length())
    return bytes((_FEW,)) + _signed(low) + bytes((len(values), width)) + known + each


def _patches(patches: list[tuple[int, int]], places: int, width: int) -> bytes:
    if not patches:
        return b"\0\0"
    where = _pack_bits([place for place, _ in patches], places)
    what = _pack_bits([value for _, value in patches], width)
    return pack_number(len(patches)) + bytes((width,)) + where + what


def _unpack_column(source: Source, count: int) -> list[int]:
    (coding,) = source.take(1)
    low, places = _unfold(source.number()), (count - 1).bit_length()
    if coding == _FEW:
        number, width = source.take(2)
        values = [low + value for value in source.bits(number, width)]
        return [values[code] for code in source.bits(count, (number - 1).bit_length())]
    if coding == _NEAR:
        (shift,) = source.take(1)
        column = [low + value for value in source.bits(count, shift)] if shift else [low] * count
    elif coding == _RARE:
        column = [low] * count
    else:
        raise ValueError(f"a column in coding {coding}")
    patched = source.number()
    (width,) = source.take(1)
    where, what = source.bits(patched, places), source.bits(patched, width)
    for place, value in zip(where, what, strict=True):
        column[place] += value << shift if coding == _NEAR else _unfold(value)
    return column


def _fold(number: int) -> int:
    """A number of either sign as one from 0 on, small where it was near 0."""
    return number << 1 if number >= 0 else ~(number << 1)


def _unfold(number: int) -> int:
    return number >> 1 if not number & 1 else ~(number >> 1)


def _signed(number: int) -> bytes:
    return pack_number(_fold(number))
