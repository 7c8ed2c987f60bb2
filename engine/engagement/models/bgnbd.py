"""BG/NBD: how many more payments a customer will make, and whether there are any left to come.

While active, a customer pays at random at a personal rate (gamma over customers); after each payment they leave for
good with a personal probability (beta over customers). What it needs of a customer is three numbers: `x`, the
payments after the first; `tx`, the time of the last one since the first; `age`, the time since the first. Any one unit
of time will do, the same for the fit and for what is asked.

Caveat: one can only leave after a repeat payment, so who has paid once is alive with probability 1 for ever. For them
ask `engine.engagement.models.first_gap`.

Source: Fader, Hardie and Lee, 2005. "Counting Your Customers" the Easy Way. Marketing Science 24 (2), 275-284.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CUSTOMERS_MIN: Final = 100
"""Fewer customers do not carry four parameters."""
_START: Final = (1.0, 1.0, 1.0, 1.0)
_FAR: Final = 1e6
"""Parameters are sought between one of this and this: where nobody leaves, likelihood grows for ever towards 0."""


class BgNbd(NamedTuple):
    """Parameters: payment rates are gamma(`r`, `alpha`), in payments a unit of time; leaving is beta(`a`, `b`)."""

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, x: Floats, tx: Floats, age: Floats) -> Floats:
        """Probability that each customer is still active; 1 where `x` is 0."""
        x, tx, age = np.broadcast_arrays(*(np.asarray(given, np.float64) for given in (x, tx, age)))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            ratio = (self.r + x) * np.log((self.alpha + age) / (self.alpha + tx))
            odds = self.a / (self.b + np.maximum(x, 1.0) - 1.0) * np.exp(ratio)
        return np.where(x > 0, 1.0 / (1.0 + odds), 1.0)

    def payments_ahead(self, ahead: float, x: Floats, tx: Floats, age: Floats) -> Floats:
        """Expected payments of each customer in the next `ahead` units of time."""
        from scipy.special import hyp2f1

        r, alpha, a, b = self
        z = ahead / (alpha + age + ahead)
        # The published form after Euler's transformation: its factors do not overflow, however many payments.
        left = (1.0 - z) ** (a - 1.0) * hyp2f1(a + b - 1.0 - r, a - 1.0, a + b + x - 1.0, z)
        expected: Floats = (a + b + x - 1.0) / (a - 1.0) * (1.0 - left) * self.p_alive(x, tx, age)
        return expected


def log_likelihood(parameters: BgNbd, x: Floats, tx: Floats, age: Floats) -> Floats:
    """Log likelihood of each customer, `(n,)`."""
    from scipy.special import gammaln

    r, alpha, a, b = parameters
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + _log_beta(a, b + x) - _log_beta(a, b)
    alive = -(r + x) * np.log(alpha + age)
    left = np.log(a) - np.log(b + np.maximum(x, 1.0) - 1.0) - (r + x) * np.log(alpha + tx)
    total: Floats = common + np.where(x > 0, np.logaddexp(alive, left), alive)
    return total


def fit(x: Floats, tx: Floats, age: Floats) -> BgNbd:
    """The parameters of greatest likelihood. Deterministic; some tens of milliseconds for some thousand customers.

    Raises `ValueError` where the arrays are no histories (`tx <= age`, nothing negative, `tx` 0 where `x` is), are of
    fewer than `CUSTOMERS_MIN` customers, or where nobody paid again.
    """
    from scipy.optimize import minimize

    x, tx, age = (np.asarray(given, np.float64) for given in (x, tx, age))
    if len(x) < CUSTOMERS_MIN:
        raise ValueError(f"{len(x)} customers; a fit needs {CUSTOMERS_MIN}")
    if not (np.isfinite(x + tx + age).all() and (x >= 0).all() and (tx >= 0).all() and (tx <= age).all()):
        raise ValueError("a history has a payment count below 0, a last payment after its age, or no number")
    if not (tx[x == 0] == 0).all():
        raise ValueError("who has paid once has their last payment at 0")
    if not x.any():
        raise ValueError("nobody paid twice: there is nothing to fit")
    scale = 10.0 / float(age.max())  # a scale on which the parameters are near 1

    def loss(logs: Floats) -> float:
        found = BgNbd(*np.exp(logs))
        return -float(log_likelihood(found, x, tx * scale, age * scale).mean())

    options = {"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-11}
    bounds = [(-np.log(_FAR), np.log(_FAR))] * len(_START)
    result = minimize(loss, np.log(_START), method="Nelder-Mead", bounds=bounds, options=options)
    r, alpha, a, b = (float(value) for value in np.exp(result.x))
    return BgNbd(r, alpha / scale, a, b)


def _log_beta(a: float, b: Floats | float) -> Floats:
    from scipy.special import betaln

    value: Floats = betaln(a, b)
    return value
