"""Tables as bytes in plain Python, a column at a time: what the kernel of `engine.engagement.packing` must write."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

NEAR, RARE, FEW = range(3)
LONG, FEW_MAX, WORD_BITS = 246, 32, 64


def pack_tables(*tables: Sequence[Sequence[int]]) -> bytes:
    """Tables, each as its columns, to be read one after the other. A column is numbers from -(2**63) to 2**64 - 1 less
    than 2**64 apart; those of a table are of one length."""
    packed = []
    for columns in tables:
        count = len(columns[0]) if columns else 0
        table = pack_number(count) + b"".join(map(_pack_column, columns if count else ()))
        packed += [pack_number(len(table)), table]
    return b"".join(packed)


def pack_number(number: int) -> bytes:
    """A number from 0 to 2**72 - 1, in one byte where it is small."""
    if number <= LONG:
        return number.to_bytes(1, "little")
    width = number.bit_length() + 7 >> 3
    return (LONG + width).to_bytes(1, "little") + number.to_bytes(width, "little")


def _pack_bits(values: Sequence[int], width: int) -> bytes:
    whole = 0
    for value in reversed(values):
        whole = whole << width | value
    return whole.to_bytes(len(values) * width + 7 >> 3, "little")


def _pack_column(column: Sequence[int]) -> bytes:
    count, first = len(column), column[0]
    if column.count(first) == count:
        return bytes((RARE,)) + _signed(first) + b"\0\0"
    counts = Counter(column)
    low, high = min(counts), max(counts)
    most, places = (high - low).bit_length(), (count - 1).bit_length()
    near, width = _near({value - low: times for value, times in counts.items()}, count, most, places)
    if len(counts) <= FEW_MAX:
        common, times = counts.most_common(1)[0]
        far = max(_fold(high - common), _fold(low - common)).bit_length()
        rare = (count - times) * (places + far)
        if len(counts) * most + count * (len(counts) - 1).bit_length() < min(near, rare):
            return _few(column, sorted(counts), most)
        if rare < near and far <= WORD_BITS:
            others = [(place, _fold(value - common)) for place, value in enumerate(column) if value != common]
            return bytes((RARE,)) + _signed(common) + _patches(others, places, far)
    above = [value - low for value in column]
    mask = (1 << width) - 1
    over = [(place, value >> width) for place, value in enumerate(above) if value > mask] if width < most else []
    lower = _pack_bits([value & mask for value in above] if over else above, width)
    return bytes((NEAR,)) + _signed(low) + bytes((width,)) + lower + _patches(over, places, most - width)


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
    return bytes((FEW,)) + _signed(low) + bytes((len(values), width)) + known + each


def _patches(patches: list[tuple[int, int]], places: int, width: int) -> bytes:
    if not patches:
        return b"\0\0"
    where = _pack_bits([place for place, _ in patches], places)
    what = _pack_bits([value for _, value in patches], width)
    return pack_number(len(patches)) + bytes((width,)) + where + what


def _fold(number: int) -> int:
    """A number of either sign as one from 0 on, small where it was near 0."""
    return number << 1 if number >= 0 else ~(number << 1)


def _signed(number: int) -> bytes:
    return pack_number(_fold(number))
