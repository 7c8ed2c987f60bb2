"""Verdicts to decisions and alerts: the records of contract section 5."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from engine.core.effects import Effects, Output
from engine.core.times import iso_times
from engine.domain.ids import PREFIXES
from engine.domain.outputs import Alert, Decision, Reason, Scores
from engine.features.columns import Columns
from engine.ruleset.explain import detail
from engine.ruleset.ruleset import OUTCOMES, Frame, RuleSet, Verdicts

POINTS_FULL: Final = 100.0
"""Rule points that alone make the blended score 1."""

_SEVERITY: Final[dict[str, Literal["low", "medium", "high"]]] = {
    "review": "medium",
    "step_up": "medium",
    "decline": "high",
}
_ACTION: Final = {
    "review": "hold the payment and look at the customer's recent activity",
    "step_up": "ask the customer to authenticate before the payment goes on",
    "decline": "stop the payment and check whether the account or card is compromised",
}
_ENCODER: Final = msgspec.json.Encoder()

_Row = tuple[
    Any, str, int, float, float, float, Sequence[int], Sequence[int], Sequence[int], bool, list[str],
    list[float | None] | UnsetType,
]  # fmt: skip
"""Event, time, outcome, the three scores (blended, anomaly, fraud), live rules, shadow rules, hits in force, late,
degraded, seen."""


class Weights(NamedTuple):
    """Of the scores in the blended one, 0 to 1 each."""

    anomaly: float
    fraud: float


def blend(
    points: NDArray[np.float64], anomaly: NDArray[np.float64], fraud: NDArray[np.float64], weights: Weights
) -> NDArray[np.float64]:
    """Blended risk, 0 to 1: noisy-or of the rule points and the weighted scores; rounded to six digits."""
    # Plain ufuncs: clip and nan_to_num cost a batch of one more than the rest of its decision.
    without = 1.0 - np.minimum(np.maximum(points / POINTS_FULL, 0.0), 1.0)
    without *= 1.0 - weights.anomaly * np.fmax(anomaly, 0.0)
    without *= 1.0 - weights.fraud * np.fmax(fraud, 0.0)
    return np.round(1.0 - without, 6)


def event_digests(columns: Columns) -> list[str]:
    """128 bits in hexadecimal that identify each event: the hashes of its customer and its id, which exist already."""
    pairs = np.stack([columns.string("customer_id"), columns.string("event_id")], axis=1).astype(">u8")
    digits = pairs.tobytes().hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


class DecisionWriter:
    """Turns the verdicts of a batch into outputs.

    Args:
        ruleset: names rules, reasons and the content hash.
        weights: of the scores in the blended one.
    """

    def __init__(self, ruleset: RuleSet, weights: Weights) -> None:
        self._ruleset = ruleset
        self._weights = weights
        self._reasons = [None if r.detail else Reason(r.reason, r.id, r.description) for r in ruleset.rules]
        self._ids = [r.id for r in ruleset.rules]

    def write(
        self,
        frame: Frame,
        verdicts: Verdicts,
        why: Mapping[int, list[Reason]],
        degraded: Sequence[list[str]],
        positions: Sequence[int],
        effects: Effects,
        model: str | None,
        seen: Sequence[int] = (),
    ) -> list[tuple[int, Output]]:
        """Decisions, then alerts, of the decision rows of a batch, each with the position of its record.

        Args:
            frame: what the rules saw of the decision rows.
            verdicts: of the same rows.
            why: what the fraud model says of some rows: their decisions' reasons after those of rules.
            degraded: what each row's decision could not rely on.
            positions: index of each row's record in the batch as received.
            effects: gets the decisions and the counts.
            model: versions of the models, None where there are none.
            seen: rows of the feature matrix whose values the decisions carry.
        """
        columns = frame.columns
        decisions = self.decisions(frame, verdicts, why, degraded, model, seen)
        # Encoded together: a newline never stands inside JSON text, so the lines are the decisions again.
        bodies = _ENCODER.encode_lines(decisions).splitlines()
        digests, times = event_digests(columns), columns.time_ms.tolist()
        keys = [decision.customer_id.encode() for decision in decisions]
        ids = [f"{PREFIXES['decision']}_{digest}" for digest in digests]
        parts = list(zip(positions, map(Output, repeat("decision"), keys, ids, times, bodies), strict=True))
        rows = np.flatnonzero(verdicts.outcome).tolist()
        raised = [_alert(decisions[row], digests[row]) for row in rows]
        for row, alert, body in zip(rows, raised, _ENCODER.encode_lines(raised).splitlines(), strict=True):
            parts.append((positions[row], Output("alert", keys[row], alert.alert_id, times[row], body)))
        effects.decisions += zip(positions, bodies, strict=True)
        counts = np.bincount(verdicts.outcome, minlength=len(OUTCOMES)).tolist()
        for name, count in zip(OUTCOMES, counts, strict=True):
            if count:
                effects.outcomes[name] = effects.outcomes.get(name, 0) + count
        return parts

    def decisions(
        self,
        frame: Frame,
        verdicts: Verdicts,
        why: Mapping[int, list[Reason]],
        degraded: Sequence[list[str]],
        model: str | None,
        seen: Sequence[int] = (),
    ) -> list[Decision]:
        """The decisions as structs."""
        rows = self._columns(frame, verdicts, degraded, seen)
        # Most events hit nothing: they share the empty lists.
        none: list[str] = []
        nothing: list[Reason] = []
        ids, ruleset = self._ids, self._ruleset.hash
        return [
            Decision(
                event.event_id, event.payment_id, event.customer_id, time, OUTCOMES[outcome], score,
                Scores(odd if odd == odd else None, likely if likely == likely else None),
                [*(self._reason(frame, rule, row) for rule in hit), *why.get(row, ())] if hit else nothing,
                [ids[rule] for rule in live] if live else none,
                [ids[rule] for rule in shadow] if shadow else none,
                ruleset, model, late, names, values,
            )
            for row, (event, time, outcome, score, odd, likely, live, shadow, hit, late, names, values)
            in enumerate(rows)
        ]  # fmt: skip

    def _columns(
        self, frame: Frame, verdicts: Verdicts, degraded: Sequence[list[str]], seen: Sequence[int]
    ) -> Iterator[_Row]:
        """What decisions are made of, row by row, in the order of `decisions`; NaN where there is no score."""
        columns = frame.columns
        anomaly, fraud = (
            scores if scores is not None else np.full(columns.n, np.nan)
            for scores in (frame.score_anomaly, frame.score_fraud)
        )
        return zip(
            columns.events,
            iso_times(columns.time_ms),
            verdicts.outcome.tolist(),
            blend(verdicts.points, anomaly, fraud, self._weights).tolist(),
            anomaly.tolist(),
            fraud.tolist(),
            verdicts.rules,
            verdicts.shadow,
            verdicts.reasons,
            columns.late.tolist(),
            degraded,
            frame.matrix[seen].T.tolist() if seen else repeat(UNSET, columns.n),  # NaN is null in JSON
            strict=True,
        )

    def _reason(self, frame: Frame, rule: int, row: int) -> Reason:
        """Why a rule hit: its description, or its own text with the values of this event filled in."""
        fixed = self._reasons[rule]
        if fixed is not None:
            return fixed
        declared = self._ruleset.rules[rule]
        return Reason(declared.reason, declared.id, detail(self._ruleset, frame, rule, row))


def _alert(decision: Decision, digest: str) -> Alert:
    """The alert of a decision that is not an approval."""
    codes = ", ".join(dict.fromkeys([reason.code for reason in decision.reasons if reason.rule]))
    return Alert(
        f"{PREFIXES['alert']}_{digest}",
        "fraud",
        _SEVERITY[decision.decision],
        decision.event_id,
        decision.customer_id,
        f"{decision.decision}: {codes}",
        decision.reasons,
        _ACTION[decision.decision],
    )
