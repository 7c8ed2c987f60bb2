"""A compiled rule set: what it declares, and how it is evaluated over a micro-batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.hashing import hash64
from engine.features.columns import Columns
from engine.features.definition import AGGREGATES, FeatureDef
from engine.ruleset import build, ir
from engine.ruleset.batch import Batch
from engine.ruleset.lists import ValueList
from engine.ruleset.model import CANARY, OUTCOMES, AnomalyConfig, Derived, FraudConfig, ModelsConfig, Rule
from engine.ruleset.program import Program
from engine.ruleset.scalar import Scalar
from engine.ruleset.types import EVENT_TIME, Kind
from engine.ruleset.vector import Vector
from engine.ruleset.verdict import Hits, Verdicts, VerdictTable

ROWS_SCALAR_MAX: Final = 8
"""Batches up to so many events are evaluated one by one: columns only pay beyond."""


@dataclass(slots=True)
class Frame:
    """What rules see of a micro-batch.

    Attributes:
        columns: the events; rules are evaluated for those that carry a decision (`columns.decides`).
        matrix: features by `RuleSet.rows`, derived ones filled (`RuleSet.derive`), float64 `(len(rows), n)`.
        score_anomaly, score_fraud: float64 `(n,)`, NaN where not ready; None where there is no model.
    """

    columns: Columns
    matrix: NDArray[np.float64]
    score_anomaly: NDArray[np.float64] | None = None
    score_fraud: NDArray[np.float64] | None = None


class RuleSet:
    """A compiled rule set. Immutable; made by `engine.ruleset.compile`.

    Attributes:
        hash: of the content, hex; every decision names it.
        features: aggregates, declared ones first, then inline ones: what the feature plan is compiled from.
        derived: derived features in the order they are computed.
        rows: name to row of the feature matrix: `features`, then `derived`.
        kinds: "int", "number" or "bool" of every row, for output.
        declared: names of declared features, derived ones too, in file order.
        rules: enabled rules, in order of file name and place.
        lists, models: as declared.
        texts: the files it was compiled from, name to text.
    """

    def __init__(
        self,
        content_hash: str,
        features: Sequence[FeatureDef],
        derived: Sequence[Derived],
        declared: Sequence[str],
        rules: Sequence[Rule],
        lists: Mapping[str, ValueList],
        models: ModelsConfig,
        texts: Mapping[str, str],
    ) -> None:
        self.hash = content_hash
        self.texts = dict(texts)
        self.features = list(features)
        self.derived = list(derived)
        self.declared = list(declared)
        self.rules = list(rules)
        self.lists = dict(lists)
        self.models = models
        names = [definition.name for definition in features] + [entry.name for entry in derived]
        self.rows: dict[str, int] = {name: row for row, name in enumerate(names)}
        self.kinds = [AGGREGATES[d.agg].kind for d in features] + [d.kind for d in derived]
        hits = [hit_of(rule) for rule in self.rules]
        self._scalar = Scalar(self.rows, self.lists)
        self._derive_one = [self._scalar.number(build.as_number(entry.expr)) for entry in derived]
        self._hit_one = [self._scalar.condition(node) for node in hits]
        derive_nodes = [build.as_number(entry.expr) for entry in derived]
        vector = Vector(self.rows, self.lists, derive_nodes)
        self._derive_all = [vector.number(node) for node in derive_nodes]
        self._program = Program(self.rows, self.lists, hits)
        self._canaries = [(i, rule.share, hash64(rule.id)) for i, rule in enumerate(self.rules) if rule.mode == CANARY]
        self._verdicts = VerdictTable(self.rules)

    def declared_rows(self) -> tuple[list[str], list[str], list[int]]:
        """Names, kinds and matrix rows of the declared features, in file order."""
        rows = [self.rows[name] for name in self.declared]
        return self.declared, [self.kinds[row] for row in rows], rows

    def model_inputs(self, model: AnomalyConfig | FraudConfig) -> list[int]:
        """Matrix rows of a model's inputs, in their order."""
        return [self.rows[name] for name in model.inputs]

    def derive(self, columns: Columns, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The full feature matrix, derived rows filled.

        `matrix` has the rows of `features`, or already those of `rows`: then the derived ones are written in place.
        """
        base, total = len(self.features), len(self.rows)
        if matrix.shape[0] != total:
            full = np.empty((total, columns.n))
            full[:base] = matrix[:base]
            matrix = full
        if not self.derived:
            return matrix
        batch = Batch(columns, matrix)
        if columns.n <= ROWS_SCALAR_MAX:
            for index in range(columns.n):
                row = batch.row(index)
                for position, number in enumerate(self._derive_one, base):
                    row.features[position] = value = number(row) + 0.0  # no negative zero
                    matrix[position, index] = value
            return matrix
        with np.errstate(all="ignore"):
            for position, numbers in enumerate(self._derive_all, base):
                matrix[position] = numbers(batch)
                matrix[position] += 0.0
                batch.forget_rows()
        return matrix

    def evaluate(self, frame: Frame) -> Hits:
        """Which rules hit which events; only events that carry a decision can be hit."""
        columns = frame.columns
        batch = Batch(columns, frame.matrix, frame.score_anomaly, frame.score_fraud)
        if columns.n > ROWS_SCALAR_MAX:
            matrix = self._program.run(batch)
        else:
            matrix = np.zeros((len(self.rules), columns.n), np.bool_)
            for index in np.flatnonzero(columns.decides).tolist():
                row = batch.row(index)
                for position, hit in enumerate(self._hit_one):
                    if hit(row):
                        matrix[position, index] = True
        canaries = {i: in_share(columns.string("customer_id"), seed, share) for i, share, seed in self._canaries}
        return Hits(matrix, canaries)

    def decide(self, hits: Hits) -> Verdicts:
        """Outcome, points and rules of every event."""
        return self._verdicts.decide(hits)


__all__ = ["OUTCOMES", "Frame", "Hits", "RuleSet", "Verdicts", "hit_of", "in_share"]


def hit_of(rule: Rule) -> ir.Node:
    """`when` and not `unless`, as one condition; outside of the rule's own time it does not hold."""
    time = ir.Field(Kind.NUMBER, EVENT_TIME)
    bounds = ((">=", rule.valid_from_ms), ("<", rule.valid_to_ms))
    parts = [build.compare(op, time, ir.Const(Kind.NUMBER, float(at))) for op, at in bounds if at is not None]
    parts.append(rule.when)
    if rule.unless is not None:
        parts.append(build.negation(rule.unless))
    return build.conjunction(parts)


def in_share(customers: NDArray[np.uint64], seed: int, share: float) -> NDArray[np.bool_]:
    """Whether each customer is in a rule's canary: a stable share by hash (splitmix64 of both), not by chance."""
    mixed = customers ^ np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed = mixed ^ (mixed >> np.uint64(31))
    chosen: NDArray[np.bool_] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
    return chosen
