"""What one rule set did over the history: totals, a line a rule, and the rules that hit together."""

from collections import Counter
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.ruleset.model import OUTCOMES, Rule
from engine.ruleset.ruleset import RuleSet
from engine.service.backtest.labels import FRAUD, LEGITIMATE
from engine.service.backtest.record import Combination, Table
from engine.service.backtest.tally import Cell, Sums, by_group, cells, share

DAY_MS: Final = 86_400_000
INSULTS: Final = ("review", "step_up", "decline")
PAIRS_MAX: Final = 20


def days_of(times_ms: NDArray[np.int64], as_of_ms: int) -> float:
    """The length of the history in days, at least one: what "a day" divides by. Far-future events lengthen nothing."""
    if len(times_ms) == 0:
        return 1.0
    # As at the end, a thousandth of the events at the beginning does not count: one from 1970 would make it decades.
    place = len(times_ms) // 1000
    return max((as_of_ms - int(np.partition(times_ms, place)[place])) / DAY_MS, 1.0)


class Figures:
    """One side of a backtest.

    Args:
        ruleset: its rules.
        known: the combinations of hits its decisions refer to.
        side: each decision's combination.
        label: each decision's label.
        table: the decisions.
        days: length of the history.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        known: list[Combination],
        side: NDArray[np.int32],
        label: NDArray[np.int8],
        table: Table,
        days: float,
    ) -> None:
        self._ruleset = ruleset
        self._known = known
        self._days = days
        self._currencies = table.currencies
        self._cells = cells(side, label, table.currency, table.minor)
        self.all = Sums(self._cells)

    def totals(self) -> dict[str, Any]:
        """Outcomes, fraud caught, honest customers insulted, alerts a day."""
        outcomes = [Sums() for _ in OUTCOMES]
        for cell in self._cells:
            outcomes[self._known[cell.group].outcome].add(cell)
        stopped = Sums(cell for cell in self._cells if self._known[cell.group].outcome)
        passed = outcomes[0]
        return {
            "decisions": self.all.total,
            "outcomes": {name: found.total for name, found in zip(OUTCOMES, outcomes, strict=True)},
            "alerts": stopped.total,
            "alerts_a_day": round(stopped.total / self._days, 2),
            "fraud": self.all.fraud,
            "legitimate": self.all.legitimate,
            "unknown": self.all.unknown,
            "true_positives": stopped.fraud,
            "false_positives": stopped.legitimate,
            "precision": share(stopped.fraud, stopped.fraud + stopped.legitimate),
            "recall": share(stopped.fraud, self.all.fraud),
            "caught": stopped.amount(FRAUD, self._currencies),
            "missed": passed.amount(FRAUD, self._currencies),
            "insult_rate": share(stopped.legitimate, self.all.legitimate),
            "insulted": self._insulted(dict(zip(OUTCOMES, outcomes, strict=True))),
        }

    def _insulted(self, outcomes: dict[str, Sums]) -> dict[str, Any]:
        """Honest payments by what was done to them."""
        return {
            name: {
                "count": outcomes[name].legitimate,
                "amount": outcomes[name].amount(LEGITIMATE, self._currencies),
            }
            for name in INSULTS
        }

    def rules(self) -> list[dict[str, Any]]:
        """A line a rule, in order of the rule set."""
        members: list[list[Cell]] = [[] for _ in self._ruleset.rules]
        for number, found in by_group(self._cells):
            combination = self._known[number]
            for rule in (*combination.rules, *combination.shadow):
                members[rule] += found
        return [self._rule(index, rule, members[index]) for index, rule in enumerate(self._ruleset.rules)]

    def _rule(self, index: int, rule: Rule, members: list[Cell]) -> dict[str, Any]:
        hits = Sums(members)
        by_outcome = {name: Sums() for name in OUTCOMES}
        alone = 0
        for cell in members:
            combination = self._known[cell.group]
            if index in combination.reasons and rule.decision:
                by_outcome[OUTCOMES[combination.outcome]].add(cell)
            alone += cell.decisions * (len(combination.rules) + len(combination.shadow) == 1)
        return {
            "rule": rule.id,
            "mode": rule.mode,
            "decision": "allow" if rule.allow else None if rule.decision is None else OUTCOMES[rule.decision],
            "hits": hits.total,
            "hits_alone": alone,
            "hits_a_day": round(hits.total / self._days, 2),
            "true_positives": hits.fraud,
            "false_positives": hits.legitimate,
            "unknown": hits.unknown,
            "precision": share(hits.fraud, hits.fraud + hits.legitimate),
            "recall": share(hits.fraud, self.all.fraud),
            "caught": hits.amount(FRAUD, self._currencies),
            "honest": hits.amount(LEGITIMATE, self._currencies),
            "alerts_a_day": round(sum(by_outcome[name].total for name in INSULTS) / self._days, 2),
            "insulted": self._insulted(by_outcome),
        }

    def overlap(self) -> list[dict[str, Any]]:
        """The pairs of rules that hit the same decisions most, by Jaccard: both, of those that either hits."""
        hits: Counter[int] = Counter()
        both: Counter[tuple[int, int]] = Counter()
        for cell in self._cells:
            combination = self._known[cell.group]
            together = sorted((*combination.rules, *combination.shadow))
            for rule in together:
                hits[rule] += cell.decisions
            for pair in combinations(together, 2):
                both[pair] += cell.decisions
        rules = self._ruleset.rules
        pairs = []
        for (one, two), count in both.items():
            jaccard = round(count / (hits[one] + hits[two] - count), 6)
            pairs.append({"rules": [rules[one].id, rules[two].id], "both": count, "jaccard": jaccard})
        pairs.sort(key=lambda pair: (-float(str(pair["jaccard"])), str(pair["rules"])))
        return pairs[:PAIRS_MAX]
