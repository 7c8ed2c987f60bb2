"""Several memories in one margin: experts weighted by their recent loss on arriving labels.

The trap is the delay: a score given at decision time is judged eight days later, so weights from decision-time scores
follow a change sixteen days late. Here the *current* experts score the newly arrived rows from their stored inputs
*before* they learn them: honest, and as fresh as the labels.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ETA: Final = 0.02  # of the exponentially weighted average (Vovk 1990): per nat of log loss
HALF_DAYS: Final = 2.0  # the losses fade: half weight after so many days of labels
MARGIN_LOW, MARGIN_HIGH = -12.0, 8.0  # one confident expert must not decide alone


def clip(margins: Floats) -> Floats:
    """Margins within the bounds that an expert may claim."""
    clipped: Floats = np.clip(margins, MARGIN_LOW, MARGIN_HIGH)
    return clipped


def log_losses(margins: Floats, y: Floats, weight: Floats) -> Floats:
    """Log loss of each expert, summed by weight; `margins` is `(experts, n)`, `y` 0 or 1."""
    sign = 2.0 * y - 1.0
    losses: Floats = (weight * np.logaddexp(0.0, -sign * clip(margins))).sum(axis=1)
    return losses


def fade(losses: Floats, days: float) -> Floats:
    """Losses after `days` of event time."""
    faded: Floats = losses * 0.5 ** (days / HALF_DAYS)
    return faded


def weights(losses: Floats) -> Floats:
    """Weights of the experts, which add up to one."""
    w = np.exp(-ETA * (losses - losses.min()))
    shares: Floats = w / w.sum()
    return shares
