"""What the label desk of a shard keeps, taken to shards of another number: cases that wait to mature.

A customer's cases are keys of the customer. What waits is kept by the hour, cases of many customers in one key, and
holds no customer: whose a case is, is known by the customer's own keys, where it stands too.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.cases import Notice, block, unpack
from engine.core.clock import UNSET
from engine.core.maturing import Stored

_stored: Final = msgspec.msgpack.Decoder(Stored)


def buckets(stored: bytes) -> list[int]:
    """The hours of which something waits, as a head holds them; empty bytes for none."""
    return _stored.decode(stored).buckets if stored else []


def head_of(hours: Iterable[int]) -> bytes:
    """The same, to be stored."""
    return msgspec.msgpack.encode(Stored(sorted(hours)))


def done(stored: bytes) -> int:
    """Up to when cases have matured, as a head holds it; before every time for empty bytes."""
    return int.from_bytes(stored, "little", signed=True) if stored else UNSET


def waiting(book: bytes, done_ms: int) -> NDArray[np.uint64]:
    """Identities of the cases in a customer's key that have not matured."""
    found = [part[1] for part in unpack(book) if not isinstance(part, Notice)]
    left = [cases["identity"][cases["due_ms"] > done_ms] for cases in found]
    return np.concatenate(left).astype(np.uint64) if left else np.empty(0, np.uint64)


def divided(
    bucket: bytes,
    done_ms: int,
    home: Callable[[NDArray[np.uint64]], NDArray[np.int64]],
    everyone: Iterable[int],
) -> dict[int, bytes]:
    """What waits in an hour, by new shard.

    Args:
        bucket: as stored.
        done_ms: what was due by then is through.
        home: the new shard of cases, by identity.
        everyone: the shards that any of them can go to; notices go to all, for they do nothing where their case is not.
    """
    parts: dict[int, list[bytes]] = {shard: [] for shard in everyone}
    held: set[int] = set()
    for part in unpack(bucket):
        if isinstance(part, Notice):
            for of_shard in parts.values():
                of_shard.append(part.packed())
            continue
        form, cases = part
        cases = cases[cases["due_ms"] > done_ms]
        homes = home(cases["identity"].astype(np.uint64))
        for shard in np.unique(homes).tolist():
            held.add(shard)
            parts[shard].append(block(form, cases[homes == shard]))
    return {shard: b"".join(parts[shard]) for shard in held}
