"""One history through two rule sets: the stages of `engine.core.partition`, what both sets share done once.

Decoding and admission know nothing of rules. Features are shared where both sets compute the same ones, the detector
where its settings and inputs mean the same; else each set has its own. Nothing is written, paid out or kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.core.admission import Admission
from engine.core.decode import Decoded, Decoder
from engine.core.learning import RANK_MEMORY
from engine.core.lists import ListFull, LiveLists
from engine.core.models import new_detector
from engine.core.settings import CoreSettings
from engine.domain.events import ControlList
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset import meaning
from engine.ruleset.ruleset import Frame, RuleSet
from engine.ruleset.verdict import Hits, Verdicts
from engine.scoring.rank import Rank

Matrix = NDArray[np.float64]


@dataclass(slots=True)
class Judgement:
    """What one rule set said of the decision rows of a batch."""

    frame: Frame
    hits: Hits
    verdicts: Verdicts


@dataclass(slots=True)
class Judged:
    """A batch.

    Attributes:
        accepted: the accepted events.
        picked: those of them that carry a decision.
        base: the base currency in force.
        sides: what the baseline and the candidate said of `picked`.
        duplicates, dead_lettered: how many records were no new event, or none at all.
        controls: how many were control events.
    """

    accepted: Columns
    picked: Columns
    base: str
    sides: tuple[Judgement, Judgement]
    duplicates: int
    dead_lettered: int
    controls: int


class Pipeline:
    """Judges batches of one history, in log order, by two rule sets.

    Attributes:
        shares_features, shares_scores: what is computed once for both.
        base: the base currency in force.
    """

    def __init__(self, baseline: RuleSet, candidate: RuleSet, settings: CoreSettings) -> None:
        self._sets = (baseline, candidate)
        self._decoder = Decoder(settings.rates)
        self._rates: Rates | None = settings.rates
        self.base = settings.rates.base
        self._admission = Admission(settings.admission, backed=False)
        identities = [feature.identity for feature in baseline.features]
        wanted = [feature.identity for feature in candidate.features]
        self.shares_features = set(identities) == set(wanted)
        self.shares_scores = self.shares_features and meaning.of_model(baseline) == meaning.of_model(candidate)
        self._order = [identities.index(text) for text in wanted] if self.shares_features else []
        self._same_order = self._order == list(range(len(identities)))
        plans = [Plan.compile(rules.features, None, settings.features) for rules in self._sets]
        self._states = [FeatureState(plan, backed=False) for plan in plans[: 1 if self.shares_features else 2]]
        self._lists = LiveLists({}), LiveLists({})
        self._detectors = [new_detector(rules) for rules in self._sets[: 1 if self.shares_scores else 2]]
        self._ranks = [Rank(RANK_MEMORY) for _ in self._detectors]

    def run(self, records: Sequence[bytes | None]) -> Judged:
        """Judge the next records of the log."""
        decoded = self._decoder.decode(records)
        self._rates = decoded.rates
        if self._rates is not None:
            self.base = self._rates.base
        refused = self._adopt(decoded)
        admitted = self._admission.admit(decoded.columns)
        decoded.columns.decides[:] = admitted.decides
        decoded.columns.late[:] = admitted.late
        rows = np.flatnonzero(~admitted.duplicate)
        columns = decoded.columns if len(rows) == decoded.columns.n else decoded.columns.take(rows)
        judged = np.flatnonzero(columns.decides)
        picked = columns if len(judged) == columns.n else columns.take(judged)
        values = self._features(columns, judged)
        sides = self._judge(picked, values)
        return Judged(
            accepted=columns,
            picked=picked,
            base=self.base,
            sides=sides,
            duplicates=decoded.columns.n - columns.n,
            dead_lettered=len(decoded.rejects) + refused,
            controls=len(decoded.controls) - refused,
        )

    def _features(self, columns: Columns, judged: NDArray[np.intp]) -> tuple[Matrix, Matrix]:
        """The aggregates of each set for the decision rows; every event enters the state."""
        wanted = [[columns.decides] * len(state.plan.groups) for state in self._states]
        matrices = [
            state.update(columns, masks)[0][:, judged] for state, masks in zip(self._states, wanted, strict=True)
        ]
        if not self.shares_features:
            return matrices[0], matrices[1]
        return matrices[0], matrices[0] if self._same_order else matrices[0][self._order]

    def _judge(self, picked: Columns, values: tuple[Matrix, Matrix]) -> tuple[Judgement, Judgement]:
        baseline, candidate = self._sets
        one, two = self._frame(0, picked, values[0]), self._frame(1, picked, values[1])
        one.score_anomaly, one.top_anomaly = self._score(0, one.matrix)
        if self.shares_scores:
            two.score_anomaly, two.top_anomaly = one.score_anomaly, one.top_anomaly
        else:
            two.score_anomaly, two.top_anomaly = self._score(1, two.matrix)
        return _verdicts(baseline, one), _verdicts(candidate, two)

    def _score(self, side: int, values: Matrix) -> tuple[Matrix, Matrix]:
        """Anomaly scores and where they stand, learning on the way; NaN without a detector."""
        ruleset, detector = self._sets[side], self._detectors[side]
        model = ruleset.models.anomaly
        if detector is None or model is None or values.shape[1] == 0:
            nothing = np.full(values.shape[1], np.nan)
            return nothing, nothing
        scores = detector.score_then_learn(np.ascontiguousarray(values[ruleset.model_inputs(model)]))
        return scores, self._ranks[side].tops(scores)

    def _frame(self, side: int, picked: Columns, values: Matrix) -> Frame:
        """What a rule set sees of the decision rows, scores left out."""
        ruleset, rates = self._sets[side], self._rates
        lists = self._lists[side].states(ruleset.lists)
        return Frame(picked, ruleset.derive(picked, values, lists=lists, rates=rates), lists=lists, rates=rates)

    def _adopt(self, decoded: Decoded) -> int:
        """Change the lists as control events say; how many of those were refused.

        Which rules are in force, and who is spared of them, is the question of a backtest and not of its history.
        """
        refused = 0
        for placed in decoded.controls:
            if isinstance(placed.event, ControlList):
                try:
                    for lists, ruleset in zip(self._lists, self._sets, strict=True):
                        lists.change(placed.event, ruleset.lists.get(placed.event.name))
                except ListFull:
                    refused += 1
        return refused


def _verdicts(ruleset: RuleSet, frame: Frame) -> Judgement:
    hits = ruleset.evaluate(frame)
    return Judgement(frame, hits, ruleset.decide(hits))
