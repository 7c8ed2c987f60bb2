"""Whether the inputs of the models are distributed as before: each day against the weeks before it.

A day is never quite like another: weekends differ, ages grow, windows fill. So the distance of a day from the weeks
before it is compared with the distances that the days of the last month had. What is as far out as a weekend ever was
is no drift; what is farther than any day by a margin is.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring.drift.histogram import BINS, distances, shares
from engine.scoring.drift.settings import DriftSettings

COMPARED_FROM: Final = 2.5
"""Weight of a reference, of three blocks, from which distances to it go into the history."""

Floats = NDArray[np.float64]


class InputWatch:
    """Reference and history of the inputs of one shard.

    Args:
        inputs: how many there are.
        settings: see `DriftSettings`.

    Attributes:
        before: distribution of each input over the blocks before the newest, `(inputs, BINS)`, each row of sum 1 or 0.
        fresh: that of the newest block, of so many `payments`.
        excess: by input, the newest distance less the greatest of its history; NaN where there is none. As `before`, of
            the last `close` only: it is not stored.
    """

    def __init__(self, inputs: int, settings: DriftSettings) -> None:
        self._settings = settings
        self._fade = 0.5 ** (1.0 / settings.half_blocks)
        self._inputs = inputs
        self._history: list[Floats] = []
        self._restart()
        self.before = np.zeros((inputs, BINS))
        self.fresh = np.zeros((inputs, BINS))
        self.payments = 0.0
        self.excess = np.full(inputs, math.nan)

    def _restart(self) -> None:
        """The reference begins anew."""
        self._sum = np.zeros((self._inputs, BINS))  # faded sum of the blocks' shares
        self._weight = 0.0  # and of their weights
        self._noise = 0.0  # and of the squares of their weights by payments
        self._blocks = 0

    def close(self, counts: Floats, payments: float) -> tuple[float, NDArray[np.intp]] | None:
        """Take in a block: counts `(inputs, BINS)` of `payments`. Returns the size of the change and the inputs that
        drifted, the one that moved most first; None where none did.

        After a change the reference begins anew: what is normal from now on has yet to be seen.
        """
        settings = self._settings
        self.fresh, self.before, self.payments = shares(counts), self.reference(), payments
        self.excess = np.full(self._inputs, math.nan)
        found = None
        if self._weight > COMPARED_FROM:  # a yardstick sooner than a judgement
            apart = distances(self.before, self.fresh, payments)
            if self._blocks >= settings.reference_min:
                found = self._judge(apart, payments)
            if found is None:  # a change is no yardstick
                self._history = [*self._history, apart][-settings.history_max :]
        if found is not None:
            self._restart()
            self._blocks = settings.reference_min - settings.settle
        self._learn(payments)
        return found

    def reference(self) -> Floats:
        """Distribution of each input over all blocks, the newest counting most: `(inputs, BINS)`."""
        return self._sum / max(self._weight, 1e-300)

    def _learn(self, payments: float) -> None:
        fade = self._fade
        self._sum = fade * self._sum + self.fresh
        self._weight = fade * self._weight + 1.0
        self._noise = fade * fade * self._noise + 1.0 / payments
        self._blocks += 1

    def _judge(self, apart: Floats, payments: float) -> tuple[float, NDArray[np.intp]] | None:
        settings = self._settings
        past = self._history[: len(self._history) - settings.lag]
        if len(self._history) < settings.history_min or not past:
            return None
        greatest = np.max(past, axis=0)
        self.excess = apart - greatest
        chance = settings.noise * math.sqrt(1.0 / payments + self._noise / self._weight**2)
        limit = np.maximum(settings.factor * greatest + settings.margin, settings.distance_min + chance)
        drifted = np.flatnonzero(apart > limit)
        if not len(drifted):
            return None
        order = drifted[np.argsort(-self.excess[drifted], kind="stable")]
        return float((apart[drifted] / limit[drifted]).max()), order

    def dump(self) -> list[Floats]:
        """The state: three numbers, the reference's sum and the history."""
        numbers = np.array([self._blocks, self._weight, self._noise], np.float64)
        return [numbers, self._sum, np.array(self._history, np.float64).reshape(len(self._history), self._inputs)]

    def load(self, numbers: Floats, summed: Floats, history: Floats) -> None:
        """Go on from what `dump` gave."""
        self._blocks, self._weight, self._noise = int(numbers[0]), float(numbers[1]), float(numbers[2])
        self._sum, self._history = summed.copy(), list(history.copy())
