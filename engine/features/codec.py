"""The stored form of an entity's log: bytes that grow by appending, and a snapshot that replaces them now and then.

docs/features.md has the layout. A touch is a few variable-length integers: mask, time as a difference, which columns
are there, money with its exponent, and a hash either in full or as "the same as so many records before".
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain import ops as o
from engine.features import tables as t
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

VERSION: Final = 2
KIND_SNAPSHOT: Final = 1
KIND_FIRST_SEEN: Final = 2
KIND_LOOSE: Final = 3
KEY_BYTES: Final = 11
HEADER_BYTES: Final = 8
REFERENCE_SPAN: Final = 64
"""How many touches back an equal hash is looked for."""
APPEND: Final = o.APPEND
SET: Final = o.SET
KEY_ROOM: Final = o.KEY_FEATURE[0]
TTL_REFRESH_MS: Final = 12 * 3_600_000
TTL_REFRESH_TOUCHES: Final = 16
SEEN_REFRESH_MS: Final = 30 * 86_400_000
FIXED_BYTES: Final = HEADER_BYTES + KEY_BYTES + 48


@njit
def bound(touches: int, columns: int, tile_words: int) -> int:
    """Bytes that an operation with so many touches takes at most."""
    return FIXED_BYTES + touches * (30 + 10 * columns) + 10 * tile_words


@njit
def put_varint(buffer: Bytes, at: int, value: int) -> int:
    """Write a non-negative integer, seven bits a byte, low bits first; the position after it."""
    while value >= 128:
        buffer[at] = (value & 127) | 128
        value >>= 7
        at += 1
    buffer[at] = value
    return at + 1


@inlined
def get_varint(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read one; position -1 where the bytes end first or it is too long."""
    value = np.int64(0)
    shift = 0
    while 0 <= at < end and shift < 63:
        byte = np.int64(buffer[at])
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return int(value), at
        shift += 7
    return 0, -1


@njit
def put_word(buffer: Bytes, at: int, value: int) -> int:
    """Write 64 bits, little endian."""
    for k in range(8):
        buffer[at + k] = (value >> (8 * k)) & 255
    return at + 8


