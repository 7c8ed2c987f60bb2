"""A compiled rule set: what it declares, and how it is evaluated over a micro-batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.domain.hashing import hash64
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.definition import AGGREGATES, FeatureDef
from engine.ruleset import build
from engine.ruleset.batch import Batch
from engine.ruleset.campaigns.conditions import Conditions
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.campaigns.suspecting import Crowds
from engine.ruleset.hits import hit_of, in_share
from engine.ruleset.lists import ListState, ValueList
from engine.ruleset.model import CANARY, OUTCOMES, AnomalyConfig, Derived, FraudConfig, ModelsConfig, Rule
from engine.ruleset.observing import Observing
from engine.ruleset.program import ROWS_SCALAR_MAX, Program
from engine.ruleset.reading import needed, read_by
from engine.ruleset.scalar import Scalar
from engine.ruleset.templates import Template
from engine.ruleset.types import SCORES
from engine.ruleset.vector import Vector
from engine.ruleset.verdict import Hits, Verdicts, VerdictTable


@dataclass(slots=True)
class Frame:
    """What rules see of a micro-batch.

    Attributes:
        columns: the events; rules are evaluated for those that carry a decision (`columns.decides`).
        matrix: features by `RuleSet.rows`, derived ones filled (`RuleSet.derive`), float64 `(len(rows), n)`.
        score_anomaly, score_fraud: float64 `(n,)`, NaN where not ready; None where there is no model.
        lists: the lists in force by name, where control events changed them; a list that is not here is as declared.
        rates: the exchange rates in force; None where there are none.
        top_anomaly, top_fraud: share of recent decisions with at least this score, as the scores.
    """

    columns: Columns
    matrix: NDArray[np.float64]
    score_anomaly: NDArray[np.float64] | None = None
    score_fraud: NDArray[np.float64] | None = None
    lists: Mapping[str, ListState] | None = None
    rates: Rates | None = None
    top_anomaly: NDArray[np.float64] | None = None
    top_fraud: NDArray[np.float64] | None = None

    @property
    def scores(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Scores and tops in the order of `engine.ruleset.types.SCORES`."""
        return self.score_anomaly, self.score_fraud, self.top_anomaly, self.top_fraud

    def batch(self) -> Batch:
        """The frame as the evaluators take it."""
        return Batch(self.columns, self.matrix, dict(zip(SCORES, self.scores, strict=True)), self.lists, self.rates)


