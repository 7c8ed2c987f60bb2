"""Which offer for whom: LinUCB over the offers a customer may have, no offer among them, with exact propensities.

Each arm has a ridge regression of the outcome on the context; the arm with the highest upper bound is the favourite.
It is shown with probability 1 - epsilon, any of the arms with epsilon: so the probability of what was shown is known
exactly, and another policy can be judged on the log (`engine.engagement.models.offline`). A customer who must not be
explored on gets the arm with the best mean, at propensity 1.

The draw is a number that the caller takes from a hash of campaign, customer and occasion: the same log gives the same
offers. Outcomes come late and are corrected when a payment is refunded; so an outcome is learned when its attribution
window has closed, once.

Source: Li, Chu, Langford and Schapire, 2010. A contextual-bandit approach to personalized news article recommendation.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Floats = NDArray[np.float64]

ARMS_MAX: Final = 16
INPUTS_MAX: Final = 64

_HEADER: Final = struct.Struct("<4sHH")
_MAGIC: Final = b"LUC1"


class Choice(NamedTuple):
    """The arm, the probability with which it was going to be chosen, and whether it was explored."""

    arm: int
    propensity: float
    explored: bool


class LinUcb:
    """One campaign's bandit.

    Args:
        arms: how many, "none" among them.
        inputs: length of the context.
        width: of the upper bound, in standard deviations of the mean.
        ridge: prior precision of each weight.
        epsilon: share of choices that are drawn evenly.
        stored: what `dump` gave.

    Raises:
        ValueError: parameters out of their range, or stored bytes of other arms or inputs.
    """

    def __init__(
        self,
        arms: int,
        inputs: int,
        *,
        width: float = 1.0,
        ridge: float = 1.0,
        epsilon: float = 0.1,
        stored: bytes = b"",
    ) -> None:
        if not (2 <= arms <= ARMS_MAX and 1 <= inputs <= INPUTS_MAX):
            raise ValueError(f"{arms} arms of {inputs} inputs; 2 to {ARMS_MAX} of 1 to {INPUTS_MAX}")
        if not (width >= 0 and ridge > 0 and 0 <= epsilon <= 1):
            raise ValueError("width and epsilon are at least 0, epsilon at most 1, the ridge above 0")
        self._width, self._epsilon = width, epsilon
        self._inverse = np.repeat(np.eye(inputs)[None] / ridge, arms, axis=0)
        self._pull = np.zeros((arms, inputs))
        if stored:
            self._load(stored)

    def choose(self, context: Floats, draw: float, eligible: NDArray[np.bool_], *, explore: bool = True) -> Choice:
        """Choose for one customer.

        Args:
            context: float64 `(inputs,)`, finite.
            draw: in [0, 1), from a hash.
            eligible: which arms the customer may have, bool `(arms,)`; at least one.
            explore: false for customers who must not be explored on.
        """
        arms = np.flatnonzero(eligible)
        if not len(arms):
            raise ValueError("no arm is eligible; 'none' always is")
        width, epsilon = (self._width, self._epsilon) if explore else (0.0, 0.0)
        favourite = int(arms[np.argmax(bounds(self._inverse, self._pull, context, width)[arms])])
        even = epsilon / len(arms)
        if draw < epsilon:
            arm = int(arms[min(int(draw / even), len(arms) - 1)])
        else:
            arm = favourite
        return Choice(arm, even + (1.0 - epsilon if arm == favourite else 0.0), draw < epsilon)

    def learn(self, arm: int, context: Floats, outcome: float) -> None:
        """Take in the outcome of a choice. What is not finite is refused with `ValueError`, and changes nothing."""
        if not (np.isfinite(context).all() and np.isfinite(outcome)):
            raise ValueError("an outcome or context that is not finite")
        update(self._inverse[arm], self._pull[arm], np.ascontiguousarray(context, np.float64), float(outcome))

    def means(self, context: Floats) -> Floats:
        """Expected outcome of each arm, `(arms,)`."""
        return bounds(self._inverse, self._pull, context, 0.0)

    def dump(self) -> bytes:
        """As stored."""
        arms, inputs = self._pull.shape
        body = self._inverse.astype("<f8").tobytes() + self._pull.astype("<f8").tobytes()
        return _HEADER.pack(_MAGIC, arms, inputs) + body

    def _load(self, stored: bytes) -> None:
        arms, inputs = self._pull.shape
        size = _HEADER.size + 8 * (arms * inputs * inputs + arms * inputs)
        if len(stored) != size or _HEADER.unpack_from(stored) != (_MAGIC, arms, inputs):
            raise ValueError(f"these bytes are no bandit of {arms} arms and {inputs} inputs")
        values = np.frombuffer(stored, "<f8", offset=_HEADER.size)
        split = arms * inputs * inputs
        self._inverse = values[:split].reshape(self._inverse.shape).astype(np.float64)
        self._pull = values[split:].reshape(self._pull.shape).astype(np.float64)


@njit
def bounds(inverse: Floats, pull: Floats, context: Floats, width: float) -> Floats:
    """Upper bound of each arm, `(arms,)`: mean and `width` standard deviations; of `(arms, d, d)` and `(arms, d)`."""
    arms, inputs = pull.shape
    found = np.empty(arms)
    for arm in range(arms):
        mean = 0.0
        spread = 0.0
        for i in range(inputs):
            along = 0.0
            for j in range(inputs):
                along += inverse[arm, i, j] * context[j]
            mean += along * pull[arm, i]
            spread += along * context[i]
        found[arm] = mean + width * np.sqrt(max(spread, 0.0))
    return found


@njit
def update(inverse: Floats, pull: Floats, context: Floats, outcome: float) -> None:
    """Add one outcome to an arm, `(d, d)` and `(d,)`, in place: Sherman and Morrison's formula."""
    inputs = len(pull)
    along = np.zeros(inputs)
    for i in range(inputs):
        for j in range(inputs):
            along[i] += inverse[i, j] * context[j]
    scale = 1.0
    for i in range(inputs):
        scale += along[i] * context[i]
    for i in range(inputs):
        for j in range(inputs):
            inverse[i, j] -= along[i] * along[j] / scale
        pull[i] += outcome * context[i]
