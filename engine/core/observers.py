"""The observer rules of a shard: alerts about what happens too often, and about what does not happen.

A row sees nothing of the rows at or after it. So the batch is cut before each row at which a timer may fire; between
two cuts nothing fires, and the events of a value are taken together (`engine.core.watches.runs`). Most batches are not
cut at all.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.clock import ShardClock
from engine.core.cooldowns import Cooldowns
from engine.core.effects import Effects, Output
from engine.core.seen import Seen, Snoozed, raised
from engine.core.timers import NO_TIMER, Timer, Timers
from engine.core.watches import Watches, hashes, owner, runs
from engine.domain.fields import DECISION_TYPES, ENTITY_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_HEAD, KEY_TIMER, KEY_WATCH, SET, Op, pack
from engine.features.columns import Columns
from engine.ruleset.model import Rule
from engine.ruleset.observing import of_types
from engine.ruleset.ruleset import Frame, RuleSet

HEAD_CLOCK: Final = KEY_HEAD + b"clock"
HEAD_TIMERS: Final = KEY_HEAD + b"timers"
HEAD_COOLDOWNS: Final = KEY_HEAD + b"cooldowns"

WATCH_ENDS: Final = 1
"""Kind of the timers that end a watch. The kind is stored: numbers are never used again for something else."""

Part = tuple[int, Output]


@dataclass(slots=True)
class _Follower:
    """A rule with `unless_followed_by` over a batch: rows, in order, of its hits and of what follows them.

    Attributes:
        place: of the rule among the observers; identity: hash of its id.
        rows, values, time_ms, arms: of each such event; `arms` where its hit is to be watched.
    """

    place: int
    identity: int
    rule: Rule
    rows: NDArray[np.intp]
    values: NDArray[np.uint64]
    time_ms: NDArray[np.int64]
    arms: NDArray[np.bool_]

    def cuts(self, clock: NDArray[np.int64]) -> NDArray[np.intp]:
        """Rows before which a watch that is armed in the batch may end in it."""
        assert self.rule.follow is not None
        due = self.time_ms + self.rule.follow.within_ms
        ends = self.arms & (due <= clock[-1])
        found: NDArray[np.intp] = np.maximum(self.rows[ends] + 1, np.searchsorted(clock, due[ends]))
        return found


class Observers:
    """Clock, timers, watches and cool-downs of one shard.

    Args:
        ruleset: whose observers are in force.
        head: the small state of the shard.
        backed: a state store stands behind.
        lateness_ms, jump_ms: see `ShardClock`.
    """

    def __init__(
        self, ruleset: RuleSet, head: dict[bytes, bytes], *, backed: bool, lateness_ms: int, jump_ms: int
    ) -> None:
        self._late = lateness_ms
        self._clock = ShardClock(lateness_ms, jump_ms, head.get(HEAD_CLOCK, b""))
        self._timers = Timers(backed=backed, stored=head.get(HEAD_TIMERS, b""))
        self._cooldowns = Cooldowns(head.get(HEAD_COOLDOWNS, b""))
        self._watches = Watches(backed=backed)
        self._backed = backed
        self._reach = NO_TIMER
        self.adopt(ruleset)

    def adopt(self, ruleset: RuleSet) -> None:
        """Another rule set is in force. Watches of rules it does not have end in silence."""
        self._ruleset = ruleset
        self._identities = [hash64(rule.id) for rule in ruleset.observers]
        self._known = dict(zip(self._identities, ruleset.observers, strict=True))

    @property
    def waiting(self) -> int | None:
        """Event time the shard has come to, where timers wait for it to go on; None where none do."""
        return self._clock.now + self._late if self._timers.pending else None

    def missing(self, columns: Columns, ticks: Sequence[int]) -> list[bytes]:
        """State keys that a batch needs and memory does not hold. Loading them may show more (`load`)."""
        if not self._backed:
            return []
        reach = self._clock.reach(columns.time_ms, columns.string("customer_id"), ticks)
        self._reach = reach
        keys = [*self._timers.missing(reach), *self._ending()]
        for identity, rule in self._known.items():
            if rule.follow is not None and columns.n:
                touched = of_types(columns, (*(rule.on or DECISION_TYPES), *rule.follow.types))
                values = np.unique(columns.string(rule.follow.same)[touched])
                keys += self._watches.missing(identity, values[values != 0].tolist())
        return list(dict.fromkeys(keys))

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        """Take stored state into memory. Returns further keys that are needed: the watches that loaded timers end."""
        watches = [i for i, key in enumerate(keys) if key[:1] == KEY_WATCH]
        self._watches.load([keys[i] for i in watches], [values[i] for i in watches])
        for key, value in zip(keys, values, strict=True):
            if key[:1] == KEY_TIMER:
                self._timers.load(key, value, self._clock.now)
        return self._ending()

    def _ending(self) -> list[bytes]:
        ending = dict.fromkeys(timer.owner for timer in self._timers.due(self._reach))
        return [key for of in ending for key in self._watches.missing(*_one(hashes(of)))]

    def evict(self, watches_max: int) -> None:
        """Bound what is held in memory."""
        self._watches.evict(watches_max)

    def tick(self, ticks: Sequence[int], effects: Effects) -> list[Part]:
        """The clock goes on by control events, before the rows of the batch. Returns the alerts that come of it."""
        found: list[Part] = []
        for time_ms in ticks:
            self._clock.tick(time_ms)
            found += [(0, output) for output in self._fire(self._clock.now, effects)]
        return found

    def observe(
        self,
        columns: Columns,
        frame: Callable[[NDArray[np.intp]], Frame],
        snoozed: Snoozed,
        positions: Sequence[int],
        effects: Effects,
    ) -> tuple[list[Part], list[Part]]:
        """Take in the accepted rows of a batch.

        Args:
            columns: the rows, at least one.
            frame: what rules see of the given rows, where an observer looks at some.
            snoozed: where hits of a rule are to count as shadow hits.
            positions: index of each row's record in the batch as received.
            effects: gets the counts.

        Returns:
            Alerts that stand before what comes of a row, and those that stand after it, with the row's position.
        """
        clock = self._clock.advance(columns.time_ms, columns.string("customer_id"))
        believed = columns.time_ms <= clock + self._late
        if len(clock) > 1 and clock[1] < clock[0]:
            clock[0] = clock[1]  # the second event of a shard set the clock back: nothing could fire before it
        seen = Seen(self._ruleset, columns, frame, snoozed)
        before = self._endings(columns, clock, self._followers(seen, clock, believed), seen, positions, effects)
        after: list[Part] = []
        for place, rule in enumerate(self._ruleset.observers):
            if rule.follow is None:
                after += self._at_once(place, rule, seen, clock, positions, effects)
        return before, after

    def _followers(self, seen: Seen, clock: NDArray[np.int64], believed: NDArray[np.bool_]) -> list[_Follower]:
        """The rules with `unless_followed_by` that the batch has something for."""
        columns, found = seen.columns, []
        followed = self._ruleset.followed(columns) if any(rule.follow for rule in self._ruleset.observers) else None
        for place, rule in enumerate(self._ruleset.observers):
            if rule.follow is None or followed is None:
                continue
            values = columns.string(rule.follow.same)
            hits = seen.hits(place)
            rows = np.flatnonzero((hits | followed[place]) & (values != 0) & believed)
            if len(rows):
                time_ms = columns.time_ms[rows]
                arms = hits[rows] & (time_ms + rule.follow.within_ms > clock[rows])
                found.append(_Follower(place, self._identities[place], rule, rows, values[rows], time_ms, arms))
        return found

    def _endings(
        self,
        columns: Columns,
        clock: NDArray[np.int64],
        followers: list[_Follower],
        seen: Seen,
        positions: Sequence[int],
        effects: Effects,
    ) -> list[Part]:
        """Fire timers and take in hits and followers, in the order of the rows."""
        parts: list[Part] = []
        cuts = sorted(set(chain.from_iterable(follower.cuts(clock).tolist() for follower in followers)))
        row = 0
        while row < columns.n:
            now = int(clock[row])
            parts += [(positions[row], output) for output in self._fire(now, effects)]
            place = bisect_left(cuts, row + 1)
            end = min(columns.n, cuts[place]) if place < len(cuts) else columns.n
            if self._timers.next_ms <= clock[-1]:
                end = min(end, int(np.searchsorted(clock, self._timers.next_ms)))
            for follower in followers:
                self._take(follower, row, end, now, seen)
            row = end
        return parts

    def _take(self, follower: _Follower, start: int, end: int, now: int, seen: Seen) -> None:
        """Take in the rows of a stretch in which nothing fires; `now` is the clock at its first row."""
        assert follower.rule.follow is not None
        within = follower.rule.follow.within_ms
        low, high = np.searchsorted(follower.rows, (start, end)).tolist()
        if low == high:
            return
        part = slice(low, high)
        for run in runs(follower.values[part], follower.time_ms[part], follower.arms[part], within):
            watch = self._watches.get(follower.identity, run.value)
            watch.cover(run.first_ms - within, run.last_ms)
            watch.forget(now - within)
            if run.arms >= 0 and watch.takes(run.last_ms):
                hit = seen.armed(follower.place, int(follower.rows[low + run.arms]), run.last_ms + within)
                watch.arm(hit)
                if hit.due_ms < watch.timer_ms:
                    watch.timer_ms = hit.due_ms
                    self._timers.schedule(Timer(hit.due_ms, WATCH_ENDS, owner(follower.identity, run.value)), now)
            self._watches.touch(follower.identity, run.value, within + self._late)

    def _fire(self, now: int, effects: Effects) -> list[Output]:
        """Fire every timer that is due by the clock, in order."""
        found: list[Output] = []
        while self._timers.next_ms <= now:
            timer = self._timers.pop()
            rule, value = hashes(timer.owner)
            watch, known = self._watches.get(rule, value), self._known.get(rule)
            within = known.follow.within_ms if known is not None and known.follow is not None else 0
            for hit in watch.expired(timer.due_ms):
                if known is not None and known.follow is not None:
                    found += raised(known, hit, hit.due_ms, effects)
            if watch.timer_ms == timer.due_ms:
                watch.timer_ms = NO_TIMER
            if watch.armed and watch.armed[0].due_ms < watch.timer_ms:
                watch.timer_ms = watch.armed[0].due_ms
                self._timers.schedule(Timer(watch.timer_ms, WATCH_ENDS, timer.owner), timer.due_ms)
            watch.forget(now - within)
            self._watches.touch(rule, value, within + self._late)
        return found

    def _at_once(
        self,
        place: int,
        rule: Rule,
        seen: Seen,
        clock: NDArray[np.int64],
        positions: Sequence[int],
        effects: Effects,
    ) -> list[Part]:
        """Alerts of a rule that waits for nothing, at most one in `every` for each combination of `by`."""
        assert rule.alert is not None
        rows = np.flatnonzero(seen.hits(place)).tolist()
        if not rows:
            return []
        fields = [STRING_INDEX[ENTITY_FIELDS[name]] for name in rule.alert.by]
        entities = seen.columns.strings[fields].T
        parts: list[Part] = []
        for row in rows:
            time_ms, live = int(seen.columns.time_ms[row]), seen.live(place, row)
            key = (self._identities[place], entities[row].tobytes() + (b"" if live else b"shadow"))
            if self._cooldowns.allows(key, time_ms, rule.alert.every_ms, int(clock[row])):
                hit = seen.armed(place, row, time_ms)
                parts += [(positions[row], output) for output in raised(rule, hit, time_ms, effects)]
        return parts

    def flush(self) -> list[bytes]:
        """Packed operations that store what the batch changed."""
        now = self._clock.now
        within = {
            identity: now - rule.follow.within_ms for identity, rule in self._known.items() if rule.follow is not None
        }
        self._watches.sweep(within)
        ops = [self._watches.flush(), self._timers.flush(now)]
        head = ((HEAD_CLOCK, self._clock.changed() or None), (HEAD_TIMERS, self._timers.changed()),
                (HEAD_COOLDOWNS, self._cooldowns.changed(now)))  # fmt: skip
        return ops + [pack(Op(SET, key, value)) for key, value in head if value is not None] if self._backed else []


def _one(pair: tuple[int, int]) -> tuple[int, list[int]]:
    return pair[0], [pair[1]]
