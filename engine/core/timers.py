"""Timers in event time: what is to happen when the clock of the shard has come so far, kept outside of memory.

A timer is stored in the bucket of its due time, a key that is only appended to and is deleted when all in it have
fired. The head of the shard knows the buckets and how many timers in each are still to fire. In memory are the buckets
the clock can reach with the batch at hand; a timer that is due later is a record in the store and nothing else. After
a batch no timer is due by the clock, so that a bucket read again tells by its due times which have fired.

What a timer was set for may be over by then. It cannot be taken back: whoever set it keeps in its own state what is
still wanted, and looks there when it fires.
"""

import heapq
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from engine.domain.ops import APPEND, DELETE, KEY_TIMER, Op, pack

BUCKET_MS: Final = 6 * 3_600_000
"""Width of a bucket: a shard with 50,000 timers a day reads 12,500 at once, and three days of them are 13 keys."""

NO_TIMER: Final = 2**62
"""After every due time."""

_RECORD: Final = struct.Struct("<qBBH")  # due, kind, bytes of owner, bytes of payload
_KEY: Final = struct.Struct("<q")


class Timer(NamedTuple):
    """Ordered as timers fire.

    Attributes:
        due_ms: event time; it fires before the first event after which the clock is at or past it.
        kind: one byte: what it is for.
        owner: at most 255 bytes: whose it is.
        payload: at most 65,535 bytes, for the kind.
    """

    due_ms: int
    kind: int
    owner: bytes
    payload: bytes = b""


class Timers:
    """The timers of one shard.

    Args:
        backed: a state store stands behind; without one all timers are in memory.
        stored: what `changed` gave, empty for a new shard.
    """

    def __init__(self, *, backed: bool, stored: bytes = b"") -> None:
        self._backed = backed
        self._left: dict[int, int] = msgspec.msgpack.decode(stored, type=dict[int, int]) if stored else {}
        self._saved = stored
        self._held: set[int] = set()
        self._heap: list[Timer] = []
        self._fresh: list[Timer] = []
        self._emptied: set[int] = set()
        self._reach = -NO_TIMER

    @property
    def pending(self) -> int:
        """Timers that are still to fire."""
        return sum(self._left.values())

    @property
    def next_ms(self) -> int:
        """When the next timer in memory is due; `NO_TIMER` where there is none."""
        return self._heap[0].due_ms if self._heap else NO_TIMER

    def missing(self, reach_ms: int) -> list[bytes]:
        """Keys of the buckets up to `reach_ms` that are not in memory."""
        self._reach = reach_ms
        if not self._backed:
            return []
        last = reach_ms // BUCKET_MS
        return [_key(bucket) for bucket in sorted(self._left) if bucket <= last and bucket not in self._held]

    def load(self, key: bytes, value: bytes | None, now_ms: int) -> None:
        """Take a stored bucket into memory; `now_ms` is the clock after the last batch."""
        bucket = _KEY.unpack(key[1:])[0]
        left = [timer for timer in unpack(value or b"") if timer.due_ms > now_ms]
        self._held.add(bucket)
        if left:
            self._left[bucket] = len(left)
        else:
            self._left.pop(bucket, None)
            self._emptied.add(bucket)
        for timer in left:
            heapq.heappush(self._heap, timer)

    def due(self, up_to_ms: int) -> list[Timer]:
        """The timers in memory that are due by then, in no order."""
        found, places = [], [0]
        while places:  # a heap: what stands below a timer is due no earlier
            place = places.pop()
            if place < len(self._heap) and self._heap[place].due_ms <= up_to_ms:
                found.append(self._heap[place])
                places += (2 * place + 1, 2 * place + 2)
        return found

    def schedule(self, timer: Timer, after_ms: int) -> None:
        """Set a timer. One that is due at or before `after_ms`, the clock as it stands, is due just after it."""
        if timer.due_ms <= after_ms:
            timer = timer._replace(due_ms=after_ms + 1)
        bucket = timer.due_ms // BUCKET_MS
        near = not self._backed or bucket <= self._reach // BUCKET_MS
        if near and bucket not in self._left:
            self._held.add(bucket)
        self._left[bucket] = self._left.get(bucket, 0) + 1
        self._fresh.append(timer)
        if bucket in self._held:
            heapq.heappush(self._heap, timer)

    def take(self, up_to_ms: int, kind: int | None = None) -> list[Timer]:
        """Take the timers that are due by then, of one kind where it is given, out of memory, in order: they fire."""
        found: list[Timer] = []
        others: list[Timer] = []
        while self._heap and self._heap[0].due_ms <= up_to_ms:
            timer = heapq.heappop(self._heap)
            (found if kind in (None, timer.kind) else others).append(timer)
        for timer in others:
            heapq.heappush(self._heap, timer)
        for bucket, fired in Counter([timer.due_ms // BUCKET_MS for timer in found]).items():
            self._left[bucket] -= fired
            if not self._left[bucket]:
                del self._left[bucket]
                self._held.discard(bucket)
                self._emptied.add(bucket)
        return found

    def flush(self, now_ms: int) -> bytes:
        """Packed operations that store what a batch changed; `now_ms` is the clock after it."""
        fresh, self._fresh = self._fresh, []
        emptied, self._emptied = self._emptied, set()
        if not self._backed:
            return b""
        ops = [pack(Op(DELETE, _key(bucket), b"")) for bucket in sorted(emptied)]
        values: dict[int, list[bytes]] = {}
        for timer in fresh:
            if timer.due_ms > now_ms:
                values.setdefault(timer.due_ms // BUCKET_MS, []).append(_pack(timer))
        ops += [pack(Op(APPEND, _key(bucket), b"".join(parts))) for bucket, parts in values.items()]
        return b"".join(ops)

    def changed(self) -> bytes | None:
        """What the head is to hold; None where it is what it held."""
        stored = msgspec.msgpack.encode(dict(sorted(self._left.items())))
        if stored == self._saved or not (self._left or self._saved):
            return None
        self._saved = stored
        return stored


def _key(bucket: int) -> bytes:
    return KEY_TIMER + _KEY.pack(bucket)


def _pack(timer: Timer) -> bytes:
    sizes = (len(timer.owner), len(timer.payload))
    return _RECORD.pack(timer.due_ms, timer.kind, *sizes) + timer.owner + timer.payload


def unpack(packed: bytes) -> Iterator[Timer]:
    """The timers of a stored bucket, in order of their setting."""
    place = 0
    while place < len(packed):
        due_ms, kind, owner_bytes, payload_bytes = _RECORD.unpack_from(packed, place)
        place += _RECORD.size
        owner = packed[place : place + owner_bytes]
        payload = packed[place + owner_bytes : place + owner_bytes + payload_bytes]
        yield Timer(due_ms, kind, owner, payload)
        place += owner_bytes + payload_bytes
