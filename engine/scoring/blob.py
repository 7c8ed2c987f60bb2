"""Arrays as bytes: the one binary format of what learners have learned. Nothing is ever unpickled.

A blob is a magic of four bytes, arrays one after another, and a blake2b checksum of all of it. An array is the place of
its type in `TYPES`, its number of dimensions, its shape (u32 each) and its values, little endian.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CHECKSUM_BYTES: Final = 8
TYPES: Final = tuple(map(np.dtype, ("<f8", "<f4", "<i8", "<i4", "<u8", "<u2", "u1")))
DIMENSIONS_MAX: Final = 3
_HEADER: Final = struct.Struct("<BB")

Array = NDArray[Any]


def checksum(data: bytes) -> bytes:
    """Eight bytes that change with `data`."""
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest()


def text(value: str) -> Array:
    """A text as an array of its bytes."""
    return np.frombuffer(value.encode(), np.uint8)


def write(magic: bytes, arrays: Sequence[Array]) -> bytes:
    """The blob of these arrays, whose types are in `TYPES`."""
    parts = [magic]
    for array in arrays:
        kind = next(place for place, known in enumerate(TYPES) if known == array.dtype)
        parts += [_HEADER.pack(kind, array.ndim), struct.pack(f"<{array.ndim}I", *array.shape), array.tobytes()]
    body = b"".join(parts)
    return body + checksum(body)


def read(magic: bytes, data: bytes, what: str) -> list[Array]:
    """The arrays of a blob, in order, not writeable. Raises `ValueError`, naming `what`, where it is damaged."""
    body = data[:-CHECKSUM_BYTES]
    if len(body) < len(magic) or checksum(body) != data[-CHECKSUM_BYTES:]:
        raise ValueError(f"{what} is damaged: its checksum does not match")
    if not body.startswith(magic):
        raise ValueError(f"{what} begins with {body[: len(magic)]!r}, not {magic!r}")
    arrays = []
    position = len(magic)
    try:
        while position < len(body):
            array, position = _array(body, position)
            arrays.append(array)
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(f"{what} is damaged at byte {position}: {error}") from None
    return arrays


def _array(body: bytes, position: int) -> tuple[Array, int]:
    """The array at `position`, and where the next one begins."""
    kind, dimensions = _HEADER.unpack_from(body, position)
    if dimensions > DIMENSIONS_MAX:
        raise ValueError(f"an array of {dimensions} dimensions")
    position += _HEADER.size
    shape = struct.unpack_from(f"<{dimensions}I", body, position)
    position += 4 * dimensions
    count = math.prod(shape)
    array = np.frombuffer(body, TYPES[kind], count, position) if count else np.empty(0, TYPES[kind])
    return array.reshape(shape), position + array.nbytes


def expect(array: Array, kind: str, shape: tuple[int, ...], what: str) -> Array:
    """`array`, if it is of this type and shape; -1 stands for any length. Raises `ValueError` where it is not."""
    fits = array.ndim == len(shape) and all(wanted in (-1, n) for wanted, n in zip(shape, array.shape))
    if array.dtype != np.dtype(kind) or not fits:
        raise ValueError(f"{what} holds {array.dtype} of shape {array.shape}; {kind} of {shape} expected")
    return array
