"""The state operations of a commit, as one packed byte string.

The pure rooms describe what a micro-batch changes as a sequence of operations on byte keys; a state store applies
them all or none. One packed string, because a Redis call with thousands of arguments costs the client more than the
server: the server's Lua function unpacks it instead.

Layout of one operation, little endian, no padding: `kind u8 | key length u8 | ttl hours u16 | value length u32 | key |
value`. `ttl hours` 0 leaves the key's expiry as it is; anything else sets it. Keys are at most 255 bytes, and the
first byte names the room that owns it (`KEY_*`).
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

APPEND: Final = 1
SET: Final = 2
DELETE: Final = 3
REWRITE: Final = 4  # of what others append to meanwhile: see `rewrite`

KEY_FEATURE: Final = b"f"  # + group id u16 LE + entity hash u64 LE: an entity log
KEY_ADMISSION: Final = b"a"  # + customer hash u64 LE: event ids, payments seen, greatest event time
KEY_CUSTOMER: Final = b"c"  # + blake2b-128 of the customer_id: profile and ledger
KEY_TIMER: Final = b"t"  # + number of the bucket i64 LE: timers by due time
KEY_WATCH: Final = b"w"  # + hash of the rule's id u64 LE + hash of the value waited for u64 LE: what is waited for
KEY_LABEL: Final = b"l"  # + customer hash u64 LE + eight days since 1970 u16 LE: cases of decisions
KEY_MATURING: Final = b"m"  # + hours since 1970 i64 LE: cases by the hour in which they mature
KEY_CLAIM: Final = b"i"  # + identity hash u64 LE + code u32 LE: what campaigns gave whoever has a device, card, …
KEY_HEAD: Final = b"h"  # + name: small state of the whole shard (layout, clock, detector), loaded at assignment

HEADER: Final = struct.Struct("<BBHI")
CONDITION: Final = struct.Struct("<I40s")  # bytes of the value that are replaced, their SHA-1 in hexadecimal
KEY_BYTES_MAX: Final = 255


class Op(NamedTuple):
    """One operation: `kind` is `APPEND`, `SET`, `DELETE` or `REWRITE`; `ttl_hours` 0 leaves the expiry as it is."""

    kind: int
    key: bytes
    value: bytes
    ttl_hours: int = 0


def pack(op: Op) -> bytes:
    """Pack one operation. Raises `ValueError` where the key is too long."""
    if not 0 < len(op.key) <= KEY_BYTES_MAX:
        raise ValueError(f"state key of {len(op.key)} bytes; 1 to {KEY_BYTES_MAX} allowed")
    return HEADER.pack(op.kind, len(op.key), op.ttl_hours, len(op.value)) + op.key + op.value


def rewrite(key: bytes, read: bytes, by: bytes, ttl_hours: int = 0) -> Op:
    """The operation that replaces `read`, a value as it was loaded, and leaves alone what was appended to it since.

    Where the value no longer begins with those bytes (somebody else rewrote it) nothing happens. A length alone would
    not do for a condition: a log that was rewritten shorter can have grown to the same length again.
    """
    return Op(REWRITE, key, CONDITION.pack(len(read), _sha1(read)) + by, ttl_hours)


def rewritten(value: bytes | bytearray, condition: bytes) -> bytes | None:
    """What the value of a `REWRITE` makes of a stored value; None where it leaves it alone."""
    length, digest = CONDITION.unpack_from(condition)
    if len(value) < length or _sha1(value[:length]) != digest:
        return None
    return condition[CONDITION.size :] + bytes(value[length:])


def _sha1(data: bytes | bytearray) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest().encode()


def unpack(packed: bytes) -> Iterator[Op]:
    """Yield the operations of a packed string, in order. Raises `ValueError` on a truncated one."""
    position = 0
    while position < len(packed):
        if position + HEADER.size > len(packed):
            raise ValueError(f"truncated operation header at byte {position}")
        kind, key_bytes, ttl_hours, value_bytes = HEADER.unpack_from(packed, position)
        position += HEADER.size
        end = position + key_bytes + value_bytes
        if end > len(packed):
            raise ValueError(f"truncated operation at byte {position}")
        yield Op(kind, packed[position : position + key_bytes], packed[position + key_bytes : end], ttl_hours)
        position = end
