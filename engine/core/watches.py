"""Watches: what is to be followed by something, and has not been yet (`unless_followed_by`).

A rule waits for an event with the same value of a field. For each such value there is one watch. It knows the hits
that nothing has followed yet, and the stretches of time that are covered: an event that follows at `f` covers the hits
in `[f - within, f)`, whichever of them comes in first. A hit is itself such an event for the hits before it, so that
of several in a row the last one counts. So the result does not depend on the order in which events arrive, nor on
batches, as long as the clock has not come to the end of `within`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.timers import NO_TIMER
from engine.core.usual import KEEP_MS, NEVER, Usual
from engine.domain.ops import DELETE, KEY_WATCH, SET, Op, pack
from engine.ruleset.model import Follow

SLACK_MS: Final = 30 * 86_400_000
"""A stored watch outlives what it waits for by so much of the store's own time: an outage or a lag of a month."""

IDLE_SWEEP: Final = 10_000
"""In memory alone, watches that wait for nothing are looked for when so many have come since the last time."""

FEW: Final = 12
"""Up to so many events are gone through one by one."""

_HOUR_MS: Final = 3_600_000
_HASH_BYTES: Final = 8


class Armed(msgspec.Struct, array_like=True, gc=False):
    """A hit that nothing has followed yet.

    Attributes:
        time_ms, due_ms: when it was, and when the alert is raised.
        live: the alert counts; a shadow one is counted only.
        event_id, customer_id, title, action: for the alert.
    """

    time_ms: int
    due_ms: int
    live: bool
    event_id: str
    customer_id: str
    title: str
    action: str


class Watch(msgspec.Struct, array_like=True, gc=False):
    """The watch of one rule and value.

    Attributes:
        armed: hits that nothing has followed, by time.
        covered: stretches `(from, before)` in which a hit has been followed, apart and in order.
        timer_ms: due time of the earliest timer that stands for the watch, no later than any hit's; `NO_TIMER`.
        usual: the silences of the value, where the rule learns them.
    """

    armed: list[Armed] = []
    covered: list[tuple[int, int]] = []
    timer_ms: int = NO_TIMER
    usual: Usual | None = None

    def cover(self, low: int, high: int) -> None:
        """Hits in `[low, high)` have been followed."""
        if self.armed:
            self.armed = [hit for hit in self.armed if not low <= hit.time_ms < high]
        if not self.covered or self.covered[-1][1] < low:
            self.covered.append((low, high))
            return
        apart = []
        for begin, end in self.covered:
            if end < low or high < begin:
                apart.append((begin, end))
            else:
                low, high = min(low, begin), max(high, end)
        self.covered = sorted([*apart, (low, high)])

    def heard(self, first_ms: int, last_ms: int, look_ms: int) -> None:
        """Events have come, from `first_ms` to `last_ms`: of a value whose silences are learned. Hits that were given
        longer than `look_ms` have been followed, too."""
        if self.armed:
            self.armed = [hit for hit in self.armed if not hit.time_ms < last_ms or hit.due_ms < first_ms]
        if self.usual is None:
            self.usual = Usual()
        self.usual.heard(first_ms, last_ms, look_ms)

    def bear(self, hit: Armed, follow: Follow) -> bool:
        """Nothing has followed a hit, no longer armed, by its due time, in a rule that learns silences: whether that
        is to be told. Where longer silences are usual, it is armed again instead."""
        usual = self.usual = self.usual or Usual()
        if usual.since_ms == hit.time_ms:
            return True  # it was given longer, and that is over
        next_ms = min((low + follow.look_ms for low, _ in self.covered if low > hit.time_ms), default=NEVER)
        usual_ms = usual.look(hit.time_ms, next_ms, follow.look_ms)
        if usual_ms is None:
            return False
        due_ms = hit.time_ms + max(follow.within_ms, int(follow.usual * usual_ms))
        if due_ms <= hit.due_ms:
            return True
        if next_ms > due_ms:
            hit.due_ms = due_ms
            self.arm(hit)
        return False

    def takes(self, time_ms: int) -> bool:
        """Whether a hit at this time is news: not followed already, and no other hit has the same time."""
        # Loops, for a generator costs more than the one stretch there mostly is.
        for begin, end in self.covered:
            if begin <= time_ms < end:
                return False
        for hit in self.armed:  # noqa: SIM110
            if hit.time_ms == time_ms:
                return False
        return True

    def arm(self, hit: Armed) -> None:
        """Wait for what should follow a hit."""
        self.armed.append(hit)
        if len(self.armed) > 1:
            self.armed.sort(key=lambda held: held.time_ms)

    def forget(self, horizon_ms: int) -> None:
        """Forget what no hit after `horizon_ms` can ask for."""
        if self.covered and self.covered[0][1] <= horizon_ms:  # the first ends first
            self.covered = [stretch for stretch in self.covered if stretch[1] > horizon_ms]

    def expired(self, due_ms: int) -> list[Armed]:
        """Take out the hits that are due by then."""
        if not self.armed:
            return []
        gone = [hit for hit in self.armed if hit.due_ms <= due_ms]
        self.armed = [hit for hit in self.armed if hit.due_ms > due_ms]
        return gone


Run = tuple[int, int, int, int]
"""Events of one value that follow each other within the time: the value, their first and last time, and the row that
arms or -1."""


