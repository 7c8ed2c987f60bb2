"""A threshold of one rule moved over a range: what the rule, and the whole candidate, would do at each value.

The number is a literal of the checked condition; each value makes a new tree with that one node replaced, compiled by
the evaluator of the engine. No text is edited. The rule is taken as live whatever its mode, for that is the question.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.ruleset.hits import hit_of
from engine.ruleset.program import Program
from engine.ruleset.ruleset import RuleSet
from engine.ruleset.verdict import VerdictTable
from engine.service.backtest.labels import FRAUD, LEGITIMATE
from engine.service.backtest.pipeline import Judged, Judgement
from engine.service.backtest.record import Combination, Table
from engine.service.backtest.sweep_target import Target, varied
from engine.service.backtest.tally import Sums, cells, plain, share


class _Hits(NamedTuple):
    """Decisions that the rule hits at some value: their numbers, and at which values (packed bits)."""

    rows: NDArray[np.int64]
    bits: NDArray[np.uint8]


class Sweep:
    """Collects the hits of one rule at every value.

    Args:
        ruleset: the candidate.
        target: the literal to vary, and its values.
    """

    def __init__(self, ruleset: RuleSet, target: Target) -> None:
        self._ruleset = ruleset
        self._target = target
        rules = [varied(ruleset.rules[target.rule], target, value) for value in target.values]
        self._program = Program(ruleset.rows, ruleset.lists, [hit_of(rule) for rule in rules])
        self._parts: list[_Hits] = []

    def add(self, judged: Judged, side: Judgement, first: int) -> None:
        """Evaluate a batch whose first decision is number `first` of the history."""
        frame = side.frame
        hits = self._program.run(frame.batch(), judged.picked.decides)
        current = side.hits.matrix[self._target.rule]
        rows = np.flatnonzero(hits.any(axis=0) | current)
        if len(rows):
            self._parts.append(_Hits(rows + first, np.packbits(hits[:, rows], axis=0)))

    def result(self, table: Table, known: list[Combination], label: NDArray[np.int8], days: float) -> dict[str, Any]:
        """The table of the sweep."""
        rows = np.concatenate([part.rows for part in self._parts] or [np.empty(0, np.int64)])
        width = (len(self._target.values) + 7) // 8
        bits = np.concatenate([part.bits for part in self._parts] or [np.empty((width, 0), np.uint8)], axis=1)
        combination = table.sides[1]
        given = np.array([entry.outcome for entry in known], np.int8)[combination]
        without, beside = self._forced(known, combination[rows])
        fraud, honest = label == FRAUD, label == LEGITIMATE
        stopped = given > 0
        stopped[rows] = False
        outside = (int(np.count_nonzero(stopped & fraud)), int(np.count_nonzero(stopped & honest)))
        whole = (int(np.count_nonzero(fraud)), int(np.count_nonzero(honest)))
        points = []
        for place, value in enumerate(self._target.values):
            hit = (bits[place // 8] >> (7 - place % 8) & 1).astype(np.bool_)
            outcome = np.where(hit, beside, without)
            points.append(self._point(value, rows, hit, outcome, outside, whole, label, table, days))
        return {
            "rule": self._ruleset.rules[self._target.rule].id,
            "position": self._target.position,
            "number": plain(self._target.current),
            "within": self._target.within,
            "points": points,
        }

    def _forced(
        self, known: list[Combination], combination: NDArray[np.int32]
    ) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Outcome of each decision if the rule misses it, and if it hits it live."""
        rule = self._target.rule
        verdicts = VerdictTable(self._ruleset.rules)
        without, beside = np.zeros(len(known), np.int8), np.zeros(len(known), np.int8)
        for number in np.unique(combination).tolist():
            live = tuple(other for other in known[number].rules if other != rule)
            without[number] = verdicts.combine(live, ()).outcome
            beside[number] = verdicts.combine(tuple(sorted((*live, rule))), ()).outcome
        return without[combination], beside[combination]

    def _point(
        self,
        value: float,
        rows: NDArray[np.int64],
        hit: NDArray[np.bool_],
        outcome: NDArray[np.int8],
        outside: tuple[int, int],
        whole: tuple[int, int],
        label: NDArray[np.int8],
        table: Table,
        days: float,
    ) -> dict[str, Any]:
        hits = rows[hit]
        sums = Sums(cells(np.zeros(len(hits), np.int64), label[hits], table.currency[hits], table.minor[hits]))
        stopped = label[rows][outcome > 0]
        caught = outside[0] + int(np.count_nonzero(stopped == FRAUD))
        insulted = outside[1] + int(np.count_nonzero(stopped == LEGITIMATE))
        return {
            "value": plain(value),
            "current": value == self._target.current,
            "hits": sums.total,
            "hits_a_day": round(sums.total / days, 2),
            "true_positives": sums.fraud,
            "false_positives": sums.legitimate,
            "unknown": sums.unknown,
            "precision": share(sums.fraud, sums.fraud + sums.legitimate),
            "recall": share(sums.fraud, whole[0]),
            "caught": sums.amount(FRAUD, table.currencies),
            "honest": sums.amount(LEGITIMATE, table.currencies),
            "set_recall": share(caught, whole[0]),
            "set_precision": share(caught, caught + insulted),
            "set_insult_rate": share(insulted, whole[1]),
        }
