"""From rule hits to outcomes: the strongest wins, `allow` sets aside what is not hard, shadow rules change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.ruleset.model import CANARY, SHADOW, Rule

TABLE_MAX: Final = 10_000  # combinations of hits remembered; forgetting them costs time, never a result


@dataclass(slots=True)
class Hits:
    """Which rules hit which events.

    Attributes:
        matrix: bool `(n_rules, n)`, shadow rules too.
        canaries: for each canary rule, the events whose customers get it live, bool `(n,)`.
        snoozed: for each rule that is snoozed for some of the events, those events, bool `(n,)`.
    """

    matrix: NDArray[np.bool_]
    canaries: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    snoozed: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)

    def aside(self, rule: int, mode: str, row: int) -> bool:
        """Whether a hit of a rule on an event decides nothing: in shadow, outside of its canary, or snoozed."""
        if mode == SHADOW or (mode == CANARY and not self.canaries[rule][row]):
            return True
        return rule in self.snoozed and bool(self.snoozed[rule][row])


class Verdict(NamedTuple):
    """What a combination of hits comes to: see `Verdicts`."""

    outcome: int
    points: float
    rules: tuple[int, ...]
    shadow: tuple[int, ...]
    reasons: tuple[int, ...]


@dataclass(slots=True)
class Verdicts:
    """What the rules say of `n` events.

    Attributes:
        outcome: index in `OUTCOMES`, int8 `(n,)`; 0 (approve) where nothing hit.
        points: sum of the `then.score` of live hits that are in force, float64 `(n,)`.
        rules: for each event, indexes of the live rules that hit it, in order of the rule set.
        shadow: for each event, indexes of the shadow rules that hit it, of canaries its customer does not get, and of
            rules that are snoozed for it.
        reasons: for each event, those of `rules` that are in force: not those that an `allow` set aside.
        control: rows that these rules decline and that go through all the same (`engine.core.control_sample`).
    """

    outcome: NDArray[np.int8]
    points: NDArray[np.float64]
    rules: list[tuple[int, ...]]
    shadow: list[tuple[int, ...]]
    reasons: list[tuple[int, ...]]
    control: list[int] = field(default_factory=list)


class VerdictTable:
    """Combines hits. The same combination is worked out once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._table: dict[tuple[tuple[int, ...], tuple[int, ...]], Verdict] = {}

    def decide(self, hits: Hits) -> Verdicts:
        """Verdicts of every event; events without a hit cost nothing each."""
        n = hits.matrix.shape[1]
        outcome, points = np.zeros(n, np.int8), np.zeros(n)
        by_row: dict[int, list[int]] = {}
        for place in np.flatnonzero(hits.matrix).tolist():
            rule, row = divmod(place, n)
            by_row.setdefault(row, []).append(rule)
        none: list[tuple[int, ...]] = [()] * n
        verdicts = Verdicts(outcome, points, none, none.copy(), none.copy())
        for row, hit in by_row.items():
            verdict = self._verdict(row, hit, hits)
            outcome[row] = verdict.outcome
            points[row] = verdict.points
            verdicts.rules[row] = verdict.rules
            verdicts.shadow[row] = verdict.shadow
            verdicts.reasons[row] = verdict.reasons
        return verdicts

    def _verdict(self, row: int, hit: list[int], hits: Hits) -> Verdict:
        live: list[int] = []
        shadow: list[int] = []
        for rule in hit:
            (shadow if hits.aside(rule, self._rules[rule].mode, row) else live).append(rule)
        key = (tuple(live), tuple(shadow))
        verdict = self._table.get(key)
        if verdict is None:
            if len(self._table) >= TABLE_MAX:
                self._table.clear()
            verdict = self._table[key] = self.combine(*key)
        return verdict

    def combine(self, live: tuple[int, ...], shadow: tuple[int, ...]) -> Verdict:
        """The verdict of live and shadow hits."""
        allowed = any(self._rules[rule].allow for rule in live)
        force = tuple(r for r in live if not allowed or self._rules[r].hard or self._rules[r].allow)
        outcome = max((self._rules[rule].decision or 0 for rule in force), default=0)
        points = sum((self._rules[rule].score for rule in force), 0.0)
        return Verdict(outcome, points, live, shadow, force)
