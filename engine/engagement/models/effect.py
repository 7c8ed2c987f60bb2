"""What a campaign did: the lift over those held out, with an interval that may be looked at at any time.

One outcome a customer and occasion: the net amount within the attribution window, refunds and fraud taken off, counted
when the window has closed. What the customer did in the window before it is the covariate: it explains most of the
spread between customers, so the same effect shows with far fewer of them (CUPED).

The interval is a confidence sequence: the truth is inside it at all times at once with the stated probability, so
nobody has to decide beforehand when to look, and looking every day does no harm. Caveat: it holds asymptotically, so
nothing is said below `OUTCOMES_MIN` in either group.

Sources: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2021. Time-uniform central limit theory and asymptotic
confidence sequences (theorem 2.2). Deng, Xu, Kohavi and Walker, 2013. Improving the sensitivity of online controlled
experiments by utilizing pre-experiment data.
"""

import math
import struct
from typing import Final, NamedTuple

OUTCOMES_MIN: Final = 100
ALPHA: Final = 0.05
TIGHTEST: Final = 10_000
"""Outcomes at which the interval is at its tightest against one for a single look."""

_STATE: Final = struct.Struct("<4s12d")
_MAGIC: Final = b"EFF1"
_N, _Y, _YY, _X, _XX, _XY = range(6)


class Interval(NamedTuple):
    """An estimate and the ends of its confidence sequence."""

    estimate: float
    low: float
    high: float


class Lift(NamedTuple):
    """What is known of an effect.

    Attributes:
        treated, held: customers of each group.
        difference: mean net amount a customer, treated less held out, in the unit of the outcomes.
        relative: the same as a share of the mean of those held out; NaN where that is not above 0.
    """

    treated: int
    held: int
    difference: Interval
    relative: Interval


class Effect:
    """Outcomes of one campaign, added up by group. Raises `ValueError` on stored bytes that are none."""

    def __init__(self, stored: bytes = b"") -> None:
        self._sums = [[0.0] * 6, [0.0] * 6]  # treated, held out
        if stored:
            if len(stored) != _STATE.size or stored[:4] != _MAGIC:
                raise ValueError("these bytes are no effect, or of another version")
            values = _STATE.unpack(stored)[1:]
            self._sums = [list(values[:6]), list(values[6:])]

    def dump(self) -> bytes:
        """As stored."""
        return _STATE.pack(_MAGIC, *self._sums[0], *self._sums[1])

    def add(self, other: "Effect") -> None:
        """Take in the outcomes of another shard."""
        for mine, others in zip(self._sums, other._sums, strict=True):
            for place, value in enumerate(others):
                mine[place] += value

    def observe(self, held: bool, outcome: float, before: float) -> None:
        """A window has closed: its net amount, and that of the window before. Raises `ValueError` on no number."""
        if not (math.isfinite(outcome) and math.isfinite(before)):
            raise ValueError(f"an outcome of {outcome} after {before}")
        sums = self._sums[held]
        for place, value in enumerate((1.0, outcome, outcome**2, before, before**2, outcome * before)):
            sums[place] += value

    @property
    def outcomes(self) -> tuple[int, int]:
        """How many were counted, of those treated and of those held out."""
        return int(self._sums[0][_N]), int(self._sums[1][_N])

    def lift(self, alpha: float = ALPHA) -> Lift | None:
        """What is known at the level 1 - `alpha`; None before `OUTCOMES_MIN` outcomes of each group."""
        treated, held = self._sums
        counts = self.outcomes
        if min(counts) < OUTCOMES_MIN:
            return None
        slope = self._slope()
        centre = (treated[_X] + held[_X]) / (treated[_N] + held[_N])
        (mean_1, of_1), (mean_0, of_0) = (_adjusted(sums, slope, centre) for sums in (treated, held))
        width = _width(counts[0] + counts[1], alpha)
        difference = mean_1 - mean_0
        reach = width * math.sqrt(of_1 + of_0)
        absolute = Interval(difference, difference - reach, difference + reach)
        if mean_0 <= 0:
            return Lift(*counts, absolute, Interval(math.nan, math.nan, math.nan))
        ratio = mean_1 / mean_0
        reach = width * math.sqrt(of_1 + ratio**2 * of_0) / mean_0
        return Lift(*counts, absolute, Interval(ratio - 1.0, ratio - 1.0 - reach, ratio - 1.0 + reach))

    def _slope(self) -> float:
        """Of the outcome on what was before, within groups."""
        covariance = spread = 0.0
        for n, y, _, x, xx, xy in self._sums:
            covariance += xy - x * y / n
            spread += xx - x * x / n
        return covariance / spread if spread > 0 else 0.0


def _adjusted(sums: list[float], slope: float, centre: float) -> tuple[float, float]:
    """Mean of a group's outcomes at the common covariate, and its variance."""
    n, y, yy, x, xx, xy = sums
    mean = y / n - slope * (x / n - centre)
    within = (yy - y * y / n) - 2 * slope * (xy - x * y / n) + slope**2 * (xx - x * x / n)
    return mean, max(within, 0.0) / (n - 1) / n


def _width(n: int, alpha: float) -> float:
    """Half the interval in standard errors, after `n` outcomes."""
    log = -2.0 * math.log(alpha)
    rho2 = (log + math.log(log + 1.0)) / TIGHTEST
    grown = n * rho2 + 1.0
    return math.sqrt(2.0 * grown / (n * rho2) * math.log(math.sqrt(grown) / alpha))


class Roi(NamedTuple):
    """Net amount that a campaign brought in against what it cost, and their quotient less one; NaN at no cost."""

    incremental: float
    cost: float
    roi: float


def roi(lift: Lift, cost: float) -> Roi:
    """Return on what the rewards cost: `cost` over all who were treated, in the unit of the outcomes."""
    incremental = lift.difference.estimate * lift.treated
    return Roi(incremental, cost, incremental / cost - 1.0 if cost > 0 else math.nan)
