"""Decisions that the candidate would have changed: how many of each kind, and a few of each in full."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import rfc3339
from engine.ruleset.explain import detail
from engine.ruleset.model import OUTCOMES
from engine.ruleset.ruleset import RuleSet
from engine.service.backtest.labels import NAMES
from engine.service.backtest.pipeline import Judged, Judgement
from engine.service.backtest.record import Record, Table
from engine.service.backtest.tally import Sums, by_group, cells

EXAMPLES_DEFAULT: Final = 5


class Examples:
    """The first decisions of each change, in log order.

    Args:
        sets: the baseline and the candidate.
        most: examples kept of each change of outcome.
    """

    def __init__(self, sets: tuple[RuleSet, RuleSet], most: int = EXAMPLES_DEFAULT) -> None:
        self._sets = sets
        self._most = most
        self._counts: dict[tuple[int, int], int] = {}
        self._found: list[tuple[int, dict[str, Any]]] = []

    def add(self, judged: Judged, first: int) -> None:
        """Look through a batch whose first decision is number `first` of the history."""
        one, two = (side.verdicts.outcome for side in judged.sides)
        for row in np.flatnonzero(one != two).tolist():
            change = (int(one[row]), int(two[row]))
            if self._counts.get(change, 0) < self._most:
                self._counts[change] = self._counts.get(change, 0) + 1
                self._found.append((first + row, self._example(judged, row)))

    def listed(self, label: NDArray[np.int8]) -> list[dict[str, Any]]:
        """The examples with their labels, change by change, the strongest change of the candidate first."""
        told = [{**example, "label": NAMES[int(label[number])]} for number, example in self._found]
        order = {name: place for place, name in enumerate(OUTCOMES)}
        told.sort(key=lambda e: (-order[e["candidate"]["decision"]], -order[e["baseline"]["decision"]]))
        return told

    def _example(self, judged: Judged, row: int) -> dict[str, Any]:
        event = judged.picked.events[row]
        return {
            "event_id": event.event_id,
            "payment_id": event.payment_id,
            "customer_id": event.customer_id,
            "event_time": rfc3339(int(judged.picked.time_ms[row])),
            "amount": str(event.amount),
            "currency": event.currency,
            "baseline": _side(self._sets[0], judged.sides[0], row),
            "candidate": _side(self._sets[1], judged.sides[1], row),
        }


def _side(ruleset: RuleSet, side: Judgement, row: int) -> dict[str, Any]:
    """What one rule set decided, and why."""
    rules = ruleset.rules
    return {
        "decision": OUTCOMES[int(side.verdicts.outcome[row])],
        "reasons": [
            {"code": rules[rule].reason, "rule": rules[rule].id, "detail": detail(ruleset, side.frame, rule, row)}
            for rule in side.verdicts.reasons[row]
        ],
        "shadow": [rules[rule].id for rule in side.verdicts.shadow[row]],
    }


def matrix(record: Record, table: Table, label: NDArray[np.int8]) -> list[dict[str, Any]]:
    """Every pair of outcomes that occurs, from the baseline's to the candidate's, with counts by label and amounts."""
    one, two = (known.outcomes()[side] for known, side in zip(record.combinations, table.sides, strict=True))
    group = one.astype(np.int64) * len(OUTCOMES) + two
    lines = []
    for number, members in by_group(cells(group, label, table.currency, table.minor)):
        before, after = divmod(number, len(OUTCOMES))
        sums = Sums(members)
        line: dict[str, Any] = {"baseline": OUTCOMES[before], "candidate": OUTCOMES[after], "count": sums.total}
        for value, name in enumerate(NAMES):
            line[name] = {"count": sums.counts[value], "amount": sums.amount(value, table.currencies)}
        lines.append(line)
    return lines


def other_reasons(sets: tuple[RuleSet, RuleSet], record: Record, table: Table) -> int:
    """Decisions with the same outcome for other rules."""
    pairs, counts = np.unique(np.stack(table.sides), axis=1, return_counts=True)
    found = 0
    for one, two, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        before, after = record.combinations[0].known[one], record.combinations[1].known[two]
        names = [{rules.rules[i].id for i in part.reasons} for rules, part in zip(sets, (before, after), strict=True)]
        found += count * (before.outcome == after.outcome and names[0] != names[1])
    return found
