"""The kernels of the logistic learner: see `logistic.py`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

REACH: Final = 5.0  # standard deviations; what lies farther out counts as so far
VALUE_MAX: Final = 90.0  # of a logarithm; more than any finite float32 has
SETTLED: Final = 100.0  # payments after which a mean is something to go by
STEP_MIN: Final = 1e-8
FADE: Final = 0.99999  # of the squared gradients, by row: old rows lose their say in how fast it learns


@njit
def squeezed(value: float) -> float:
    """The logarithm of a value's size, with its sign; infinities are large values."""
    size = min(float(np.log1p(abs(value))), VALUE_MAX)
    return -size if value < 0.0 else size


@njit
def standing(value: float, mean: float, variance: float) -> float:
    """How many standard deviations a squeezed value lies from the mean, within `REACH`."""
    return min(max(float((value - mean) / np.sqrt(variance + 1e-6)), -REACH), REACH)


@njit
def add_margins(x: Singles, mean: Floats, variance: Floats, weight: Floats, margin: Floats) -> None:
    """Add log odds to `margin` `(n,)`. `weight` is of the inputs, of their absence and of one: `(2 * inputs + 1,)`."""
    n, inputs = x.shape
    for i in range(n):
        total = weight[2 * inputs]
        for f in range(inputs):
            v = x[i, f]
            if v == v:
                total += weight[f] * standing(squeezed(np.float64(v)), mean[f], variance[f])
            else:
                total += weight[inputs + f]
        margin[i] += total


@njit
def bring_up_to_date(
    f: int, value: float, stands_for: float, mean: Floats, variance: Floats, counted: Floats, memory: float
) -> None:
    """Take a value into mean and variance; once they have settled, one far out counts as `REACH` deviations."""
    far = value - mean[f]
    if counted[f] > SETTLED:
        bound = REACH * np.sqrt(variance[f] + 1e-6)
        far = min(max(far, -bound), bound)
    counted[f] = min(counted[f] + stands_for, memory)
    part = min(stands_for / counted[f], 1.0)
    mean[f] += part * far
    variance[f] = (1.0 - part) * (variance[f] + part * far * far)


@njit
def learn(
    x: Singles,
    y: Floats,
    stands_for: Floats,
    mean: Floats,
    variance: Floats,
    counted: Floats,
    weight: Floats,
    squares: Floats,
    rate: float,
    l2: float,
    memory: float,
) -> None:
    """Learn rows one by one: means and variances first, then a step of AdaGrad (Duchi et al. 2011) on the log loss.

    `counted` `(inputs,)` is how many payments the means know, at most `memory`; `stands_for` is a row's weight.
    """
    n, inputs = x.shape
    z = np.empty(2 * inputs + 1)
    z[2 * inputs] = 1.0
    for i in range(n):
        total = weight[2 * inputs]
        for f in range(inputs):
            v = x[i, f]
            z[f], z[inputs + f] = 0.0, 1.0
            if v == v:
                s = squeezed(np.float64(v))
                if abs(s) < VALUE_MAX:  # an infinite value says nothing of what is usual
                    bring_up_to_date(f, s, stands_for[i], mean, variance, counted, memory)
                z[f], z[inputs + f] = standing(s, mean[f], variance[f]), 0.0
            total += weight[f] * z[f] + weight[inputs + f] * z[inputs + f]
        pull = stands_for[i] * (1.0 / (1.0 + np.exp(-total)) - y[i])
        for k in range(2 * inputs + 1):
            if z[k] != 0.0:
                g = pull * z[k] + l2 * weight[k]
                squares[k] = squares[k] * FADE + g * g
                weight[k] -= rate * g / np.sqrt(squares[k] + STEP_MIN)
