"""Tables of whole numbers as bytes: column by column, each in the shortest of three codings, in bits.

| coding | holds |
|---|---|
| near | what each value is above the least, in as many bits as most need; where one needs more, its upper bits |
| rare | the commonest value, and how far those lie from it that are another |
| few | the different values, and for each row which |

A column in which all values are equal takes four bytes or a few more.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from engine.engagement.packing_kernel import FEW, HEADS_BYTES, LONG, NEAR, RARE, WORD_BITS, pack

Table = Sequence[Sequence[int]]
_MASK: Final = 2**WORD_BITS - 1
_UNPATCHED: Final = b"\0\0"
_LITTLE: Final = 48  # fewer numbers are unpacked sooner without numpy


def pack_tables(*tables: Table) -> bytes:
    """Tables, each as its columns, to be read one after the other. A column is numbers from -(2**63) to 2**64 - 1 less
    than 2**64 apart; those of a table are of one length.

    Raises:
        OverflowError: numbers of another range.
        ValueError: columns of several lengths.
    """
    heads, words = 0, list[int]()
    for columns in tables:
        rows = len(columns[0]) if columns else 0
        used = columns if rows else ()
        if not {rows}.issuperset(map(len, columns)):
            raise ValueError(f"columns of lengths {sorted(set(map(len, columns)))} in one table")
        words += len(used), rows, 0
        for column in used:
            words += column
        heads += 1 + len(used)
    try:
        packed = struct.pack(f"{len(words)}q", *words)
    except struct.error:
        words = _wide(tables)
        packed = struct.pack(f"{len(words)}Q", *words)
    out = np.empty(len(packed) + heads * HEADS_BYTES, np.uint8)
    return out[: pack(np.frombuffer(packed, np.uint64), out)].tobytes()


def _wide(tables: Iterable[Table]) -> list[int]:
    """What the kernel takes where signed words do not hold all numbers."""
    words = list[int]()
    for columns in tables:
        rows = len(columns[0]) if columns else 0
        used = columns if rows else ()
        words += len(used), rows, 1
        for column in used:
            least, most = min(column), max(column)
            if least < -(2**63) or most > _MASK or most - least > _MASK:
                raise OverflowError(f"a column of numbers from {least} to {most} cannot be packed")
            words += least & _MASK, least < 0, *(number & _MASK for number in column)
    return words


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
    if number <= LONG:
        return number.to_bytes(1, "little")
    width = number.bit_length() + 7 >> 3
    return (LONG + width).to_bytes(1, "little") + number.to_bytes(width, "little")


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
        return first if first <= LONG else int.from_bytes(self.take(first - LONG), "little")

    def same(self) -> int | None:
        """The number of a column in which all are equal, folded, where it is a small one: of most columns."""
        place, packed = self.place, self._packed
        if packed[place] != RARE or packed[place + 2 : place + 4] != _UNPATCHED or packed[place + 1] > LONG:
            return None
        self.place += 4
        return packed[place + 1]

    def bits(self, count: int, width: int) -> list[int]:
        """So many numbers of so many bits."""
        if not width or not count:
            return [0] * count
        if width > WORD_BITS:
            raise ValueError(f"numbers of {width} bits")
        taken = self.take(count * width + 7 >> 3)
        if count <= _LITTLE:
            whole, mask = int.from_bytes(taken, "little"), (1 << width) - 1
            return [whole >> place & mask for place in range(0, count * width, width)]
        packed = np.frombuffer(taken, np.uint8)
        words = np.zeros((count, WORD_BITS), np.uint8)
        words[:, :width] = np.unpackbits(packed, count=count * width, bitorder="little").reshape(count, width)
        found: list[int] = np.packbits(words, axis=1, bitorder="little").view("<u8").ravel().tolist()
        return found


def _unpack_column(source: Source, count: int) -> list[int]:
    same = source.same()
    if same is not None:
        return [_unfold(same)] * count
    (coding,) = source.take(1)
    low, places = _unfold(source.number()), (count - 1).bit_length()
    if coding == FEW:
        number, width = source.take(2)
        values = [low + value for value in source.bits(number, width)]
        return [values[code] for code in source.bits(count, (number - 1).bit_length())]
    if coding == NEAR:
        (shift,) = source.take(1)
        column = [low + value for value in source.bits(count, shift)] if shift else [low] * count
    elif coding == RARE:
        column = [low] * count
    else:
        raise ValueError(f"a column in coding {coding}")
    patched = source.number()
    (width,) = source.take(1)
    if not patched:
        return column
    where, what = source.bits(patched, places), source.bits(patched, width)
    for place, value in zip(where, what, strict=True):
        column[place] += value << shift if coding == NEAR else _unfold(value)
    return column


def _unfold(number: int) -> int:
    return number >> 1 if not number & 1 else ~(number >> 1)
