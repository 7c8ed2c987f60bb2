"""The stages that a stretch of a batch passes through: features, score, rules, decide, engage, observe."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.core.adoption import InForce
from engine.core.effects import Effects, Output
from engine.core.judging import Rows, declined, seen_by
from engine.core.observers import Observers
from engine.core.rendering import feature_lines
from engine.core.rewards import Rewards, ledger_rows
from engine.core.wanted import Wanted
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.sharing import Touches
from engine.ruleset.ruleset import Frame

Parts = list[tuple[int, Output]]
"""Outputs with the index of the record they come from."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Accepted events, in order, and what is known of them.

    Attributes:
        columns: the events, at least one.
        clock: of the shard after each, int64 `(n,)`.
        masked: a card number was masked in the event, bool `(n,)`.
        positions: index of each event's record in the batch as received.
        rates: in force; None where there are none.
        explain: indexes of records whose decisions are to be explained.
    """

    columns: Columns
    clock: NDArray[np.int64]
    masked: NDArray[np.bool_]
    positions: list[int]
    rates: Rates | None
    explain: frozenset[int]

    def part(self, start: int, end: int) -> "Stretch":
        """The rows `[start, end)`."""
        if start == 0 and end == self.columns.n:
            return self
        some = slice(start, end)
        columns = self.columns.take(np.arange(start, end))
        return Stretch(columns, self.clock[some], self.masked[some], self.positions[some], self.rates, self.explain)


class Stages:
    """See the module.

    Args:
        force: what is in force.
        rewards, observers: of the shard.
        features_out: also render every declared feature of every event.
        probe: told the name of each stage as it ends.
    """

    def __init__(
        self,
        force: InForce,
        rewards: Rewards,
        observers: Observers,
        *,
        features_out: bool,
        probe: Callable[[str], None],
    ) -> None:
        self._force = force
        self._rewards = rewards
        self._observers = observers
        self._features_out = features_out
        self._probe = probe
        self._wanted: Wanted | None = None

    def run(self, stretch: Stretch, ops: list[bytes], effects: Effects) -> Parts:
        """Take a stretch through every stage. Adds packed operations to `ops` and counts to `effects`."""
        force, columns, positions = self._force, stretch.columns, stretch.positions
        force.warming.observe(columns.time_ms)
        matrix, feature_ops = force.features.update(columns, self._wanted_of(columns))
        ops.append(feature_ops)
        for home, touches in force.features.touches.items():
            there = effects.touches.setdefault(home, Touches())
            there.extend([positions[row] for row in touches.rows], touches.ops)
        self._probe("features")
        lists = force.lists.states(force.ruleset.lists)
        if self._features_out:
            matrix = force.ruleset.derive(columns, matrix, lists=lists, rates=stretch.rates)
            effects.features += feature_lines(force.ruleset, columns, matrix)
        rows = Rows(
            columns, matrix, stretch.masked, positions, lists, stretch.rates, stretch.explain,
            force.features.shared_rows(),
        )  # fmt: skip
        parts, refused, judged = self._judge(rows, effects)
        # In row order, whatever the batch: a payment that settled before it was declined has earned.
        for row in sorted({*refused, *ledger_rows(columns)}):
            moved, outputs = self._rewards.move(columns, row, declined=row in refused)
            ops.append(moved)
            parts += [(positions[row], output) for output in outputs]
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

    def _wanted_of(self, columns: Columns) -> list[NDArray[np.bool_]] | None:
        """The events whose features somebody reads, for each group of them; None for all."""
        if self._features_out:
            return None
        ruleset, plan = self._force.ruleset, self._force.features.plan
        if self._wanted is None or not self._wanted.stands_for(ruleset, plan):
            self._wanted = Wanted(ruleset, plan)
        return self._wanted.masks(columns)

    def _judge(self, rows: Rows, effects: Effects) -> tuple[Parts, set[int], Frame | None]:
        """Score and decide the rows that carry a decision. Returns their outputs, the rows that were declined, and what
        the rules saw; None where there is no such row."""
        force, columns = self._force, rows.columns
        judged = np.flatnonzero(columns.decides)
        if len(judged) == 0:
            return [], set(), None
        everything = len(judged) == columns.n
        picked = columns if everything else columns.take(judged)
        values = rows.matrix if everything else rows.matrix[:, judged]
        if not self._features_out:
            values = force.ruleset.derive(picked, values, lists=rows.lists, rates=rows.rates)
        anomaly = force.judge.score(values)
        self._probe("score")
        frame = Frame(picked, values, anomaly, lists=rows.lists, rates=rows.rates)
        verdicts = force.judge.verdicts(frame, force.snoozes)
        self._probe("rules")
        parts = force.judge.write(frame, verdicts, judged, rows, force.warming, effects)
        self._probe("decide")
        return parts, declined(verdicts, judged), frame
