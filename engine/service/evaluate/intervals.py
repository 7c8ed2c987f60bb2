"""How sure a figure is: confidence intervals by drawing whole days again (bootstrap), paired between two scores.

Days are drawn, not payments, because the frauds of a day belong together. Each draw weights the days, and average
precision and AUC of weighted rows follow from counts by day: how many payments, and how many frauds, of each day stand
at or above each fraud. So a draw costs a product of matrices and no sorting, and is exact.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.service.evaluate.metrics import Bools, Floats

DRAWS: Final = 1_000
SEED: Final = 20_260
LEVEL: Final = 0.95
_AT_ONCE: Final = 4_000_000
"""Values of a matrix of frauds and draws: 32 MB."""


class Interval(NamedTuple):
    """A figure, and the bounds between which it falls in `LEVEL` of the draws."""

    value: float
    low: float
    high: float


class Ranking(NamedTuple):
    """Where the frauds of a score stand: float64 `(frauds, days)`, and the day of each fraud, intp `(frauds,)`.

    Attributes:
        day: of each fraud.
        shown: payments of each day at or above the fraud's score.
        hits: frauds among them.
        below: honest payments of each day below it, ties as half.
        honest: honest payments of each day, `(days,)`.
    """

    day: NDArray[np.intp]
    shown: Floats
    hits: Floats
    below: Floats
    honest: Floats


def ranking(day: NDArray[np.intp], days: int, fraud: Bools, score: Floats) -> Ranking:
    """Count where each fraud stands among the payments of each day (numbered from 0)."""
    marks = score[fraud]
    shown, hits, below = (np.zeros((len(marks), days)) for _ in range(3))
    honest = np.zeros(days)
    for number in range(days):
        of_day = day == number
        good, bad = np.sort(score[of_day & ~fraud]), np.sort(score[of_day & fraud])
        under, up_to = np.searchsorted(good, marks, "left"), np.searchsorted(good, marks, "right")
        hits[:, number] = len(bad) - np.searchsorted(bad, marks, "left")
        shown[:, number] = hits[:, number] + len(good) - under
        below[:, number] = (under + up_to) / 2
        honest[number] = len(good)
    return Ranking(day[fraud], shown, hits, below, honest)


def figures(ranked: Ranking, weights: Floats) -> tuple[Floats, Floats]:
    """Average precision and AUC, each float64 `(draws,)`, where days count `weights` times, float64 `(days, draws)`.

    NaN for a draw in which there is no fraud, or for the AUC no honest payment.
    """
    precisions, aucs = [], []
    step = max(1, _AT_ONCE // max(1, len(ranked.day)))
    for start in range(0, weights.shape[1], step):
        some = weights[:, start : start + step]
        own = some[ranked.day]
        frauds, honest = own.sum(axis=0), ranked.honest @ some
        shown = ranked.shown @ some
        precision = np.divide(ranked.hits @ some, shown, out=np.zeros_like(shown), where=shown > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precisions.append((own * precision).sum(axis=0) / frauds)
            aucs.append((own * (ranked.below @ some)).sum(axis=0) / (frauds * honest))
    return np.concatenate(precisions), np.concatenate(aucs)


def draws(days: int, count: int = DRAWS, seed: int = SEED) -> Floats:
    """Weights of the days in each draw, float64 `(days, 1 + count)`; the first counts every day once."""
    drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=count).T
    return np.column_stack((np.ones(days), drawn)).astype(np.float64)


def interval(values: Floats) -> Interval | None:
    """Of the figure of all days (the first) and of the draws; draws without a figure are left out."""
    usable = values[1:][np.isfinite(values[1:])]
    if not len(usable) or not np.isfinite(values[0]):
        return None
    low, high = np.quantile(usable, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return Interval(float(values[0]), low, high)
