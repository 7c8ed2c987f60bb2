"""Rules with `unless_followed_by` over a batch: hits that arm a watch, events that call it off, timers that end it.

A row sees nothing of the rows at or after it. Each value of each rule is on its own, so only where a timer may fire for
a value that the batch has rows of are rows and timers taken in turn, a stretch in which nothing fires at a time. All
other timers fire each by itself, and of all other values the events of the whole batch are taken together
(`engine.core.watches.runs`).
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Effects, Output
from engine.core.seen import raised
from engine.core.timers import NO_TIMER, Timer, Timers
from engine.core.watches import Armed, Watch, Watches, hashes, owner, runs
from engine.ruleset.model import Follow, Rule

WATCH_ENDS: Final = 1
"""Kind of the timers that end a watch. The kind is stored: numbers are never used again for something else."""

Fired = tuple[int, Timer, list[Output]]
"""The row before which a timer fires, and the alerts that come of it."""


@dataclass(slots=True)
class Follower:
    """A rule with `unless_followed_by` over a batch: rows, in order, of its hits and of what follows them.

    Attributes:
        identity: hash of the rule's id; within_ms: after so long a watch ends, or is looked at where it learns what is
            usual (`Follow.look_ms`); learns: which of both.
        rows, values, time_ms, arms: of each such event; `arms` where its hit is to be watched.
        hit: the hit of a row, for a watch that ends at a time.
    """

    identity: int
    within_ms: int
    learns: bool
    rows: NDArray[np.intp]
    values: NDArray[np.uint64]
    time_ms: NDArray[np.int64]
    arms: NDArray[np.bool_]
    hit: Callable[[int, int], Armed]

    def ending(self, end_ms: int) -> NDArray[np.bool_]:
        """Where a watch is armed that ends by then."""
        ending: NDArray[np.bool_] = self.arms & (self.time_ms <= end_ms - self.within_ms)
        return ending

    def cuts(self, clock: NDArray[np.int64]) -> list[int]:
        """Rows before which a watch that is armed in the batch may end in it."""
        ends = self.ending(int(clock[-1]))
        due = self.time_ms[ends] + self.within_ms
        found: list[int] = np.unique(np.maximum(self.rows[ends] + 1, np.searchsorted(clock, due))).tolist()
        return found

    def among(self, some: NDArray[np.bool_]) -> "Follower":
        """With some of its events only."""
        arrays = {name: getattr(self, name)[some] for name in ("rows", "values", "time_ms", "arms")}
        return replace(self, **arrays)


class Following:
    """What is watched, and the timers that end it.

    Args:
        timers, watches: of the shard.
        late_ms: the allowed lateness.
    """

    def __init__(self, timers: Timers, watches: Watches, late_ms: int) -> None:
        self._timers = timers
        self._watches = watches
        self._late = late_ms
        self._known: Mapping[int, Rule] = {}

    def adopt(self, known: Mapping[int, Rule]) -> None:
        """The observers in force, by the hash of their id."""
        self._known = known

    def tick(self, now: int, effects: Effects) -> list[Output]:
        """The clock has come to `now` without an event."""
        fired = self._fire(self._timers.take(now, WATCH_ENDS), [now], effects)
        return list(chain.from_iterable(outputs for *_, outputs in fired))

    def take_in(
        self, followers: Sequence[Follower], clock: NDArray[np.int64], effects: Effects
    ) -> list[tuple[int, Output]]:
        """Take in the rows of a batch; `clock` is where it stands after each. Returns alerts with the row they stand
        before, in order."""
        ends: dict[int, list[Timer]] = {}
        for timer in self._timers.take(int(clock[-1]), WATCH_ENDS):
            ends.setdefault(hashes(timer.owner)[0], []).append(timer)
        fired: list[Fired] = []
        for follower in followers:
            fired += self._follow(follower, ends.pop(follower.identity, []), clock, effects)
        if ends:
            fired += self._fire(sorted(chain.from_iterable(ends.values())), clock.tolist(), effects)
        fired.sort(key=lambda one: one[:2])
        return [(row, output) for row, _, outputs in fired for output in outputs]

    def _follow(
        self, follower: Follower, timers: list[Timer], clock: NDArray[np.int64], effects: Effects
    ) -> list[Fired]:
        """One rule: in turn where its timers and rows are of the same value, each by itself elsewhere."""
        ending = follower.ending(int(clock[-1]))
        if not timers and not np.count_nonzero(ending):
            self._take(follower, int(clock[0]))
            return []
        of = [hashes(timer.owner)[1] for timer in timers]
        both = np.isin(follower.values, np.concatenate((np.array(of, np.uint64), follower.values[ending])))
        fired: list[Fired] = []
        if both.any():
            shared = set(follower.values[both].tolist())
            own = [timer for timer, value in zip(timers, of, strict=True) if value in shared]
            timers = [timer for timer, value in zip(timers, of, strict=True) if value not in shared]
            fired += self._in_turn(follower.among(both), own, clock, effects)
            follower = follower.among(~both)
        fired += self._fire(timers, clock.tolist(), effects)
        self._take(follower, int(clock[0]))
        return fired

    def _in_turn(
        self, follower: Follower, timers: list[Timer], clock: NDArray[np.int64], effects: Effects
    ) -> list[Fired]:
        """Fire timers and take in hits and followers, in the order of the rows."""
        fired: list[Fired] = []
        cuts, times = [*follower.cuts(clock), len(clock)], clock.tolist()
        row = 0
        while row < len(times):
            now = times[row]
            while timers and timers[0].due_ms <= now:
                timer = heappop(timers)
                fired.append((row, timer, self._end(timer, now, times[-1], timers, effects)))
            end = next(cut for cut in cuts if cut > row)
            if timers:
                end = min(end, bisect_left(times, timers[0].due_ms))
            low, high = np.searchsorted(follower.rows, (row, end)).tolist()
            self._take(follower, now, low, high, timers, times[-1])
            row = end
        return fired

    def _fire(self, timers: list[Timer], clock: Sequence[int], effects: Effects) -> list[Fired]:
        """Fire timers that no row of the batch has to do with; `timers` is a heap."""
        fired: list[Fired] = []
        while timers:
            timer = heappop(timers)
            row = bisect_left(clock, timer.due_ms)
            fired.append((row, timer, self._end(timer, clock[row], clock[-1], timers, effects)))
        return fired

    def _end(self, timer: Timer, now: int, end: int, timers: list[Timer], effects: Effects) -> list[Output]:
        """A timer fires: the hits that are due by it were not followed. What is due by `end` joins `timers`."""
        rule, value = hashes(timer.owner)
        watch, known = self._watches.get(rule, value), self._known.get(rule)
        follow = known.follow if known is not None else None
        within = follow.look_ms if follow is not None else 0
        found: list[Output] = []
        for hit in watch.expired(timer.due_ms):
            if known is not None and follow is not None and _is_over(watch, hit, follow):
                found += raised(known, hit, hit.due_ms, effects)
        if watch.timer_ms == timer.due_ms:
            watch.timer_ms = NO_TIMER
        if watch.armed and watch.armed[0].due_ms < watch.timer_ms:
            watch.timer_ms = watch.armed[0].due_ms
            self._set(Timer(watch.timer_ms, WATCH_ENDS, timer.owner), timer.due_ms, end, timers)
        # Hits that are due later may yet ask what came after them, where longer silences are usual.
        watch.forget((timer.due_ms if watch.usual else now) - within)
        self._watches.touch(rule, value, within + self._late)
        return found

    def _take(
        self,
        follower: Follower,
        now: int,
        low: int = 0,
        high: int | None = None,
        timers: list[Timer] | None = None,
        end: int = -NO_TIMER,
    ) -> None:
        """Take in its events from `low` to before `high`, in which nothing fires; `now` is the clock before them, or
        before that. Timers that are due by `end` join `timers`."""
        high = len(follower.rows) if high is None else high
        if low == high:
            return
        within, part = follower.within_ms, slice(low, high)
        rule, get = follower.identity, self._watches.get
        for value, first_ms, last_ms, arms in runs(
            follower.values[part], follower.time_ms[part], follower.arms[part], within
        ):
            watch = get(rule, value)
            watch.cover(first_ms - within, last_ms)
            if follower.learns:
                watch.heard(first_ms, last_ms, within)
            if watch.covered[0][1] <= now - within:  # as `forget` asks, for calls add up
                watch.forget(now - within)
            if arms >= 0 and watch.takes(last_ms):
                hit = follower.hit(follower.rows.item(low + arms), last_ms + within)
                watch.arm(hit)
                if hit.due_ms < watch.timer_ms:
                    watch.timer_ms = hit.due_ms
                    self._set(Timer(hit.due_ms, WATCH_ENDS, owner(rule, value)), now, end, timers)
            self._watches.touch(rule, value, within + self._late)

    def _set(self, timer: Timer, after: int, end: int, timers: list[Timer] | None) -> None:
        """Set a timer. One that fires within the batch is never stored."""
        if timers is not None and timer.due_ms <= end:
            heappush(timers, timer)
        else:
            self._timers.schedule(timer, after)


def _is_over(watch: Watch, hit: Armed, follow: Follow) -> bool:
    """Whether nothing has followed a hit in its time. One that may have longer is armed again."""
    return not follow.usual or watch.bear(hit, follow)
