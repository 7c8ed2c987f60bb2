"""What observers keep of a shard, taken to shards of another number: watches with their timers, clock, cool-downs.

A watch is kept by rule and value, and hits of several customers can wait in it. Each hit goes where its customer goes;
the stretches that are covered go wherever an event of that value may come from. What is usual of a value is not:
each of another number of shards hears another part of its events. Their timers are not carried: they are made anew from
the hits, so that one whose clock is now ahead fires just after it, as a late one does. Timers that wake customers go
where their customer goes; one whose clock is now ahead fires at the next full hour.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from engine.core.clock import ShardClock
from engine.core.customers import WAKES
from engine.core.following import WATCH_ENDS
from engine.core.stretches import STRETCH_MS
from engine.core.timers import NO_TIMER, Timer, Timers, unpack
from engine.core.watches import Watch

_watches: Final = msgspec.msgpack.Decoder(Watch)


class UnknownTimer(Exception):
    """A timer of a kind that nobody knows how to carry."""


class Watching:
    """The watches of shards that are being filled."""

    def __init__(self) -> None:
        self._held: dict[int, dict[bytes, tuple[Watch, int]]] = {}
        self._wakes: dict[int, list[Timer]] = {}

    def wake(self, timer: Timer, owner: Callable[[str], int]) -> None:
        """Take in a timer that wakes a customer. `owner`: new shard of a customer."""
        self._wakes.setdefault(owner(timer.payload.decode()), []).append(timer)

    def add(
        self,
        key: bytes,
        packed: bytes,
        expires_ms: int,
        owner: Callable[[str], int],
        everyone: Iterable[int],
    ) -> None:
        """Take in a stored watch. `owner`: new shard of a customer; `everyone`: the shards its customers can be in."""
        watch = _watches.decode(packed)
        if not (watch.armed or watch.covered):
            return
        for shard in everyone:
            self._at(shard, key, expires_ms, watch.covered)
        for hit in watch.armed:
            held = self._at(owner(hit.customer_id), key, expires_ms, watch.covered)
            if held.takes(hit.time_ms):
                held.arm(hit)

    def _at(self, shard: int, key: bytes, expires_ms: int, covered: Sequence[tuple[int, int]]) -> Watch:
        held, until_ms = self._held.setdefault(shard, {}).get(key, (Watch(), expires_ms))
        for low, high in covered:
            held.cover(low, high)
        self._held[shard][key] = held, max(until_ms, expires_ms) if until_ms and expires_ms else 0
        return held

    def of(self, shard: int, clock: bytes) -> tuple[list[tuple[bytes, bytes, int]], bytes, bytes | None]:
        """What a shard gets: keys, values and expiry (ms, 0 for never) of its watches, packed operations that store
        its timers, and what its head holds of those."""
        now = ShardClock(0, 0, clock).now
        timers, watches = Timers(backed=True), []
        for key, (watch, expires_ms) in sorted(self._held.pop(shard, {}).items()):
            watch.timer_ms = NO_TIMER
            if watch.armed:
                watch.timer_ms = max(watch.armed[0].due_ms, now + 1)
                timers.schedule(Timer(watch.timer_ms, WATCH_ENDS, key[1:]), now)
            watches.append((key, msgspec.msgpack.encode(watch), expires_ms))
        for timer in self._wakes.pop(shard, []):
            full_hour = (now // STRETCH_MS + 1) * STRETCH_MS
            timers.schedule(timer._replace(due_ms=max(timer.due_ms, full_hour)), now)
        return watches, timers.flush(now), timers.changed()


def waking(bucket: bytes, clock: bytes) -> list[Timer]:
    """Of the timers of a bucket that are still to fire, those that wake customers.

    Raises `UnknownTimer` where there are others than these and those of watches.
    """
    now, found = ShardClock(0, 0, clock).now, []
    for timer in unpack(bucket):
        if timer.due_ms > now and timer.kind not in (WATCH_ENDS, WAKES):
            raise UnknownTimer(f"a timer of kind {timer.kind}: this version does not know whose it is")
        if timer.due_ms > now and timer.kind == WAKES:
            found.append(timer)
    return found
