"""Why the fraud model scored a payment high: the inputs that pushed its log odds up most, beside what is usual."""

from typing import Final

import numpy as np

from engine.core.models import Models, Scored
from engine.domain.outputs import Reason
from engine.scoring.figures import number
from engine.scoring.packing import unpack_inputs

FRAUD_MODEL: Final = "FRAUD_MODEL"
REASONS_MAX: Final = 3
PUSH_MIN: Final = 0.05
"""Log odds below which an input is no reason: it would read +0.0."""

_ANOMALY: Final = "score.anomaly"


def fraud_reasons(models: Models, scored: Scored, row: int) -> list[Reason]:
    """Up to three reasons of one scored payment, the strongest first; none where the model is not ready, or was moved
    down by what it saw.

    A reason says the input's value, its median over the weeks before, and the log odds it added:
    `amount_ratio 8.3 (usually 1): +1.2`.
    """
    fraud = models.fraud
    if fraud is None or not fraud.ready or np.isnan(scored.margin[row]):
        return []
    x = unpack_inputs(scored.inputs[row : row + 1])[0]
    parts = fraud.reasons(x, float(scored.plain[row]), float(scored.labelled[row]))
    if parts.inputs.sum() + parts.plain + parts.labelled <= 0.0:
        return []
    pushes = np.append(parts.inputs, parts.labelled)
    strongest = np.argsort(-pushes, kind="stable")[:REASONS_MAX]
    usual = models.usual()
    found = []
    for place in strongest[pushes[strongest] >= PUSH_MIN].tolist():
        if place == len(parts.inputs):
            text = f"{_ANOMALY} {number(float(scored.anomaly[row]))}"
        else:
            text = f"{fraud.inputs[place]} {number(float(x[place]))} (usually {number(float(usual[place]))})"
        found.append(Reason(FRAUD_MODEL, "", f"{text}: {pushes[place]:+.1f}"))
    return found
