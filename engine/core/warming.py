"""Which features have not yet seen their whole window.

A feature is *warming* for an event whose window reaches back before what its log surely holds. A log holds what some
feature of the rule set in force had recorded: the touches of a filter, and the fields they carry. So a feature that
is declared later inherits what others had recorded for it: it is warm at once where its filter and its field were in
use before, as far back as they were and as their windows reached. What nobody recorded starts with the declaration,
and so does what was dropped in between.

Recordings that begin together share a cohort, dated by the first accepted event after the declaration that is neither
later than the median of the first `COHORT_EVENTS` nor `AGES_MS` before it (running, until there are that many): one
first event from the far future does not keep every feature warming for ever, nor does one from 1970 pass them all for
warm. Of what is declared to a shard that has seen events, the date is later by the lateness: that event may be a late
one, and those before it were not recorded.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.features.needs import Need

COHORT_EVENTS: Final = 31
AGES_MS: Final = 400 * 86_400_000
_EVER: Final = -(1 << 62)


class _Recording(msgspec.Struct, array_like=True):
    """One recording: whole from `since` on and from each cohort's date less the milliseconds beside it (or more)."""

    since: int = _EVER
    cohorts: list[tuple[int, int]] = []
    kept_ms: int = 0
    lasts_ms: int = 0


class _State(msgspec.Struct):
    cohorts: list[list[int]] = []
    recordings: dict[str, _Recording] = {}
    begun: bool = False


