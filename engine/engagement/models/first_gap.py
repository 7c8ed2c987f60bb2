"""Who has paid once: will they come again? The gap between first and second payment, as others have had it.

BG/NBD cannot tell, so this counts: of those who were as long without a second payment, how many still came within the
horizon. Kaplan-Meier over first gaps, censored ones included, in steps of a day.

Source: Kaplan and Meier, 1958. Nonparametric Estimation from Incomplete Observations. JASA 53, 457-481.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class FirstGap(NamedTuple):
    """`survival[d]`: share of customers without a second payment after `d` days, `(days + 1,)`, from 1 downwards."""

    survival: Floats

    def p_returns(self, days: Floats) -> Floats:
        """Probability that a second payment comes within the horizon, of customers without one for so many days."""
        at = np.clip(np.asarray(days, np.float64), 0.0, len(self.survival) - 1).astype(np.int64)
        left = self.survival[at]
        with np.errstate(divide="ignore", invalid="ignore"):
            returns: Floats = np.where(left > 0, (left - self.survival[-1]) / left, 0.0)
        return returns


def fit(gap_days: Floats, returned: NDArray[np.bool_], horizon_days: int) -> FirstGap:
    """Estimate from customers: days until the second payment where they `returned`, else days seen without one.

    Raises `ValueError` on a gap below 0 or a horizon below a day.
    """
    gap_days = np.asarray(gap_days, np.float64)
    if horizon_days < 1 or (len(gap_days) and gap_days.min() < 0):
        raise ValueError("gaps from 0 days and a horizon of at least a day are needed")
    days = np.minimum(np.floor(gap_days), horizon_days).astype(np.int64)
    came = np.bincount(days[returned & (gap_days < horizon_days)], minlength=horizon_days + 1)[:horizon_days]
    left = np.bincount(days, minlength=horizon_days + 1)[:horizon_days]
    at_risk = len(days) - np.concatenate(([0], np.cumsum(left)[:-1]))
    # Who comes in a day was at risk for it; who is last seen in it counts as at risk through it.
    hazard = np.where(at_risk > 0, came / np.maximum(at_risk, 1), 0.0)
    return FirstGap(np.concatenate(([1.0], np.cumprod(1.0 - hazard))))