class RuleSet:
    """A compiled rule set. Immutable; made by `engine.ruleset.compile`.

    Attributes:
        hash: of the content, hex; every decision names it.
        features: aggregates, declared ones first, then inline ones: what the feature plan is compiled from.
        derived: derived features in the order they are computed.
        rows: name to row of the feature matrix: `features`, then `derived`.
        kinds: "int", "number" or "bool" of every row, for output.
        declared: names of declared features, derived ones too, in file order.
        rules: enabled rules that decide, in order of file name and place.
        observers: enabled rules that raise alerts, in the same order.
        lists, models, tables: as declared.
        campaigns: enabled ones, in order of file name and place; `conditions` evaluates them.
        live, live_conditions: those that run, which drafts do not.
        crowds: finds decisions of whose crowds those that run have to know.
        score_max: the least highest score that one of those that run lets pass; 1 where none asks for the score.
        texts: the files it was compiled from, name to text.
        read_by: the types of event for which observers read a feature, by its name (`engine.ruleset.reading`).
        templates: those filled in so far, taken apart (`engine.ruleset.templates`).
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
        tables: Mapping[str, Mapping[str, str]],
        campaigns: Sequence[Campaign] = (),
    ) -> None:
        self.hash = content_hash
        self.texts = dict(texts)
        self.features = list(features)
        self.derived = list(derived)
        self.declared = list(declared)
        self.rules = [rule for rule in rules if rule.alert is None]
        self.observers = [rule for rule in rules if rule.alert is not None]
        self.tables = {name: dict(table) for name, table in tables.items()}
        self.templates: dict[str, Template] = {}
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
        self._every = list(range(len(derived)))
        self._derive_all = [vector.number(node) for node in derive_nodes]
        self._program = Program(self.rows, self.lists, hits)
        self._observing = Observing(self.rows, self.lists, self.observers)
        self.campaigns = list(campaigns)
        self.conditions = Conditions(self._scalar, vector, self.campaigns)
        self._vector = vector
        self._run([campaign for campaign in campaigns if campaign.live])
        self._canaries = [(i, rule.share, hash64(rule.id)) for i, rule in enumerate(self.rules) if rule.mode == CANARY]
        self._verdicts = VerdictTable(self.rules)

    def _run(self, live: list[Campaign]) -> None:
        """Let these campaigns run."""
        self.live = live
        self.live_conditions = Conditions(self._scalar, self._vector, live)
        self.crowds = Crowds(self.rows, live)
        self.score_max = min((campaign.score_max for campaign in live), default=1.0)
        self.read_by = read_by(self.observers, self.derived, live)
        self._watched = needed(self.read_by, self.derived)

    def launch(self) -> "RuleSet":
        """The same with drafts live: before anything runs, to see what they would do."""
        self._run(self.campaigns)
        return self

    def declared_rows(self) -> tuple[list[str], list[str], list[int]]:
        """Names, kinds and matrix rows of the declared features, in file order."""
        rows = [self.rows[name] for name in self.declared]
        return self.declared, [self.kinds[row] for row in rows], rows

    def model_inputs(self, model: AnomalyConfig | FraudConfig) -> list[int]:
        """Matrix rows of a model's inputs, in their order."""
        return [self.rows[name] for name in model.inputs]

    def derive(
        self,
        columns: Columns,
        matrix: NDArray[np.float64],
        *,
        lists: Mapping[str, ListState] | None = None,
        rates: Rates | None = None,
        watching: bool = False,
    ) -> NDArray[np.float64]:
        """The full feature matrix, derived rows filled; with `watching` those only that observers read.

        `matrix` has the rows of `features`, or already those of `rows`: then the derived ones are written in place.
        `lists` and `rates` are those of the `Frame` that follows.
        """
        base, total = len(self.features), len(self.rows)
        if matrix.shape[0] != total:
            full = np.empty((total, columns.n))
            full[:base] = matrix[:base]
            if watching:
                full[base:] = np.nan
            matrix = full
        places = self._watched if watching else self._every
        if not places:
            return matrix
        batch = Batch(columns, matrix, lists=lists, rates=rates)
        if columns.n <= ROWS_SCALAR_MAX:
            for index in range(columns.n):
                row = batch.row(index)
                for place in places:
                    row.features[base + place] = value = self._derive_one[place](row) + 0.0  # no negative zero
                    matrix[base + place, index] = value
            return matrix
        with np.errstate(all="ignore"):
            for place in places:
                matrix[base + place] = self._derive_all[place](batch)
                matrix[base + place] += 0.0
                batch.forget_rows()
        return matrix

    def evaluate(self, frame: Frame) -> Hits:
        """Which rules hit which events; only events that carry a decision can be hit."""
        columns = frame.columns
        batch = frame.batch()
        if columns.n > ROWS_SCALAR_MAX:
            matrix = self._program.run(batch, columns.decides)
        else:
            matrix = np.zeros((len(self.rules), columns.n), np.bool_)
            for index in np.flatnonzero(columns.decides).tolist():
                row = batch.row(index)
                for position, hit in enumerate(self._hit_one):
                    if hit(row):
                        matrix[position, index] = True
        return Hits(matrix, self.canaries(columns))

    def canaries(self, columns: Columns) -> dict[int, NDArray[np.bool_]]:
        """For each canary rule, the events whose customers get it live."""
        return {i: in_share(columns.string("customer_id"), seed, share) for i, share, seed in self._canaries}

    def observe(self, frame: Frame) -> NDArray[np.bool_]:
        """Which observers hit which events of a frame, bool `(observers, n)`: all events their `on` names.

        Shadow observers too, see `observers_live`. Scores are those of the frame, NaN where an event has none.
        """
        return self._observing.hits(frame.batch())

    def observed(self, columns: Columns) -> NDArray[np.bool_]:
        """The events some observer looks at, bool `(n,)`: no other needs to be in the frame of `observe`."""
        return self._observing.looked_at(columns)

    def observers_live(self, columns: Columns) -> NDArray[np.bool_]:
        """Where a hit of an observer counts, bool `(observers, n)`: not in shadow, in a canary for its customers."""
        return self._observing.live(columns)

    def followed(self, columns: Columns) -> NDArray[np.bool_]:
        """Which events call off which observers' alerts, bool `(observers, n)`: those with `follow`, others never.

        The event is of a type that will do and has the field `follow.same`; whether its value is one that is waited
        for is the caller's to know. An event that hits as well arms its observer again, after calling it off.
        """
        return self._observing.followed(columns)

    def decide(self, hits: Hits) -> Verdicts:
        """Outcome, points and rules of every event."""
        return self._verdicts.decide(hits)


__all__ = ["OUTCOMES", "ROWS_SCALAR_MAX", "Frame", "Hits", "RuleSet", "Verdicts"]
