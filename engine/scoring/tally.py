"""What margins came to: payments by margin and label, fading, as the ground of calibration.

The same trap as with the weights of the mixture: a margin given at the decision is judged a week later, when the model
has moved on, so a curve made of such margins is that of a model that is gone, and spoils the order of scores for weeks
after a change. So each row is counted at the margin that the *current* model gives it when its label arrives, before
it learns it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import DAY_MS
from engine.scoring.calibration import HALF_DAYS, Curve, calibrate

LOW, WIDTH, BINS = -16.0, 0.0625, 480  # margins from -16 to 14; those beyond are in the outer bins
_CENTRES: Final = LOW + WIDTH * (np.arange(BINS) + 0.5)

Floats = NDArray[np.float64]


def nothing() -> Floats:
    """A tally of no payments: legitimate ones and frauds by bin, float64 `(2, BINS)`."""
    return np.zeros((2, BINS))


def counted(tally: Floats, since_ms: int, margin: Floats, fraud: NDArray[np.uint8], weight: Floats) -> Floats:
    """The tally `since_ms` of event time later, these payments added."""
    more: Floats = tally * 0.5 ** (since_ms / DAY_MS / HALF_DAYS)
    bins = np.clip((margin - LOW) / WIDTH, 0.0, BINS - 1.0).astype(np.intp)
    np.add.at(more, (fraud.astype(np.intp), bins), weight)
    return more


def curve_of(tally: Floats) -> Curve:
    """The calibration of a tally."""
    held = tally > 0.0
    margin, label = np.broadcast_to(_CENTRES, tally.shape)[held], np.nonzero(held)[0].astype(np.float64)
    return calibrate(margin, label, tally[held])
