"""The clock of a shard: event time that only the events of its log move.

The clock says up to which time everything that may still come in order has come. An accepted event at `t` sets it to
`t` less the allowed lateness, never back. An event more than `jump_ms` ahead of it moves nothing by itself: it is
held, and only when the next event is as far ahead and of another customer does the clock go to the earlier of both. So
one device whose calendar is wrong fires no timers. A tick of the engine's own moves it always.

The first event sets the clock; the second may set it back, where they are more than `jump_ms` apart. A shard that has
seen one customer only takes that customer's word for the other's.

What an event says of its own customer is another matter (`ShardClock.believed`): nobody else suffers where it is wrong.
After weeks in which a shard slept, or in a history sorted by customer, it is the first to say how late it is.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

UNSET: Final = -(2**62)
"""Before every time: the clock of a shard that has seen no event."""

_NOBODY: Final = 0  # a hash is never 0


class _State(msgspec.Struct, array_like=True):
    now: int = UNSET
    first: bool = False  # exactly one event has been seen
    alone: int = _NOBODY  # the only customer seen so far
    held: int = UNSET  # greatest time of the event ahead, or UNSET
    holder: int = _NOBODY  # its customer


class ShardClock:
    """See the module.

    Args:
        lateness_ms: how far out of order events may arrive.
        jump_ms: how far ahead of the clock one event is believed; at least the lateness.
        stored: what `changed` gave, empty for a new shard.
        own_ms: how far ahead of the clock an event is believed for its own customer alone; at least `jump_ms`.
        past_ms: how far behind the clock it is; at least the lateness.
    """

    def __init__(self, lateness_ms: int, jump_ms: int, stored: bytes = b"", own_ms: int = 0, past_ms: int = 0) -> None:
        self._late = lateness_ms
        self._jump = max(jump_ms, lateness_ms)
        self._own = max(own_ms, self._jump)
        self._past = max(past_ms, lateness_ms)
        self._state = msgspec.msgpack.decode(stored, type=_State) if stored else _State()
        self._saved = stored

    @staticmethod
    def joined(stored: Sequence[bytes]) -> bytes:
        """The clock of a shard that gets the customers of several: the latest of theirs, as `dump` gave them.

        One that a single customer has set counts only where there is no other, and then the earliest does: a device
        whose calendar is wrong moves no one else's time.
        """
        states = [msgspec.msgpack.decode(clock, type=_State) for clock in stored]
        told = [state.now for state in states if not state.first and not state.alone]
        now = max(told) if told else min((state.now for state in states), default=UNSET)
        return msgspec.msgpack.encode(_State(now=now)) if now != UNSET else b""

    @property
    def now(self) -> int:
        """Milliseconds since 1970, or `UNSET`."""
        return self._state.now

    def believed(self, time_ms: int, now: int) -> int:
        """The time of an event for its own customer, the clock standing at `now` after it: what it says, up to `own_ms`
        ahead of that and `past_ms` behind; else no more than the lateness ahead, or `now`."""
        if time_ms > now + self._own:
            return now + self._late
        return time_ms if time_ms >= now - self._past else now

    def advance(self, time_ms: NDArray[np.int64], customers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Take in accepted events, in order. Returns the clock after each, int64 `(n,)`."""
        state = self._state
        if not len(time_ms):
            return np.empty(0, np.int64)
        if not state.alone and state.now != UNSET and int(time_ms.max()) <= state.now + self._jump:
            state.held, state.holder, state.first = UNSET, _NOBODY, False
            clock = np.maximum.accumulate(np.maximum(time_ms - self._late, state.now))
            state.now = int(clock[-1])
            return clock
        return np.array([self._step(t, who) for t, who in zip(time_ms.tolist(), customers.tolist(), strict=True)])

    def tick(self, time_ms: int) -> None:
        """Take in a tick."""
        state = self._state
        state.now = max(state.now, time_ms - self._late)
        state.first, state.alone = False, _NOBODY
        if state.held <= state.now + self._jump:
            state.held, state.holder = UNSET, _NOBODY

    def reach(self, time_ms: NDArray[np.int64], customers: NDArray[np.uint64], ticks: Sequence[int]) -> int:
        """How far the clock can come with these ticks, then any of these events; no less than it will."""
        state = self._state
        now = max([state.now, *(tick - self._late for tick in ticks)])
        if not len(time_ms):
            return now
        top = int(time_ms.max())
        if now == UNSET or state.alone or top <= now + self._jump:
            return max(now, top - self._late)
        while True:
            ordinary = time_ms[time_ms <= now + self._jump]
            further = max(now, int(ordinary.max()) - self._late) if len(ordinary) else now
            second = self._second(time_ms, customers, further)
            further = second - self._late if second > further + self._jump else further
            if further == now:
                return now
            now = further

    def _second(self, time_ms: NDArray[np.int64], customers: NDArray[np.uint64], now: int) -> int:
        """The greatest time that two customers have come to who are both ahead of `now`; UNSET where there are none."""
        rows = np.flatnonzero(time_ms > now + self._jump).tolist()
        latest = {self._state.holder: self._state.held} if self._state.holder else {}
        for row in rows:
            who = int(customers[row])
            latest[who] = max(latest.get(who, UNSET), int(time_ms[row]))
        return sorted(latest.values())[-2] if len(latest) > 1 else UNSET

    def _step(self, time_ms: int, who: int) -> int:
        """Take in one event. Returns the clock after it."""
        state = self._state
        if state.now == UNSET:
            state.now, state.first, state.alone = time_ms - self._late, True, who
            return state.now
        if state.first:
            self._second_event(time_ms, who)
        elif time_ms <= state.now + self._jump:
            state.now = max(state.now, time_ms - self._late)
            state.held, state.holder = UNSET, _NOBODY
        elif state.holder and (state.holder != who or state.alone == who):
            later, customer = max((state.held, state.holder), (time_ms, who))
            state.now = min(state.held, time_ms) - self._late
            ahead = later > state.now + self._jump
            state.held, state.holder = (later, customer) if ahead else (UNSET, _NOBODY)
        else:
            state.held, state.holder = max(state.held, time_ms), who
        if state.alone != who:
            state.alone = _NOBODY
        return state.now

    def _second_event(self, time_ms: int, who: int) -> None:
        state = self._state
        state.first = False
        other = state.now + self._late
        if abs(time_ms - other) <= self._jump:
            state.now = max(state.now, time_ms - self._late)
            return
        later = max((other, state.alone), (time_ms, who))
        state.now = min(other, time_ms) - self._late
        state.held, state.holder = later

    def changed(self) -> bytes:
        """What to store, b"" where it is what was stored last."""
        stored = msgspec.msgpack.encode(self._state)
        if stored == self._saved or self._state.now == UNSET:
            return b""
        self._saved = stored
        return stored
