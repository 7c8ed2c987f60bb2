"""From margins to probabilities: isotonic regression over some 28 bins of margin, drawn towards Platt's line.

The curve is made at daily boundaries from a tally of margins and labels (`engine.scoring.tally`). It is strictly
increasing, so it ranks payments as the margin does, and slow (half of the weight is older than four weeks): scores that
are recalibrated fast lose their order across a drift.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

HALF_DAYS: Final = 28.0
BINS: Final = 28
FRAUDS_OF_PLATT: Final = 5.0  # Platt's line counts in each bin as much as so many frauds
RIDGE: Final = 50.0  # of Platt's line towards the identity, so that few labels change little
SLOPE_MIN: Final = 0.05
STEPS_MAX: Final = 8
FRAUD_MEASURE, WIDTH_MEASURE = 0.5, 0.4  # of the bins by number of frauds, by width; the rest by number of payments

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Log odds by margin: linear between knots, beyond them with `slope`.

    Attributes:
        margin, odds: knots, float64 `(k,)`, both strictly increasing; `odds` are log odds.
        slope: above 0.
    """

    margin: Floats
    odds: Floats
    slope: float


IDENTITY: Final = Curve(np.zeros(1), np.zeros(1), 1.0)


@njit
def probability(m: float, margin: Floats, odds: Floats, slope: float) -> float:
    """Probability of one margin by a curve."""
    last = len(margin) - 1
    if m <= margin[0]:
        z = odds[0] + slope * (m - margin[0])
    elif m >= margin[last]:
        z = odds[last] + slope * (m - margin[last])
    else:
        k = np.searchsorted(margin, m)
        z = odds[k - 1] + (odds[k] - odds[k - 1]) * (m - margin[k - 1]) / (margin[k] - margin[k - 1])
    return float(1.0 / (1.0 + np.exp(-z)))


def calibrate(margin: Floats, y: Floats, weight: Floats) -> Curve:
    """The curve of margins `(n,)`, labels 0 or 1 and weights; the identity where there are none of either label."""
    if not 0.0 < float((weight * y).sum()) < float(weight.sum()):
        return IDENTITY
    slope, offset = platt(margin, y, weight)
    order = np.argsort(margin, kind="stable")
    m, f, w = margin[order], (weight * y)[order], weight[order]
    wide = np.diff(m, prepend=m[0]) / max(float(m[-1] - m[0]), 1e-6)
    even = 1.0 - FRAUD_MEASURE - WIDTH_MEASURE
    measure = np.cumsum(FRAUD_MEASURE * f / f.sum() + WIDTH_MEASURE * wide + even * w / w.sum())
    starts = np.unique(np.r_[0, np.searchsorted(measure, np.arange(1, BINS) / BINS)])
    starts = starts[starts < len(m)]  # margins that are all alike have no width
    sums = [np.add.reduceat(values, starts) for values in (w, f, w * m)]
    n, frauds, centre = sums[0], sums[1], sums[2] / sums[0]
    expected = 1.0 / (1.0 + np.exp(-(slope * centre + offset)))
    n, frauds = n + FRAUDS_OF_PLATT / expected, frauds + FRAUDS_OF_PLATT
    rate = np.clip(pooled(frauds / n, n), 1e-6, 1.0 - 1e-6)
    odds = np.log(rate / (1.0 - rate))
    distinct = np.r_[True, np.diff(centre) > 1e-6]
    centre, odds = centre[distinct], odds[distinct]
    for k in range(1, len(odds)):
        odds[k] = max(odds[k], odds[k - 1] + SLOPE_MIN * (centre[k] - centre[k - 1]))
    return Curve(centre, odds, slope)


def platt(margin: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and offset of log odds by margin (Platt 1999), by Newton's method, with a ridge towards slope 1."""
    slope, offset = 1.0, 0.0
    for _ in range(STEPS_MAX):
        p = 1.0 / (1.0 + np.exp(-(slope * margin + offset)))
        g, h = weight * (p - y), weight * p * (1.0 - p)
        g0, g1 = g.sum() + 0.1 * RIDGE * offset, (g * margin).sum() + RIDGE * (slope - 1.0)
        h00, h01, h11 = h.sum() + 0.1 * RIDGE, (h * margin).sum(), (h * margin * margin).sum() + RIDGE
        determinant = h00 * h11 - h01 * h01
        step = np.array(((h00 * g1 - h01 * g0) / determinant, (h11 * g0 - h01 * g1) / determinant))
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-9))
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if float(np.abs(step).max()) < 1e-6:
            break
    return max(slope, SLOPE_MIN), offset


def pooled(rate: Floats, weight: Floats) -> Floats:
    """The closest increasing rates, by weighted squares: pool adjacent violators (Ayer et al. 1955)."""
    pools: list[tuple[float, float, int]] = []  # rate, weight, bins
    for r, w in zip(rate.tolist(), weight.tolist(), strict=True):
        pools.append((r, w, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (r1, w1, n1), (r2, w2, n2) = pools[-2:]
            pools[-2:] = [((r1 * w1 + r2 * w2) / (w1 + w2), w1 + w2, n1 + n2)]
    return np.repeat([r for r, _, _ in pools], [n for _, _, n in pools])
