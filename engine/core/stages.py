"""The stages that a stretch of a batch passes through: label, features, score, rules, decide, engage, observe."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.adoption import InForce
from engine.core.clock import UNSET
from engine.core.drift_alerts import drift_alert
from engine.core.effects import Effects, Output
from engine.core.engagement import Engagement
from engine.core.judging import Noted, Rows, declined, seen_by
from engine.core.known import Known
from engine.core.label_desk import Decided, LabelDesk
from engine.core.models import Models
from engine.core.observers import Observers
from engine.core.rendering import feature_lines
from engine.core.stretches import STRETCH_MS
from engine.core.wanted import Wanted
from engine.domain.hashing import hash64
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.sharing import Touches
from engine.ruleset.ruleset import Frame
from engine.scoring.drift.alarm import DriftAlarm

_ERASED: Final = np.uint64(hash64("account.erased"))

Matrix = NDArray[np.float64]
Parts = list[tuple[int, Output]]
"""Outputs with the index of the record they come from."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Accepted events, in order, and what is known of them.

    Attributes:
        columns: the events, at least one.
        clock: of the shard after each, int64 `(n,)`.
        labels_ms: the clock that labels go by: the same, but `UNSET` after the first event of a shard, which may be
            anything.
        masked: a card number was masked in the event, bool `(n,)`.
        positions: index of each event's record in the batch as received.
        rates: in force; None where there are none.
        explain: indexes of records whose decisions are to be explained.
    """

    columns: Columns
    clock: NDArray[np.int64]
    labels_ms: NDArray[np.int64]
    masked: NDArray[np.bool_]
    positions: list[int]
    rates: Rates | None
    explain: frozenset[int]

    def part(self, start: int, end: int) -> "Stretch":
        """The rows `[start, end)`."""
        if start == 0 and end == self.columns.n:
            return self
        some = slice(start, end)
        return replace(
            self,
            columns=self.columns.take(np.arange(start, end)),
            clock=self.clock[some],
            labels_ms=self.labels_ms[some],
            masked=self.masked[some],
            positions=self.positions[some],
        )


class Stages:
    """See the module.

    Args:
        force: what is in force.
        engagement, observers, desk: of the shard.
        shard: its number.
        features_out: also render every declared feature of every event.
        probe: told the name of each stage as it ends.
    """

    def __init__(
        self,
        force: InForce,
        engagement: Engagement,
        observers: Observers,
        desk: LabelDesk,
        *,
        shard: int,
        features_out: bool,
        probe: Callable[[str], None],
    ) -> None:
        self._force = force
        self._engagement = engagement
        self._observers = observers
        self._desk = desk
        self._shard = shard
        self._features_out = features_out
        self._probe = probe
        self._wanted: Wanted | None = None
        self._hour = UNSET
        self._told: Models | None = None

    def run(self, stretch: Stretch, ops: list[bytes], effects: Effects) -> Parts:
        """Take the events of one hour of the clock through every stage. Adds packed operations to `ops` and counts to
        `effects`."""
        known, alarms = self._begin(int(stretch.labels_ms[0]))
        event_id, place = stretch.columns.events[0].event_id, stretch.positions[0]
        parts: Parts = [(place, drift_alert(alarm, self._shard, event_id)) for alarm in alarms]
        parts += [(place, output) for output in self._engagement.begin(int(stretch.labels_ms[0]))]
        erased = stretch.columns.string("type") == _ERASED
        cuts = {*self._desk.cuts(stretch.columns), *(np.flatnonzero(erased[:-1]) + 1).tolist()}
        for start, end in pairwise([0, *sorted(cuts), stretch.columns.n]):
            part = stretch.part(start, end)
            arrived = self._desk.arrive(part.columns, part.labels_ms)
            if arrived is not None:
                self._learn(arrived)
                known.append(arrived)
            self._probe("label")
            parts += self._pass(part, known, ops, effects)
            known = []
            if erased[end - 1]:  # what comes after it finds nothing
                ops.append(self._force.features.erase(part.columns.string("customer_id")[-1:]))
        return parts

    def _begin(self, now: int) -> tuple[list[Known], list[DriftAlarm]]:
        """What goes by the hour, before the first event of one: what has matured is learned, and what was learned at
        the last boundary is put to work. Returns what has become known, and what has drifted."""
        hour, models = now - now % STRETCH_MS, self._force.judge.models
        if now == UNSET or (hour <= self._hour and models is self._told):
            return [], []
        self._hour, self._told = hour, models  # others that a rule set has brought are told the hour, as after a start
        matured = self._desk.matured(hour)
        if matured is not None:
            self._learn(matured)
        alarms = models.advance(hour)
        return [] if matured is None else [matured], alarms

    def _learn(self, known: Known) -> None:
        if known.learned is not None:
            self._force.judge.models.learn(known.learned)

    def _features(self, stretch: Stretch, known: list[Known], ops: list[bytes], effects: Effects) -> Matrix:
        """The features of the events; label rows are put between them on the way."""
        features, merged, own = self._force.features, stretch.columns, None
        for part in reversed(known) if self._force.labelled else ():  # the last stands nearest to the events
            merged, moved = merged.insert(part.rows, part.before)
            own = moved if own is None else moved[own]
        wanted = self._who_wants()
        matrix, feature_ops = features.update(merged, None if wanted is None else wanted.masks(merged))
        ops.append(feature_ops)
        for home, touches in features.touches.items():
            # What a label row does is done by the event that it stands before.
            rows = touches.rows if own is None else np.searchsorted(own, touches.rows).tolist()
            there = effects.touches.setdefault(home, Touches())
            there.extend([stretch.positions[row] for row in rows], touches.ops)
        return matrix if own is None else matrix.take(own, axis=1)

    def _pass(self, stretch: Stretch, known: list[Known], ops: list[bytes], effects: Effects) -> Parts:
        """Take events through every stage."""
        force, columns, positions = self._force, stretch.columns, stretch.positions
        force.warming.observe(columns.time_ms)
        matrix = self._features(stretch, known, ops, effects)
        self._probe("features")
        lists = force.lists.states(force.ruleset.lists)
        if self._features_out:
            matrix = force.ruleset.derive(columns, matrix, lists=lists, rates=stretch.rates)
            effects.features += feature_lines(force.ruleset, columns, matrix)
        rows = Rows(
            columns, matrix, stretch.masked, positions, lists, stretch.rates, stretch.explain,
            force.features.shared_rows(),
        )  # fmt: skip
        parts, noted, judged = self._judge(rows, stretch.labels_ms, effects)
        parts += self._engagement.rows(
            columns, stretch.clock, positions, noted, lambda some: seen_by(force.ruleset, rows, some, judged), ops
        )
        self._probe("engage")
        before, after = self._observers.observe(
            columns,
            stretch.clock,
            lambda some: seen_by(force.ruleset, rows, some, judged),
            force.snoozes.of,
            positions,
            effects,
        )
        self._probe("observe")
        return before + parts + after

    def missing(self, columns: Columns) -> list[bytes]:
        """State keys that the features of a batch need and memory does not hold."""
        wanted = self._who_wants()
        return self._force.features.missing(columns, wanted=None if wanted is None else wanted.possible(columns))

    def _who_wants(self) -> Wanted | None:
        """Which events' features somebody reads; None for all."""
        if self._features_out:
            return None
        ruleset, plan = self._force.ruleset, self._force.features.plan
        if self._wanted is None or not self._wanted.stands_for(ruleset, plan):
            self._wanted = Wanted(ruleset, plan)
        return self._wanted

    def _judge(self, rows: Rows, labels_ms: NDArray[np.int64], effects: Effects) -> tuple[Parts, Noted, Frame | None]:
        """Score and decide the rows that carry a decision. Returns their outputs, what campaigns have to know of them,
        and what the rules saw; None where there is no such row."""
        force, columns = self._force, rows.columns
        judged = np.flatnonzero(columns.decides)
        if len(judged) == 0:
            return [], Noted(), None
        everything = len(judged) == columns.n
        picked = columns if everything else columns.take(judged)
        values = rows.matrix if everything else rows.matrix.take(judged, axis=1)
        if not self._features_out:
            values = force.ruleset.derive(picked, values, lists=rows.lists, rates=rows.rates)
        scored = force.judge.score(picked, values)
        self._probe("score")
        tops = scored.anomaly_top, scored.fraud_top
        frame = Frame(picked, values, scored.anomaly, scored.fraud, rows.lists, rows.rates, *tops)
        verdicts = force.judge.verdicts(frame, force.snoozes)
        self._probe("rules")
        parts = force.judge.write(frame, verdicts, scored, judged, rows, force.warming, effects)
        noted = Noted(force.judge.doubts(frame, verdicts, judged), force.judge.crowds(frame, judged))
        lessons = force.judge.lessons(verdicts, scored)
        self._desk.keep(Decided(picked, judged, declined(verdicts), lessons), columns, labels_ms)
        self._probe("decide")
        return parts, noted, frame
