"""Rows of whole numbers as bytes: column by column, each as wide as its values need, nothing where all are equal."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

_ROWS_BYTES: Final = 4
_COLUMN: Final = 9  # its width in bytes and its least value


def pack_rows(rows: Sequence[tuple[int, ...]]) -> bytes:
    """Rows of numbers from 0 to 2**64 - 1, all of one length."""
    parts = [len(rows).to_bytes(_ROWS_BYTES, "little")]
    for column in zip(*rows, strict=True):
        low = min(column)
        width = (max(column) - low).bit_length() + 7 >> 3
        parts.append(width.to_bytes(1, "little") + low.to_bytes(8, "little"))
        if width:
            values = np.array([value - low for value in column], "<u8").view(np.uint8).reshape(-1, 8)
            parts.append(values[:, :width].tobytes())
    return b"".join(parts)


def unpack_rows(packed: bytes) -> Iterator[tuple[int, ...]]:
    """The rows of `pack_rows`. Raises `ValueError` where the bytes are none."""
    count, place = int.from_bytes(packed[:_ROWS_BYTES], "little"), _ROWS_BYTES
    columns = []
    while place < len(packed):
        width, low = packed[place], int.from_bytes(packed[place + 1 : place + _COLUMN], "little")
        place += _COLUMN
        values = np.zeros((count, 8), np.uint8)
        if width > 8 or place + width * count > len(packed):
            raise ValueError("rows end in the middle of a column")
        values[:, :width] = np.frombuffer(packed, np.uint8, width * count, place).reshape(count, width)
        columns.append([low + value for value in values.view("<u8").ravel().tolist()])
        place += width * count
    return zip(*columns, strict=True)
