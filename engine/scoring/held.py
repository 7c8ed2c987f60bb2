"""Shares that hold: what thresholds on a share really let through, put right as it goes.

A share of recent events is only as good as recent events are like the next ones. After a change of the scores a
threshold of 0.3 % lets through ten times as much, or nothing, until the histogram has followed. So for some levels the
share that really comes to it is kept: each event at or below a level's threshold lowers that threshold by `STEP`, in
logarithms, and each other raises it by `STEP` times the level. Whatever the scores do, of `n` events `level * n` come
through, give or take the range of the thresholds by `STEP`, some dozens: the argument of adaptive conformal inference
(Gibbs and Candès 2021). Between levels the share is interpolated. Thresholds of rare levels move as rarely as those are
hit, so each has the memory it needs: about `1 / (STEP * level)` events.
"""

from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

LEVELS: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
LOG_LEVELS: Final = np.log(LEVELS)
STEP: Final = 0.1
"""Greater steps hold a rate more closely and let its threshold tremble more: by some `sqrt(STEP / 2)`."""

RANGE: Final = 3.0  # a threshold stays within a factor of e**3 of its level
LEAST: Final = 1e-9

Floats = NDArray[np.float64]


@njit
def hold(share: float, held: Floats) -> None:
    """Take in an event of this share: `held` are the logarithms of the thresholds of `LEVELS`."""
    at = log(max(share, LEAST))
    for k in range(len(LEVELS)):
        hit = 1.0 if at <= held[k] else 0.0
        moved = held[k] + STEP * (LEVELS[k] - hit)
        held[k] = min(max(moved, LOG_LEVELS[k] - RANGE), LOG_LEVELS[k] + RANGE, -LEAST)
        if k > 0 and held[k] < held[k - 1]:
            held[k] = held[k - 1]


@njit
def correct(share: float, held: Floats) -> float:
    """The level that a share stands for, by the thresholds in force; it rises with the share."""
    at = log(max(share, LEAST))
    if at <= held[0]:
        return float(np.exp(LOG_LEVELS[0] + at - held[0]))
    for k in range(len(LEVELS)):
        last = k + 1 == len(LEVELS)
        high = 0.0 if last else held[k + 1]
        if at <= high and high > held[k]:
            top = 0.0 if last else LOG_LEVELS[k + 1]
            return float(np.exp(LOG_LEVELS[k] + (top - LOG_LEVELS[k]) * (at - held[k]) / (high - held[k])))
    return 1.0
