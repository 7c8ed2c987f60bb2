"""Score, rules, decisions: what one rule set makes of the events of a batch that carry a decision."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.control_sample import ControlSample, ControlSettings
from engine.core.decisions import DecisionWriter, Weights, blend
from engine.core.effects import Effects, Output
from engine.core.fraud_reasons import fraud_reasons
from engine.core.identities import identities
from engine.core.models import Models, Scored
from engine.core.snoozes import Snoozes
from engine.core.warming import Warming
from engine.domain.rates import Rates
from engine.engagement.ledger.payments import APPROVED, REFUSED
from engine.features.columns import Columns
from engine.ruleset.campaigns.suspecting import Crowd
from engine.ruleset.explain import explanation
from engine.ruleset.lists import ListState
from engine.ruleset.model import LIVE, SHADOW
from engine.ruleset.ruleset import OUTCOMES, Frame, Hits, RuleSet, Verdicts

Matrix = NDArray[np.float64]
_encode: Final = msgspec.json.Encoder().encode
_DECLINE: Final = OUTCOMES.index("decline")
_REVIEW: Final = OUTCOMES.index("review")


@dataclass(frozen=True, slots=True)
class Rows:
    """The accepted events of a batch and what is known of them before they are judged.

    Attributes:
        columns: the events.
        matrix: features by row of `RuleSet.features`, or of `RuleSet.rows`, float64 `(rows, n)`.
        masked: a card number was masked in the event, bool `(n,)`.
        positions: index of each event's record in the batch as received.
        lists: those that control events changed.
        rates: in force; None where there are none.
        explain: indexes of records whose decisions are to be explained.
        seen: rows of the matrix that decisions carry with them.
    """

    columns: Columns
    matrix: Matrix
    masked: NDArray[np.bool_]
    positions: list[int]
    lists: Mapping[str, ListState]
    rates: Rates | None
    explain: frozenset[int]
    seen: Sequence[int]


class Noted(NamedTuple):
    """What campaigns have to know of decisions, by row: `Judge.doubts` and `Judge.crowds`."""

    doubts: Mapping[int, int] = MappingProxyType({})
    crowds: Mapping[int, Crowd] = MappingProxyType({})


class Judge:
    """One rule set at work, with its models.

    Args:
        ruleset: that is in force.
        models: its models, which go on learning.
        weights: of the anomaly and of the fraud score in the blended one.
        control: of the declines that go through all the same.
    """

    def __init__(self, ruleset: RuleSet, models: Models, weights: Weights, control: ControlSettings) -> None:
        self.ruleset = ruleset
        self.models = models
        self._writer = DecisionWriter(ruleset, weights)
        self._weights = weights
        self._control = ControlSample(ruleset, control)

    def score(self, columns: Columns, values: Matrix) -> Scored:
        """What the models say of decisions, learning as they go."""
        return self.models.score(values, identities(columns))

    def verdicts(self, frame: Frame, snoozes: Snoozes) -> Verdicts:
        """What the rules say, hits of snoozed rules set aside; but for the control sample."""
        verdicts = decide(self.ruleset, self.ruleset.evaluate(frame), frame.columns, snoozes)
        self._control.let_through(frame.columns, verdicts)
        return verdicts

    def lessons(self, verdicts: Verdicts, scored: Scored) -> Scored:
        """What is kept of the scores for learners: the sample stands for more than itself."""
        return scored._replace(share=self._control.shares(verdicts, scored.share)) if verdicts.control else scored

    def write(
        self,
        frame: Frame,
        verdicts: Verdicts,
        scored: Scored,
        judged: NDArray[np.intp],
        rows: Rows,
        warming: Warming,
        effects: Effects,
    ) -> list[tuple[int, Output]]:
        """The outputs of the decisions on the events `judged` of `rows`; they are what `frame` and `scored` hold."""
        degraded = self._degraded(frame.columns, judged, rows.masked[judged], verdicts, warming)
        for name, model, scores in (
            ("fraud_not_ready", self.models.fraud, frame.score_fraud),
            ("anomaly_not_ready", self.models.anomaly, frame.score_anomaly),
        ):
            if model is not None and scores is not None:
                for row in np.flatnonzero(np.isnan(scores)):
                    degraded[row] = [name, *degraded[row]]
        places = rows.positions if len(judged) == rows.columns.n else [rows.positions[row] for row in judged.tolist()]
        self._count(verdicts, effects)
        for at, place in enumerate(places) if rows.explain else ():
            if place in rows.explain:
                pushed = [reason.detail for reason in fraud_reasons(self.models, scored, at)]
                told = {**explanation(self.ruleset, frame, at, verdicts), "fraud_model": pushed}
                effects.explanations[place] = _encode(told)
        why = {int(at): fraud_reasons(self.models, scored, int(at)) for at in np.flatnonzero(verdicts.outcome)}
        for at in verdicts.control:
            why[at] = [self._control.reason(), *fraud_reasons(self.models, scored, at)]
        effects.control += len(verdicts.control)
        return self._writer.write(frame, verdicts, why, degraded, places, effects, self.models.version, rows.seen)

    def doubts(self, frame: Frame, verdicts: Verdicts, judged: NDArray[np.intp]) -> dict[int, int]:
        """Those of the events `judged` that campaigns have to know of, and what `engine.engagement.ledger.facts.judged`
        takes of each: those that are not approved, the control sample, and those that are with a score above the least
        `score_max` in force."""
        outcome = verdicts.outcome
        if verdicts.control:
            outcome = outcome.copy()
            outcome[verdicts.control] = _REVIEW
        most, some = self.ruleset.score_max, np.flatnonzero(outcome)
        if most >= 1.0 and not len(some):
            return {}
        nothing = np.full(len(outcome), np.nan)
        anomaly, fraud = (known if known is not None else nothing for known in (frame.score_anomaly, frame.score_fraud))
        risks = blend(verdicts.points, anomaly, fraud, self._weights)
        if most < 1.0:
            some = np.flatnonzero((outcome > 0) | (risks > most))
        outcome = outcome[some]
        # Up to the next hundredth, which is above a `score_max` in hundredths exactly where the score is.
        whole = np.maximum(1, np.ceil(np.round(100 * risks[some], 4))).astype(np.int64)
        found = np.where(outcome == _DECLINE, REFUSED, np.where(outcome > 0, whole, whole + APPROVED))
        return dict(zip(judged[some].tolist(), found.tolist(), strict=True))

    def crowds(self, frame: Frame, judged: NDArray[np.intp]) -> dict[int, Crowd]:
        """Those of the events `judged` that show more customers who share something than a campaign lets pass."""
        found = self.ruleset.crowds.of(frame.matrix)
        return {int(judged[column]): crowd for column, crowd in found.items()}

    def _count(self, verdicts: Verdicts, effects: Effects) -> None:
        """How often each rule hit, for metrics."""
        for mode, of_rows in ((LIVE, verdicts.rules), (SHADOW, verdicts.shadow)):
            for place, hits in Counter(chain.from_iterable(of_rows)).items():
                key = (self.ruleset.rules[place].id, mode)
                effects.hits[key] = effects.hits.get(key, 0) + hits

    def _degraded(
        self, picked: Columns, judged: NDArray[np.intp], masked: NDArray[np.bool_], verdicts: Verdicts, warming: Warming
    ) -> list[list[str]]:
        """What the rules of each decision could not rely on: a masked field, features younger than their window."""
        none: list[str] = []
        names = [none] * picked.n
        for place in np.flatnonzero(masked):
            names[place] = ["card_number_masked"]
        if warming.over:
            return names
        features = self.ruleset.features
        for row, (live, shadow) in enumerate(zip(verdicts.rules, verdicts.shadow, strict=True)):
            if live or shadow:
                used = dict.fromkeys(f for rule in (*live, *shadow) for f in self.ruleset.rules[rule].features)
                at, time_ms = int(judged[row]), int(picked.time_ms[row])
                young = [f"warming:{features[f].name}" for f in used if warming.is_warming(f, at, time_ms)]
                if young:
                    names[row] = names[row] + young
        return names


def decide(ruleset: RuleSet, hits: Hits, columns: Columns, snoozes: Snoozes) -> Verdicts:
    """What hits come to, those of snoozed rules set aside."""
    snoozed = {}
    for place in np.flatnonzero(hits.matrix.any(axis=1)).tolist() if snoozes else ():
        rows = np.flatnonzero(hits.matrix[place]).tolist()
        mask = snoozes.of(ruleset.rules[place].id, columns, rows)
        if mask is not None:
            snoozed[place] = mask
    return ruleset.decide(Hits(hits.matrix, hits.canaries, snoozed) if snoozed else hits)


def declined(verdicts: Verdicts) -> NDArray[np.bool_]:
    """Which of the events are to be declined."""
    found: NDArray[np.bool_] = verdicts.outcome == _DECLINE
    return found


def seen_by(ruleset: RuleSet, rows: Rows, some: NDArray[np.intp], judged: Frame | None) -> Frame:
    """What observers see of some accepted events; `judged` is what rules saw of those that carry a decision."""
    decides = rows.columns.decides
    if judged is not None and np.array_equal(some, np.flatnonzero(decides)):
        return judged
    everything = len(some) == rows.columns.n
    picked = rows.columns if everything else rows.columns.take(some)
    values = rows.matrix if everything else rows.matrix.take(some, axis=1)
    if len(values) != len(ruleset.rows):
        values = ruleset.derive(picked, values, lists=rows.lists, rates=rows.rates, watching=True)
    scores = np.full((4, rows.columns.n), np.nan)
    for place, known in enumerate(judged.scores if judged is not None else ()):
        if known is not None:
            scores[place, decides] = known
    anomaly, fraud, anomaly_top, fraud_top = scores[:, some]
    return Frame(picked, values, anomaly, fraud, rows.lists, rows.rates, anomaly_top, fraud_top)