def runs(value: NDArray[np.uint64], time_ms: NDArray[np.int64], arms: NDArray[np.bool_], within_ms: int) -> list[Run]:
    """The runs among the events of one rule, all arrays `(n,)`.

    Within a run every hit but those at its last time has been followed; of these the one that came first arms.
    """
    if len(value) <= FEW:
        return _few_runs(value.tolist(), time_ms.tolist(), arms.tolist(), within_ms)
    order = np.lexsort((time_ms, value))  # stable: of the same time, the one that came first is first
    value, time_ms = value[order], time_ms[order]
    cuts = (value[1:] != value[:-1]) | (time_ms[1:] - time_ms[:-1] > within_ms)
    ends = np.append(np.flatnonzero(cuts), len(value) - 1)
    starts = np.append(0, ends[:-1] + 1)
    run = np.repeat(np.arange(len(ends)), ends - starts + 1)
    last = np.flatnonzero(arms[order] & (time_ms == time_ms[ends][run]))
    among, first = np.unique(run[last], return_index=True)
    rows = np.full(len(ends), -1)
    rows[among] = order[last[first]]
    columns = value[ends].tolist(), time_ms[starts].tolist(), time_ms[ends].tolist(), rows.tolist()
    return list(zip(*columns, strict=True))


def _few_runs(values: list[int], times: list[int], arms: list[bool], within_ms: int) -> list[Run]:
    """The same of a handful of events, without the cost of starting columns."""
    found: list[Run] = []
    for row in sorted(range(len(values)), key=lambda row: (values[row], times[row])):
        value, first_ms, last_ms, arming = values[row], times[row], times[row], row if arms[row] else -1
        if found and found[-1][0] == value and last_ms - found[-1][2] <= within_ms:
            _, first_ms, before_ms, armed = found.pop()
            if before_ms == last_ms and armed >= 0:
                arming = armed
        found.append((value, first_ms, last_ms, arming))
    return found


class Watches:
    """The watches of one shard that are in memory, by hash of the rule and of the value.

    Args:
        backed: a state store stands behind: operations are produced, and watches not in memory are to be loaded.
    """

    def __init__(self, *, backed: bool) -> None:
        self._backed = backed
        self._held: dict[int, dict[int, Watch | None]] = {}
        self._dirty: dict[tuple[int, int], int] = {}
        self._count = 0
        self._swept = 0

    def __len__(self) -> int:
        return self._count

    def missing(self, rule: int, values: Iterable[int]) -> list[bytes]:
        """Keys of the watches that are not in memory."""
        if not self._backed:
            return []
        held = self._held.get(rule, {})
        return [watch_key(rule, value) for value in values if value not in held]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take stored watches into memory; None for one that is not there."""
        for key, value in zip(keys, values, strict=True):
            rule, hashed = hashes(key[1:])
            self._held.setdefault(rule, {})[hashed] = msgspec.msgpack.decode(value, type=Watch) if value else None
        self._count += len(keys)

    def find(self, rule: int, value: int) -> Watch | None:
        """A watch that is in memory, None where there is none."""
        return self._held.get(rule, {}).get(value)

    def get(self, rule: int, value: int) -> Watch:
        """A watch, a new one where there is none."""
        held = self._held.get(rule)
        if held is None:
            held = self._held[rule] = {}
        watch = held.get(value)
        if watch is None:
            assert not self._backed or value in held, "a watch that was not loaded"
            self._count += value not in held
            watch = held[value] = Watch()
        return watch

    def touch(self, rule: int, value: int, keep_ms: int) -> None:
        """A watch has changed; it is of use for `keep_ms` after this batch."""
        if self._backed:
            self._dirty[rule, value] = keep_ms

    def flush(self) -> bytes:
        """Packed operations that store what a batch changed."""
        dirty, self._dirty = self._dirty, {}
        if not self._backed:
            return b""
        ops = []
        for (rule, value), keep_ms in dirty.items():
            watch = self._held[rule][value]
            key = watch_key(rule, value)
            if watch is None or not (watch.armed or watch.covered or watch.usual or watch.timer_ms != NO_TIMER):
                ops.append(pack(Op(DELETE, key, b"")))
            else:
                keep_ms = max(keep_ms, KEEP_MS) if watch.usual else keep_ms
                hours = (keep_ms + (SLACK_MS if watch.armed else _HOUR_MS)) // _HOUR_MS + 1
                ops.append(pack(Op(SET, key, msgspec.msgpack.encode(watch), hours)))
        return b"".join(ops)

    def evict(self, watches_max: int) -> None:
        """Forget every watch once more than `watches_max` are held; the store has them."""
        if self._backed and self._count > watches_max:
            self._held, self._count = {}, 0

    def sweep(self, horizons: dict[int, int]) -> None:
        """Without a store: drop, once in a while, the watches that wait for nothing. `horizons` as in `Watch.forget`,
        by rule; a rule that is not there is gone."""
        if self._backed or self._count < 2 * self._swept + IDLE_SWEEP:
            return
        for rule, held in self._held.items():
            horizon = horizons.get(rule, NO_TIMER)
            self._held[rule] = {value: watch for value, watch in held.items() if watch and _wanted(watch, horizon)}
        self._count = self._swept = sum(map(len, self._held.values()))


def _wanted(watch: Watch, horizon_ms: int) -> bool:
    watch.forget(horizon_ms)
    known = watch.usual is not None and watch.usual.days and watch.usual.days[-1][0] > horizon_ms - KEEP_MS
    return bool(watch.armed or watch.covered or known)


def watch_key(rule: int, value: int) -> bytes:
    """State key of a watch."""
    return KEY_WATCH + owner(rule, value)


def owner(rule: int, value: int) -> bytes:
    """A watch as the owner of a timer."""
    return rule.to_bytes(_HASH_BYTES, "little") + value.to_bytes(_HASH_BYTES, "little")


def hashes(of: bytes) -> tuple[int, int]:
    """The rule and the value of an owner."""
    return int.from_bytes(of[:_HASH_BYTES], "little"), int.from_bytes(of[_HASH_BYTES:], "little")
