"""What the fraud model asks of a learner.

A learner is a pure function from what has been learned and newly arrived labels to what is known then. It runs off the
hot path, in a trainer; what it makes is immutable and scores on the hot path. To add one, see
docs/howto/add-a-learner.md: one file, one line in `LEARNERS` (engine/scoring/learners/registry.py), and the conformance
suite finds it by itself.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.scoring.rows import LabelledRows


class Task(NamedTuple):
    """What has become known at a boundary.

    Attributes:
        boundary_ms: the boundary, in event time.
        fresh: rows that arrived since the last one.
        rows: all rows in memory, `fresh` among them, one for each payment; at boundaries within a day `fresh` alone.
    """

    boundary_ms: int
    fresh: LabelledRows
    rows: LabelledRows


class Parts(NamedTuple):
    """A margin taken apart: `base + inputs.sum()` is the margin.

    Attributes:
        base: log odds before anything is known of the payment.
        inputs: what each input moved them by, float64 `(inputs,)`.
    """

    base: float
    inputs: NDArray[np.float64]


@runtime_checkable
class Predictor(Protocol):
    """What a learner has learned: immutable."""

    def margins(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log odds of fraud, float64 `(n,)`, finite, of inputs float32 `(n, inputs)`, C-contiguous, NaN missing.

        A row's value is the same bits whatever rows are beside it.
        """

    def parts(self, row: NDArray[np.float32]) -> Parts:
        """What moved the log odds of one row, float32 `(inputs,)`."""

    def dump(self) -> bytes:
        """All of it as bytes, for `Learner.load`."""


@runtime_checkable
class Learner(Protocol):
    """A supervised learner over a fixed number of inputs.

    Every implementation keeps these promises, checked by tests/scoring/test_learner_conformance.py:

    - the same rows, in the same order, make the same predictor to the bit, on any thread;
    - it learns: what is fraud gets higher margins after some boundaries;
    - missing inputs (NaN) and infinities never make a margin that is not finite;
    - `load(dump())` gives a predictor with the same margins, and goes on learning to the same bits;
    - `load` refuses bytes that are damaged or of another configuration with `ValueError`.
    """

    @property
    def code(self) -> str:
        """Short name of the algorithm and its version, such as `gbt1`: what decisions name begins with it."""

    @property
    def identity(self) -> str:
        """The whole configuration as text: what was learned under another one is of no use."""

    @property
    def period_ms(self) -> int:
        """How far boundaries are apart: a day, or a part of one."""

    @property
    def memory_days(self) -> int:
        """How long rows are of use."""

    def share(self, volume: float) -> float:
        """Which share of legitimate payments to keep where there are `volume` decisions a day; in (0, 1]."""

    def learn(self, before: Predictor | None, task: Task) -> Predictor:
        """What is known after a boundary; `before` is what was known (of this learner), None at first."""

    def load(self, data: bytes) -> Predictor:
        """The predictor that was dumped. Raises `ValueError` where `data` does not fit."""
