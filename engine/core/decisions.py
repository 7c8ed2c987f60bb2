"""Verdicts to decisions and alerts: the records of contract section 5."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Effects, Output
from engine.core.times import iso_times
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Decision, Reason, Scores
from engine.features.columns import Columns
from engine.ruleset.ruleset import OUTCOMES, RuleSet, Verdicts

POINTS_FULL: Final = 100.0
"""Rule points that alone make the blended score 1."""

_SEVERITY: Final = {"review": "medium", "step_up": "medium", "decline": "high"}
_ACTION: Final = {
    "review": "hold the payment and look at the customer's recent activity",
    "step_up": "ask the customer to authenticate before the payment goes on",
    "decline": "stop the payment and check whether the account or card is compromised",
}
_encode = msgspec.json.Encoder().encode


def blend(points: NDArray[np.float64], anomaly: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Blended risk, 0 to 1: noisy-or of the rule points and the weighted anomaly score; rounded to six digits."""
    by_rules = np.clip(points / POINTS_FULL, 0.0, 1.0)
    by_model = weight * np.nan_to_num(anomaly, nan=0.0)
    return np.round(1.0 - (1.0 - by_rules) * (1.0 - by_model), 6)


class DecisionWriter:
    """Turns the verdicts of a batch into outputs.

    Args:
        ruleset: names rules, reasons and the content hash.
        model: version of the anomaly model, empty where there is none.
        weight: of the anomaly score in the blended one.
    """

    def __init__(self, ruleset: RuleSet, model: str | None, weight: float) -> None:
        self._ruleset = ruleset
        self._model = model
        self._weight = weight
        self._reasons = [Reason(code=r.reason, rule=r.id, detail=r.description) for r in ruleset.rules]
        self._ids = [r.id for r in ruleset.rules]

    def write(
        self,
        columns: Columns,
        verdicts: Verdicts,
        anomaly: NDArray[np.float64],
        degraded: Callable[[int, Sequence[int]], list[str]],
        positions: Sequence[int],
        effects: Effects,
    ) -> list[tuple[int, list[Output]]]:
        """Decisions and alerts of the decision rows of a batch.

        Args:
            columns: the decision rows.
            verdicts: of the same rows.
            anomaly: score of the same rows, NaN where not ready.
            degraded: names what was degraded, for a row and the rules that hit it.
            positions: index of each row's record in the batch as received.
            effects: gets the decisions and the counts.

        Returns:
            `(position, outputs)` a row, in order.
        """
        scores = blend(verdicts.points, anomaly, self._weight).tolist()
        anomalies = [None if a != a else a for a in anomaly.tolist()]
        times, milliseconds = iso_times(columns.time_ms), columns.time_ms.tolist()
        outcomes, late = verdicts.outcome.tolist(), columns.late.tolist()
        written: list[tuple[int, list[Output]]] = []
        for row, event in enumerate(columns.events):
            live, shadow, outcome = verdicts.rules[row], verdicts.shadow[row], OUTCOMES[outcomes[row]]
            decision = Decision(
                event_id=event.event_id,
                payment_id=event.payment_id,
                customer_id=event.customer_id,
                event_time=times[row],
                decision=outcome,
                score=scores[row],
                scores=Scores(anomaly=anomalies[row], fraud=None),
                reasons=[self._reasons[r] for r in verdicts.reasons[row]],
                rules=[self._ids[r] for r in live],
                shadow=[self._ids[r] for r in shadow],
                ruleset=self._ruleset.hash,
                model=self._model,
                late=late[row],
                degraded=degraded(row, (*live, *shadow)),
            )
            body = _encode(decision)
            key = event.customer_id.encode()
            identity = output_id("decision", event.customer_id, event.event_id)
            outputs = [Output("decision", key, identity, milliseconds[row], body)]
            if outcome != "approve":
                outputs.append(_alert(decision, key, milliseconds[row]))
            effects.decisions.append((positions[row], body))
            effects.outcomes[outcome] = effects.outcomes.get(outcome, 0) + 1
            written.append((positions[row], outputs))
        return written


def _alert(decision: Any, key: bytes, time_ms: int) -> Output:
    """The alert of a decision that is not an approval."""
    identity = output_id("alert", "fraud", decision.customer_id, decision.event_id)
    codes = ", ".join(dict.fromkeys(reason.code for reason in decision.reasons))
    alert = Alert(
        alert_id=identity,
        kind="fraud",
        severity=_SEVERITY[decision.decision],
        event_id=decision.event_id,
        customer_id=decision.customer_id,
        title=f"{decision.decision}: {codes}",
        reasons=decision.reasons,
        suggested_action=_ACTION[decision.decision],
    )
    return Output("alert", key, identity, time_ms, _encode(alert))
