"""Ticks: event time for shards that are quiet while something waits for time to pass."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from engine.domain.events import ControlTick
from engine.ports.announce import Announcer
from engine.ports.clock import Clock
from engine.ports.log import LogUnavailable
from engine.service.outage import Outage

BELIEVED_MS: Final = 8 * 86_400_000
"""A shard that is further from wall time than this does not live in it: a history that is read through, a
simulation. As far as one event is believed."""


@dataclass(slots=True)
class _Look:
    """What the last look at a shard found: how far its event time had come, and when that was."""

    reached_ms: int
    wall_ms: int


class Ticker:
    """Looks at every shard from time to time and appends a tick to the log of one that waits and does not move.

    A tick carries wall time where the shard lives in it, else the time the shard had come to and what has passed since
    the last look. It is an input on the log like any other: a replay sees what the engine saw.

    Args:
        waiting: by shard that is owned and open, the event time it has come to; None where nothing waits for more.
        announcer: takes the ticks.
        outage: told whether the log is there.
        every_s: time between two looks, and so the least between two ticks.
        now_ms: wall time.
    """

    def __init__(
        self,
        waiting: Callable[[], Mapping[int, int | None]],
        announcer: Announcer,
        *,
        clock: Clock,
        outage: Outage,
        every_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._waiting = waiting
        self._announcer = announcer
        self._clock = clock
        self._outage = outage
        self._every_s = every_s
        self._now_ms = now_ms
        self._last: dict[int, _Look] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(self._every_s)

    async def look(self) -> None:
        """One look at every shard. A tick that could not be appended is left to the next look."""
        now_ms = self._now_ms()
        found = {shard: reached_ms for shard, reached_ms in self._waiting().items() if reached_ms is not None}
        last, self._last = self._last, {shard: _Look(reached_ms, now_ms) for shard, reached_ms in found.items()}
        for shard, reached_ms in found.items():
            before = last.get(shard)
            if before is None or before.reached_ms != reached_ms:
                continue
            lives_now = 0 <= now_ms - reached_ms <= BELIEVED_MS
            time_ms = now_ms if lives_now else reached_ms + max(0, now_ms - before.wall_ms)
            if time_ms <= reached_ms:
                continue
            try:
                await self._announcer.announce(shard, _tick(shard, time_ms))
            except LogUnavailable as error:
                self._outage.failed(error)
                continue
            self._outage.worked()
            self._last[shard] = _Look(time_ms, now_ms)


def ticker(waiting: Callable[[], Mapping[int, int | None]], announcer: Announcer, clock: Clock, tick_ms: int) -> Ticker:
    """The ticker of a process: wall time from the system."""
    outage = Outage("the log that takes ticks", clock)
    return Ticker(waiting, announcer, clock=clock, outage=outage, every_s=tick_ms / 1000, now_ms=_wall_ms)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _tick(shard: int, time_ms: int) -> bytes:
    return msgspec.json.encode(ControlTick(event_id=f"tick-{shard}-{time_ms}", event_time=time_ms))
