"""What another policy would have brought, from the log of this one: off-policy evaluation.

Of each choice the log has the context, the arm, the probability it had, and the outcome. Three estimates of the mean
outcome of the policy in question: inverse propensity scoring (unbiased, wide), the same normalised by its weights
(slightly biased, less wide), and doubly robust (unbiased where the propensities are right, tight where the outcome
model is good). Each with its standard error.

Sources: Horvitz and Thompson, 1952. Swaminathan and Joachims, 2015. Dudik, Langford and Li, 2011.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """Mean outcome a choice and its standard error."""

    value: float
    error: float


def ips(outcome: Floats, propensity: Floats, wanted: Floats) -> Estimate:
    """Inverse propensity scoring. `wanted`: probability with which the policy in question makes the logged choice."""
    weight = _weights(propensity, wanted)
    return _mean(weight * outcome)


def snips(outcome: Floats, propensity: Floats, wanted: Floats) -> Estimate:
    """Self-normalised inverse propensity scoring; NaN where the policy in question makes none of the logged choices."""
    weight = _weights(propensity, wanted)
    total = float(weight.sum())
    if total == 0.0:
        return Estimate(float("nan"), float("nan"))
    value = float((weight * outcome).sum()) / total
    residual = weight * (outcome - value)
    return Estimate(value, float(np.sqrt((residual**2).sum())) / total)


def doubly_robust(outcome: Floats, propensity: Floats, wanted: Floats, logged: Floats, expected: Floats) -> Estimate:
    """Doubly robust.

    Args:
        outcome, propensity, wanted: `(n,)`, as in `ips`.
        logged: what the outcome model expects of the logged choice, `(n,)`.
        expected: what it expects of the policy in question, over its choices, `(n,)`.
    """
    return _mean(expected + _weights(propensity, wanted) * (outcome - logged))


def _weights(propensity: Floats, wanted: Floats) -> Floats:
    if len(propensity) and not (propensity > 0).all():
        raise ValueError("a logged choice has a propensity that is not above 0")
    return wanted / propensity


def _mean(values: Floats) -> Estimate:
    if len(values) < 2:
        raise ValueError(f"{len(values)} choices; an estimate needs 2")
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
