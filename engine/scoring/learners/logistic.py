"""Logistic regression that learns row by row: the plain challenger."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import MINUTE_MS
from engine.scoring import blob
from engine.scoring.learners import linear
from engine.scoring.learners.base import Parts, Predictor, Task
from engine.scoring.learners.hedge import clip
from engine.scoring.packing import unpack_inputs

MAGIC: Final = b"LOG1"
RATE: Final = 0.05
L2: Final = 1e-6
MEMORY_DAYS: Final = 14
MEMORY: Final = 200_000.0  # payments that means and variances remember
ODDS_FIRST: Final = -5.0  # log odds before anything is known: fraud is rare
LEGITIMATE_A_DAY: Final = 3_000.0
SHARE_MAX: Final = 0.3
ARRAYS: Final = 6


@dataclass(frozen=True, slots=True)
class Line:
    """A predictor: a line over standardised inputs.

    Attributes:
        identity: of the learner.
        mean, variance, counted: of each squeezed input, float64 `(inputs,)`.
        weight, squares: of the inputs, of their absence and of one, float64 `(2 * inputs + 1,)`.
    """

    identity: str
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    counted: NDArray[np.float64]
    weight: NDArray[np.float64]
    squares: NDArray[np.float64]

    def margins(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Predictor`."""
        margin = np.zeros(len(x))
        linear.add_margins(x, self.mean, self.variance, self.weight, margin)
        return clip(margin)

    def parts(self, row: NDArray[np.float32]) -> Parts:
        """See `Predictor`. What the bounds of a margin cut off is in the base."""
        parts = np.empty(len(row))
        for f, value in enumerate(row.tolist()):
            if np.isnan(value):
                parts[f] = self.weight[len(row) + f]
            else:
                far = linear.standing(linear.squeezed(value), self.mean[f], self.variance[f])
                parts[f] = self.weight[f] * far
        return Parts(float(self.margins(row.reshape(1, -1))[0] - parts.sum()), parts)

    def dump(self) -> bytes:
        """See `Predictor`."""
        arrays = [self.mean, self.variance, self.counted, self.weight, self.squares]
        return blob.write(MAGIC, [blob.text(self.identity), *arrays])


class Logistic:
    """Online logistic regression, learning each hour what arrived in it.

    An input counts by how many standard deviations the logarithm of its size lies from the mean; a missing one by a
    weight of its own. Steps follow AdaGrad with fading squares.

    Caveats: a line sees no combinations, so it ranks below trees unless the inputs say them; after an abrupt change it
    unlearns as slowly as it learned. It is here to be beaten, and for inputs so few that trees have nothing to split.

    Parameters
    ----------
    inputs
        Number of inputs.
    seed
        Not used: nothing is drawn.

    References
    ----------
    Duchi, J., Hazan, E. and Singer, Y., 2011. Adaptive subgradient methods for online learning and stochastic
    optimization. Journal of Machine Learning Research 12.
    """

    def __init__(self, inputs: int, seed: int = 1) -> None:
        self.inputs = inputs

    @property
    def code(self) -> str:
        """See `Learner`."""
        return "log1"

    @property
    def identity(self) -> str:
        """See `Learner`."""
        return f"{self.code} over {self.inputs}: {(RATE, L2, MEMORY, ODDS_FIRST)}"

    @property
    def period_ms(self) -> int:
        """An hour."""
        return 60 * MINUTE_MS

    @property
    def memory_days(self) -> int:
        """What a first fit learns from; afterwards rows are learned once."""
        return MEMORY_DAYS

    def share(self, volume: float) -> float:
        """So that some three thousand legitimate rows a day are kept."""
        return min(SHARE_MAX, LEGITIMATE_A_DAY / max(volume, 1.0))

    def learn(self, before: Predictor | None, task: Task) -> Line:
        """Learn the fresh rows, in order; all there are, at first."""
        if isinstance(before, Line):
            rows = task.fresh
            line = Line(self.identity, *(array.copy() for array in _arrays(before)))
        else:
            rows = task.rows
            line = self._blank()
        linear.learn(
            unpack_inputs(rows.inputs), rows.fraud.astype(np.float64), rows.weight, *_arrays(line), RATE, L2, MEMORY
        )
        return line

    def _blank(self) -> Line:
        """A line that knows nothing."""
        mean, variance, counted = np.zeros((3, self.inputs))
        weight, squares = np.zeros((2, 2 * self.inputs + 1))
        weight[-1] = ODDS_FIRST
        return Line(self.identity, mean, variance, counted, weight, squares)

    def load(self, data: bytes) -> Line:
        """See `Learner`."""
        what = "learner state"
        arrays = blob.read(MAGIC, data, what)
        if len(arrays) != ARRAYS or arrays[0].tobytes() != self.identity.encode():
            raise ValueError(f"{what} belongs to another configuration than {self.identity}")
        shapes = [(self.inputs,)] * 3 + [(2 * self.inputs + 1,)] * 2
        found = [blob.expect(array, "<f8", shape, what) for array, shape in zip(arrays[1:], shapes, strict=True)]
        if not all(np.isfinite(array).all() for array in found):
            raise ValueError(f"{what} has weights that are no numbers")
        return Line(self.identity, *found)


Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _arrays(line: Line) -> Arrays:
    return line.mean, line.variance, line.counted, line.weight, line.squares
