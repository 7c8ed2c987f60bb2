"""The observer rules of a shard: alerts about what happens too often, and about what does not happen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.clock import ShardClock
from engine.core.cooldowns import Cooldowns
from engine.core.effects import Effects, Output
from engine.core.following import WATCH_ENDS, Follower, Following
from engine.core.seen import Seen, Snoozed, raised
from engine.core.timers import NO_TIMER, Timers
from engine.core.watches import Watches, hashes
from engine.domain.fields import DECISION_TYPES, ENTITY_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_HEAD, KEY_TIMER, KEY_WATCH, SET, Op, pack
from engine.features.columns import Columns
from engine.ruleset.observing import of_types
from engine.ruleset.ruleset import Frame, RuleSet

HEAD_TIMERS: Final = KEY_HEAD + b"timers"
HEAD_COOLDOWNS: Final = KEY_HEAD + b"cooldowns"

Part = tuple[int, Output]


class Observers:
    """Timers, watches and cool-downs of one shard.

    Args:
        ruleset: whose observers are in force.
        head: the small state of the shard.
        clock: of the shard. Ticks move it here; events have moved it before they come here.
        backed: a state store stands behind.
        lateness_ms: the allowed lateness.

    Attributes:
        timers: of the shard; those of other kinds are their owners' to take, before these rows come here.
    """

    def __init__(
        self, ruleset: RuleSet, head: dict[bytes, bytes], clock: ShardClock, *, backed: bool, lateness_ms: int
    ) -> None:
        self._late = lateness_ms
        self._clock = clock
        self.timers = self._timers = Timers(backed=backed, stored=head.get(HEAD_TIMERS, b""))
        self._cooldowns = Cooldowns(head.get(HEAD_COOLDOWNS, b""))
        self._watches = Watches(backed=backed)
        self._following = Following(self._timers, self._watches, lateness_ms)
        self._backed = backed
        self._reach = NO_TIMER
        self.adopt(ruleset)

    def adopt(self, ruleset: RuleSet) -> None:
        """Another rule set is in force. Watches of rules it does not have end in silence."""
        self._ruleset = ruleset
        self._identities = [hash64(rule.id) for rule in ruleset.observers]
        self._known = dict(zip(self._identities, ruleset.observers, strict=True))
        self._following.adopt(self._known)
        self._follows = [place for place, rule in enumerate(ruleset.observers) if rule.follow is not None]
        self._at_once = [place for place, rule in enumerate(ruleset.observers) if rule.follow is None]

    @property
    def waiting(self) -> int | None:
        """Event time the shard has come to, where timers wait for it to go on; None where none do."""
        return self._clock.now + self._late if self._timers.pending else None

    def missing(self, columns: Columns, reach: int) -> list[bytes]:
        """State keys that a batch needs and memory does not hold, if the clock comes as far as `reach` with it. Loading
        them may show more (`load`)."""
        if not self._backed:
            return []
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
        ending = dict.fromkeys(timer.owner for timer in self._timers.due(self._reach) if timer.kind == WATCH_ENDS)
        return [key for of in ending for key in self._watches.missing(*_one(hashes(of)))]

    def evict(self, watches_max: int) -> None:
        """Bound what is held in memory."""
        self._watches.evict(watches_max)

    def tick(self, ticks: Sequence[int], effects: Effects) -> list[Part]:
        """The clock goes on by control events, before the rows of the batch. Returns the alerts that come of it."""
        found: list[Part] = []
        for time_ms in ticks:
            self._clock.tick(time_ms)
            found += [(0, output) for output in self._following.tick(self._clock.now, effects)]
        return found

    def observe(
        self,
        columns: Columns,
        clock: NDArray[np.int64],
        frame: Callable[[NDArray[np.intp]], Frame],
        snoozed: Snoozed,
        positions: Sequence[int],
        effects: Effects,
    ) -> tuple[list[Part], list[Part]]:
        """Take in accepted rows, in order.

        Args:
            columns: the rows, at least one.
            clock: after each of them, int64 `(n,)`.
            frame: what rules see of the given rows, where an observer looks at some.
            snoozed: where hits of a rule are to count as shadow hits.
            positions: index of each row's record in the batch as received.
            effects: gets the counts.

        Returns:
            Alerts that stand before what comes of a row, and those that stand after it, with the row's position.
        """
        believed = columns.time_ms <= clock + self._late
        if len(clock) > 1 and clock[1] < clock[0]:
            clock = np.append(
                clock[1], clock[1:]
            )  # the second event of a shard set the clock back: nothing could fire before it
        seen = Seen(self._ruleset, columns, frame, snoozed)
        followers = self._followers(seen, clock, believed)
        before = [(positions[row], output) for row, output in self._following.take_in(followers, clock, effects)]
        after: list[Part] = []
        for place in seen.hitting(self._at_once):
            after += self._raise(place, seen, clock, positions, effects)
        return before, after

    def _followers(self, seen: Seen, clock: NDArray[np.int64], believed: NDArray[np.bool_]) -> list[Follower]:
        """The rules with `unless_followed_by` that the batch has something for."""
        columns, found = seen.columns, []
        followed = self._ruleset.followed(columns) if self._follows else None
        for place in self._follows:
            follow = self._ruleset.observers[place].follow
            assert follow is not None and followed is not None
            values, hits = columns.string(follow.same), seen.hits(place)
            rows = np.flatnonzero((hits | followed[place]) & (values != 0) & believed)
            if len(rows):
                time_ms = columns.time_ms[rows]
                arms = hits[rows] & (time_ms + follow.look_ms > clock[rows])
                hit = partial(seen.armed, place)
                of = self._identities[place], follow.look_ms, follow.usual > 0.0
                found.append(Follower(*of, rows, values[rows], time_ms, arms, hit))
        return found

    def _raise(
        self,
        place: int,
        seen: Seen,
        clock: NDArray[np.int64],
        positions: Sequence[int],
        effects: Effects,
    ) -> list[Part]:
        """Alerts of a rule that waits for nothing, at most one in `every` for each combination of `by`."""
        rule = self._ruleset.observers[place]
        assert rule.alert is not None
        rows = np.flatnonzero(seen.hits(place)).tolist()
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
            identity: now - rule.follow.look_ms for identity, rule in self._known.items() if rule.follow is not None
        }
        self._watches.sweep(within)
        ops = [self._watches.flush(), self._timers.flush(now)]
        head = ((HEAD_TIMERS, self._timers.changed()), (HEAD_COOLDOWNS, self._cooldowns.changed(now)))
        return ops + [pack(Op(SET, key, value)) for key, value in head if value is not None] if self._backed else []


def _one(pair: tuple[int, int]) -> tuple[int, list[int]]:
    return pair[0], [pair[1]]
