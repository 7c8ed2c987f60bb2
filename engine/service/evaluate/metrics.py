"""Figures of a score against the truth. All take `fraud` as bool `(n,)` and the score as float64 `(n,)` without NaN.

AUC and average precision are those of scikit-learn: ties count half, and are one step. A figure that does not exist,
as where there is no fraud, is None.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

BUDGETS: Final = (0.001, 0.003, 0.005, 0.01)
"""Alert budgets: shares of decisions that somebody looks at."""

EDGES: Final = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the bins of the reliability curve: fraud is rare, so the low end has more of them."""


def roc_auc(fraud: Bools, score: Floats) -> float | None:
    """The chance that a fraud has a higher score than an honest payment; ties count half."""
    frauds = int(np.count_nonzero(fraud))
    honest = len(fraud) - frauds
    if not frauds or not honest:
        return None
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - (size - 1) / 2  # the mean rank of each group of ties, from 1
    return float((middle[group][fraud].sum() - frauds * (frauds + 1) / 2) / (frauds * honest))


def average_precision(fraud: Bools, score: Floats) -> float | None:
    """The precision at each fraud's own score, averaged over the frauds."""
    if not fraud.any():
        return None
    hits, shown = _from_the_top(fraud, score)
    new = np.diff(hits, prepend=0)
    return float((new * hits / shown).sum() / hits[-1])


def recall_at(fraud: Bools, score: Floats, budgets: Sequence[float] = BUDGETS) -> list[float | None]:
    """The share of frauds among so small a share of the payments, those with the highest scores.

    Where ties stand across the edge, what is expected of a draw among them.
    """
    if not fraud.any():
        return [None] * len(budgets)
    hits, shown = _from_the_top(fraud, score)
    places = [budget * len(fraud) for budget in budgets]
    found = np.interp(places, np.concatenate(([0], shown)), np.concatenate(([0], hits)))
    return [float(value) for value in found / hits[-1]]


def precision_recall(fraud: Bools, score: Floats, points: int) -> list[tuple[float, float]]:
    """Recall and precision at `points` evenly spaced recalls, for a plot; none without a fraud."""
    if not fraud.any():
        return []
    hits, shown = _from_the_top(fraud, score)
    wanted = np.arange(1, points + 1) / points
    places = np.searchsorted(hits, np.ceil(wanted * hits[-1] - 1e-9))
    return [(float(recall), float(hits[at] / shown[at])) for recall, at in zip(wanted, places, strict=True)]


def brier(fraud: Bools, probability: Floats) -> float | None:
    """The mean squared error of a probability."""
    return float(np.mean((probability - fraud) ** 2)) if len(fraud) else None


class Bin(NamedTuple):
    """A bin of the reliability curve: `[low, high)`, the last one with its end; means are None where it is empty."""

    low: float
    high: float
    payments: int
    frauds: int
    predicted: float | None
    observed: float | None


def reliability(fraud: Bools, probability: Floats, edges: Sequence[float] = EDGES) -> list[Bin]:
    """What was predicted and what happened, by bins of the prediction."""
    places = np.clip(np.searchsorted(edges, probability, "right") - 1, 0, len(edges) - 2)
    counts, frauds, sums = (
        np.bincount(places, weights, len(edges) - 1).tolist() for weights in (None, fraud * 1.0, probability)
    )
    bins = zip(edges[:-1], edges[1:], counts, frauds, sums, strict=True)
    return [
        Bin(low, high, int(n), int(bad), total / n if n else None, bad / n if n else None)
        for low, high, n, bad, total in bins
    ]


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """The mean distance between predicted and observed, weighted by the decisions of each bin."""
    counted = sum(one.payments for one in bins)
    if not counted:
        return None
    return (
        sum(
            one.payments * abs(one.predicted - one.observed)
            for one in bins
            if one.predicted is not None and one.observed is not None
        )
        / counted
    )


def _from_the_top(fraud: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Frauds and payments at or above each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    return np.cumsum(fraud[order], dtype=np.float64)[ends], ends + 1.0
