"""The kernels of the tail surprise: see `engine.scoring.tails`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BINS: Final = 258
LOWEST: Final = 888  # bits of the float32 2**-16, >> 20: sign, exponent and three bits of the fraction
REFRESH: Final = 256  # events between two sums of the histograms: a fixed count, so that batches do not matter
WEIGHT_MAX: Final = 1e3  # when the newest event weighs this much, all masses are scaled down
EVENTS, WEIGHT = 0, 1  # of the clock


@njit
def bin_of(bits: int) -> int:
    """Bin of a float32 given as the int32 of its bits; 0 for missing, negative and tiny values."""
    if bits <= 0 or bits > 0x7F800000:  # negative and zero; NaN
        return 0
    return min(max((bits >> 20) - LOWEST + 1, 0), BINS - 1)


@njit
def refresh(mass: Floats, surprise: Floats) -> None:
    """`(-ln p) ** 3` of every bin, from the masses; both `(inputs, BINS)`."""
    for f in range(len(mass)):
        total = 0.0
        for b in range(BINS):
            total += mass[f, b]
        above = 0.0
        for b in range(BINS - 1, -1, -1):
            above += mass[f, b]
            s = max(0.0, -np.log((above + 1.0) / (total + 1.0)))  # rounding
            surprise[f, b] = s * s * s


@njit
def score_then_learn(
    x: Singles, mass: Floats, surprise: Floats, rank_mass: Floats, rank_surprise: Floats, clock: Floats, fade: float
) -> Floats:
    """Score each row, then count it, in order. Returns float64 `(n,)` in [0, 1), NaN before the first sums.

    `x` is float32 `(n, inputs)`, contiguous. The four tables are `(inputs, BINS)` and, for the rank, `(1, BINS)`;
    `clock` is `(events, weight of the next event)`, at first `(0, 1)`. `fade` is `1 + 1 / memory in events`.
    """
    n, inputs = x.shape
    bits = x.view(np.int32)
    score = np.empty(n)
    total = np.empty(1, np.float32)
    total_bits = total.view(np.int32)
    codes = np.empty(inputs, np.int64)
    for i in range(n):
        s = 0.0
        for f in range(inputs):
            codes[f] = bin_of(bits[i, f])
            s += surprise[f, codes[f]]
        total[0] = s
        r = bin_of(total_bits[0])
        score[i] = 1.0 - np.exp(-np.cbrt(rank_surprise[0, r])) if clock[EVENTS] >= REFRESH else np.nan
        for f in range(inputs):
            mass[f, codes[f]] += clock[WEIGHT]
        rank_mass[0, r] += clock[WEIGHT]
        clock[EVENTS] += 1.0
        clock[WEIGHT] *= fade
        if clock[EVENTS] % REFRESH == 0.0:
            if clock[WEIGHT] > WEIGHT_MAX:
                mass /= clock[WEIGHT]
                rank_mass /= clock[WEIGHT]
                clock[WEIGHT] = 1.0
            refresh(mass, surprise)
            refresh(rank_mass, rank_surprise)
    return score