@inlined
def get_word(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read 64 bits as a signed integer."""
    if at < 0 or at + 8 > end:
        return 0, -1
    value = np.int64(0)
    for k in range(7):
        value |= np.int64(buffer[at + k]) << (8 * k)
    top = np.int64(buffer[at + 7])
    value |= (top - 256 if top >= 128 else top) << 56
    return int(value), at + 8


@njit
def begin(buffer: Bytes, at: int, kind: int, group: int, key: int, ttl_hours: int) -> int:
    """Write header and key of an operation, its length still open; the position of the value."""
    buffer[at] = kind
    buffer[at + 1] = KEY_BYTES
    buffer[at + 2] = ttl_hours & 255
    buffer[at + 3] = ttl_hours >> 8
    at += HEADER_BYTES
    buffer[at] = KEY_ROOM
    buffer[at + 1] = group & 255
    buffer[at + 2] = group >> 8
    return put_word(buffer, at + 3, key)


@njit
def finish(buffer: Bytes, value_at: int, end: int) -> None:
    """Fill in the length of the operation whose value lies in `[value_at, end)`."""
    length = end - value_at
    at = value_at - KEY_BYTES - 4
    for k in range(4):
        buffer[at + k] = (length >> (8 * k)) & 255


@njit
def reference(arena: Words, row: Words, cap: int, column: int, j: int) -> int:
    """How many records before touch `j` its hash was stored, 0 where not lately."""
    start = row[t.E_START]
    values = start + (t.R_COLUMNS + column) * cap
    sequence = start + t.R_SEQ * cap
    value, own = arena[values + j], arena[sequence + j]
    for k in range(j - 1, max(-1, j - REFERENCE_SPAN), -1):
        if arena[values + k] == value and arena[sequence + k] < own:
            return int(own - arena[sequence + k])
    return 0


@njit
def put_touch(
    buffer: Bytes, at: int, arena: Words, row: Words, columns: Words, j: int, previous: int, loose: bool
) -> int:
    """Write touch `j` of a log, whose predecessor in the record has the time `previous`.

    A loose one refers to no other: what stands before it in the store is not known.
    """
    start = row[t.E_START]
    count = columns.shape[0]
    cap = row[t.E_CAP]
    at = put_varint(buffer, at, arena[start + t.R_MASK * cap + j] << 1)
    delta = arena[start + j] - previous
    at = put_varint(buffer, at, (delta << 1) ^ (delta >> 63))
    present = 0
    for c in range(count):
        if is_present(arena[start + (t.R_COLUMNS + c) * cap + j], columns[c, t.C_KIND]):
            present |= 1 << c
    at = put_varint(buffer, at, present)
    for c in range(count):
        if (present >> c) & 1:
            value = arena[start + (t.R_COLUMNS + c) * cap + j]
            if columns[c, t.C_KIND] == t.KIND_MONEY:
                at = put_varint(buffer, at, value)
            elif columns[c, t.C_KIND] == t.KIND_FLOAT:
                at = put_word(buffer, at, value)
            else:
                distance = 0 if loose else reference(arena, row, cap, c, j)
                at = put_varint(buffer, at, distance)
                if distance == 0:
                    at = put_word(buffer, at, value)
    return at


@njit
def is_present(word: int, kind: int) -> bool:
    """Whether a word of a log column holds a value."""
    if kind == t.KIND_MONEY:
        return word >= 0
    if kind == t.KIND_FLOAT:  # NaN is the only missing float; all its bit patterns have a full exponent and a fraction
        return (word >> 52) & 0x7FF != 0x7FF or word & 0xFFFFFFFFFFFFF == 0
    return word != 0


@njit
def append_touch(
    buffer: Bytes, meta: Words, arena: Words, row: Words, columns: Words, params: Words, j: int, previous: int
) -> None:
    """Write the operation that appends touch `j`, the latest arrival."""
    time = arena[row[t.E_START] + j]
    ttl = 0
    if abs(time - row[t.E_TTL]) >= TTL_REFRESH_MS or row[t.E_NEXT] % TTL_REFRESH_TOUCHES == 0:
        ttl = params[t.P_TTL_HOURS]
        row[t.E_TTL] = time
    row[t.E_SEEN] = time
    value_at = begin(buffer, meta[t.M_OPS], APPEND, params[t.P_GROUP], row[t.E_KEY], ttl)
    if params[t.P_SHARED] != 0:
        end = put_varint(buffer, value_at, 1)
        end = put_varint(buffer, end, KIND_LOOSE)
        end = put_touch(buffer, end, arena, row, columns, j, 0, True)
    else:
        end = put_touch(buffer, value_at, arena, row, columns, j, previous, False)
    finish(buffer, value_at, end)
    meta[t.M_OPS] = end


@njit
def append_first_seen(buffer: Bytes, meta: Words, row: Words, params: Words, time: int) -> None:
    """Write the operation that appends when an entity was first seen, for an event that leaves no touch."""
    row[t.E_SEEN] = time
    value_at = begin(buffer, meta[t.M_OPS], APPEND, params[t.P_GROUP], row[t.E_KEY], params[t.P_TTL_HOURS])
    at = put_varint(buffer, value_at, 1)
    at = put_varint(buffer, at, KIND_FIRST_SEEN)
    at = put_varint(buffer, at, row[t.E_FIRST])
    at = put_varint(buffer, at, time)
    finish(buffer, value_at, at)
    meta[t.M_OPS] = at


@njit
def put_snapshot(buffer: Bytes, at: int, arena: Words, row: Words, columns: Words) -> int:
    """Write the whole entity but its tiles. Sequence numbers must be positions."""
    at = put_varint(buffer, at, 1)
    at = put_varint(buffer, at, KIND_SNAPSHOT)
    at = put_varint(buffer, at, VERSION)
    at = put_varint(buffer, at, row[t.E_FIRST] + 1 if row[t.E_FIRST] != t.NEVER else 0)
    at = put_varint(buffer, at, row[t.E_LEN])
    previous = 0
    for j in range(row[t.E_LEN]):
        at = put_touch(buffer, at, arena, row, columns, j, previous, False)
        previous = arena[row[t.E_START] + j]
    return at
