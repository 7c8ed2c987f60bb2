"""What the pipeline asks of an anomaly detector.

A detector is unsupervised: it scores an event against what it has learned so far, then learns the event. To add one,
see docs/howto/add-a-detector.md: one file, one line in `DETECTORS` (engine/scoring/registry.py), and the conformance
suite finds it by itself.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Detector(Protocol):
    """An online anomaly detector over a fixed number of inputs.

    Every implementation keeps five promises, checked by tests/scoring/test_conformance.py:

    - the scores depend on the sequence of events only, never on how it is cut into batches;
    - a score is NaN until the detector is ready, and then in [0, 1], higher is more unusual, never NaN;
    - a missing input (NaN), an infinite one or one out of range is dealt with and never reaches the state as it is;
    - `load(dump())` gives a detector that continues to the same bits;
    - `load` refuses bytes that are damaged or belong to another configuration with `ValueError`, and changes nothing.
    """

    @property
    def inputs(self) -> int:
        """How many input features it takes."""

    @property
    def ready(self) -> bool:
        """Whether the next event gets a score."""

    @property
    def version(self) -> str:
        """The configuration and algorithm as a short stable text, named in every decision."""

    def score_then_learn(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score each event, then learn it, in order.

        Takes float64 `(inputs, n)`, of the range the detector asks for; returns float64 `(n,)`, NaN where not ready.
        Raises `ValueError` on any other shape.
        """

    def dump(self) -> bytes:
        """The whole learned state as bytes, with a version and a checksum."""

    def load(self, data: bytes) -> None:
        """Replace the state by a dumped one. Raises `ValueError` and changes nothing where `data` does not fit."""