class Warming:
    """Since when what the features of one shard need has been recorded.

    Args:
        needs: what each feature needs, in the order of the rule set (`Plan.needs`). A feature without a window never
            warms: it says what it has seen so far.
        stored: what `dump` gave earlier, empty for a new shard.

    Attributes:
        changed: `dump` gives something that has not been stored yet.
        over: nothing was warming at any event of the observed batch.
    """

    def __init__(self, needs: Sequence[Need], stored: bytes = b"") -> None:
        self._state = msgspec.msgpack.decode(stored, type=_State) if stored else _State()
        self.changed = False
        self.over = False
        self.adopt(needs)

    def adopt(self, needs: Sequence[Need]) -> None:
        """Go over to the features of another plan, before the first event they see."""
        wanted = {need.touches: need for need in needs}
        names = {*wanted, *(part for need in needs for part in need.parts)}
        self._late_ms = max((need.late_ms for need in needs), default=0)
        had = self._state.recordings
        if names != set(had) or any(_differs(had[name], need) for name, need in wanted.items()):
            self._record(names, wanted)
            self.changed = True
        self._needs = list(needs)
        self._longest_ms = max((need.window_ms or 0 for need in needs), default=0)
        self._latest: int | None = None  # date from which every recording is whole, once no event can change it
        self._dates = np.zeros((len(self._state.cohorts), 0), np.int64)

    def _record(self, names: set[str], wanted: dict[str, Need]) -> None:
        """Begin the recordings that are new or reach further back than before, end those that are gone."""
        cohorts = self._settle(names)
        fresh = len(cohorts)
        recordings: dict[str, _Recording] = {}
        for name in sorted(names):
            need = wanted.get(name)
            found = self._state.recordings.get(name)
            if found is None:
                found = _Recording(cohorts=[(fresh, -self._late_ms if self._state.begun else 0)])
            elif need is not None and need.kept_ms > found.kept_ms:
                # An entity nobody touches loses its log to expiry before a much longer window has passed.
                reached = found.kept_ms if need.kept_ms <= found.lasts_ms else -self._late_ms
                found.cohorts.append((fresh, reached))
            if need is not None:
                found.kept_ms, found.lasts_ms = need.kept_ms, need.lasts_ms
            recordings[name] = found
        if any(cohort == fresh for found in recordings.values() for cohort, _ in found.cohorts):
            cohorts.append([])
        self._state = _State(cohorts, recordings, self._state.begun)

    def _settle(self, names: set[str]) -> list[list[int]]:
        """Replace cohorts whose date no later event can change by that date; the others, renumbered.

        So their number stays below `COHORT_EVENTS` + 1, however often rule sets change.
        """
        kept = {name: found for name, found in self._state.recordings.items() if name in names}
        self._state.recordings = kept
        open_cohorts: list[list[int]] = []
        numbers: dict[int, int] = {}
        for number in sorted({cohort for found in kept.values() for cohort, _ in found.cohorts}):
            seen = self._state.cohorts[number]
            if len(seen) < COHORT_EVENTS:
                same = seen == open_cohorts[-1] if open_cohorts else False
                if not same:
                    open_cohorts.append(seen)
                numbers[number] = len(open_cohorts) - 1
        for found in kept.values():
            left: dict[int, int] = {}
            for cohort, reached in found.cohorts:
                if cohort in numbers:
                    left[numbers[cohort]] = min(reached, left.get(numbers[cohort], reached))
                else:
                    found.since = max(found.since, _declared(self._state.cohorts[cohort]) - reached)
            found.cohorts = list(left.items())
        return open_cohorts

    def observe(self, time_ms: NDArray[np.int64]) -> None:
        """Take in the accepted events of a batch, in order, before asking about any of them."""
        if not self._state.begun and len(time_ms):
            self._state.begun = self.changed = True
        dates = np.empty((len(self._state.cohorts), len(time_ms)), np.int64)
        for cohort, seen in enumerate(self._state.cohorts):
            fresh = [int(t) for t in time_ms[: COHORT_EVENTS - len(seen)]]
            for row, time in enumerate(fresh):
                seen.append(time)
                dates[cohort, row] = _declared(seen)
                self.changed = True
            if len(fresh) < len(time_ms):
                dates[cohort, len(fresh) :] = _declared(seen)
        self._dates = dates
        self.over = not time_ms.size or int(time_ms.min()) - self._longest_ms >= self._latest_date()

    def is_warming(self, feature: int, row: int, time_ms: int) -> bool:
        """Whether a feature's window at an event of the observed batch starts before its log is whole."""
        need = self._needs[feature]
        if need.window_ms is None:
            return False
        start = time_ms - need.window_ms
        return any(start < self._whole_from(name, row) for name in (need.touches, *need.parts))

    def _whole_from(self, name: str, row: int) -> int:
        """The time from which a recording is whole, as known at an event of the observed batch."""
        found = self._state.recordings[name]
        return max(found.since, *(int(self._dates[cohort, row]) - reached for cohort, reached in found.cohorts), _EVER)

    def _latest_date(self) -> int:
        """The time from which every recording is whole, or later while cohorts are open."""
        if self._latest is not None:
            return self._latest
        if any(len(seen) < COHORT_EVENTS for seen in self._state.cohorts):
            since = max((found.since for found in self._state.recordings.values()), default=_EVER)
            return max(since, int(self._dates.max(initial=_EVER)) + self._late_ms)
        last = self._dates.shape[1] - 1
        names = {name for need in self._needs if need.window_ms is not None for name in (need.touches, *need.parts)}
        settled = max((self._whole_from(name, last) for name in names), default=_EVER)
        # Earlier rows of this batch may have been dated otherwise; from the next on, it holds.
        if all(int(row.min()) == int(row.max()) for row in self._dates):
            self._latest = settled
            return settled
        return max(settled, int(self._dates.max(initial=_EVER)) + self._late_ms)

    def dump(self) -> bytes:
        """The dates, to be stored; clears `changed`."""
        self.changed = False
        return msgspec.msgpack.encode(self._state)


def _differs(found: _Recording, need: Need) -> bool:
    """Whether a recording is kept for another time than a plan asks for."""
    return (found.kept_ms, found.lasts_ms) != (need.kept_ms, need.lasts_ms)


def _declared(seen: Sequence[int]) -> int:
    """The date of a cohort, out of the times of its first events in order of arrival."""
    median = sorted(seen)[(len(seen) - 1) // 2]
    return next(time for time in seen if median - AGES_MS <= time <= median)
