"""What goes into a fraud model and what comes out of it."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import MINUTE_MS

HOUR_MS: Final = 60 * MINUTE_MS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How the fraud model learns.

    Attributes:
        learner: a name of `engine.scoring.learners.registry`.
        seed: of all draws.
        adopt_after_ms: event time between a boundary and the adoption of what was learned at it.
        frauds_min, known_min: fewer frauds, or payments with a known label, do not make a first model.
        plain_weight, labelled_weight: of the evidence of both anomaly scores, added to the learner's log odds: free in
            calm times, and most of what is left in the days after a change.
        rank_memory: decisions after which one counts a third for `FraudScores.rank`.
    """

    learner: str = "boosted_trees"
    seed: int = 1
    adopt_after_ms: int = HOUR_MS
    frauds_min: int = 20
    known_min: float = 2_000.0
    plain_weight: float = 0.25
    labelled_weight: float = 0.25
    rank_memory: int = 10_000


class FraudScores(NamedTuple):
    """Scores of a batch, float64 `(n,)` each, NaN before the model is ready.

    Attributes:
        probability: calibrated probability of fraud.
        margin: log odds before calibration; ranks payments as the probability does.
        rank: share of recent decisions with at least this margin; NaN before 256 have been scored.
    """

    probability: Floats
    margin: Floats
    rank: Floats


class FraudReasons(NamedTuple):
    """A margin taken apart: `base + inputs.sum() + plain + labelled` is the margin.

    Attributes:
        base: log odds before anything is known of the payment.
        inputs: what each input moved them by, float64 `(inputs,)`.
        plain, labelled: what the evidence of both anomaly scores moved them by.
    """

    base: float
    inputs: Floats
    plain: float
    labelled: float
