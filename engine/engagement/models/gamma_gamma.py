"""Gamma-Gamma: what a customer spends a payment, drawn towards what customers spend, the more so the fewer payments.

The mean amount of a customer is uncertain by the number of payments seen. Amounts are gamma around a personal mean
whose scale is gamma over customers. Caveat: it takes amount and frequency to be independent; check their correlation.

Source: Fader and Hardie, 2013. The Gamma-Gamma Model of Monetary Value.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.engagement.models.bgnbd import CUSTOMERS_MIN

Floats = NDArray[np.float64]

_START: Final = (1.0, 1.0, 1.0)


class GammaGamma(NamedTuple):
    """Parameters: amounts are gamma with shape `p`, their scale is gamma(`q`, `v`). `v` is in units of money."""

    p: float
    q: float
    v: float

    def mean_amount(self, x: Floats, mean: Floats) -> Floats:
        """Expected mean amount of each customer, given `x` payments with that mean; that of all where `x` is 0."""
        population = self.v * self.p / (self.q - 1.0) if self.q > 1.0 else np.nan
        own = self.p * x / (self.p * x + self.q - 1.0)
        expected: Floats = np.where(x > 0, (1.0 - own) * population + own * mean, population)
        return expected


def log_likelihood(parameters: GammaGamma, x: Floats, mean: Floats) -> Floats:
    """Log likelihood of each customer's mean amount, `(n,)`."""
    from scipy.special import gammaln

    p, q, v = parameters
    total: Floats = (
        gammaln(p * x + q)
        - gammaln(p * x)
        - gammaln(q)
        + q * np.log(v)
        + (p * x - 1.0) * np.log(mean)
        + p * x * np.log(x)
        - (p * x + q) * np.log(x * mean + v)
    )
    return total


def fit(x: Floats, mean: Floats) -> GammaGamma:
    """The parameters of greatest likelihood over customers with `x` payments above 0 of a mean amount above 0.

    Raises `ValueError` on other customers, or fewer than `engine.engagement.models.bgnbd.CUSTOMERS_MIN`.
    """
    from scipy.optimize import minimize

    x, mean = np.asarray(x, np.float64), np.asarray(mean, np.float64)
    if len(x) < CUSTOMERS_MIN:
        raise ValueError(f"{len(x)} customers; a fit needs {CUSTOMERS_MIN}")
    if not ((x > 0).all() and (mean > 0).all() and np.isfinite(x + mean).all()):
        raise ValueError("only customers who paid again, of a mean amount above 0")
    scale = 1.0 / float(np.median(mean))

    def loss(logs: Floats) -> float:
        return -float(log_likelihood(GammaGamma(*np.exp(logs)), x, mean * scale).mean())

    result = minimize(
        loss, np.log(_START), method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-11}
    )
    p, q, v = (float(value) for value in np.exp(result.x))
    return GammaGamma(p, q, v / scale)
