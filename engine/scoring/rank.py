"""Where a margin stands among recent ones: the share of recent decisions with at least this margin.

A rule that asks for a share of 0.003 holds an alert budget of 0.3 % whatever becomes of the scores. A histogram of
margins, fading by count, with places within a bin shared out evenly; sums are taken every 256 decisions, so that the
shares depend on the sequence of decisions only.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit
from engine.scoring import blob, calibration

MAGIC: Final = b"RNK1"
LOW, WIDTH, BINS = -16.0, 0.0625, 480  # margins from -16 to 14; those beyond are in the outer bins
REFRESH: Final = 256
WEIGHT_MAX: Final = 1e3
EVENTS, WEIGHT = 0, 1  # of the clock

Floats = NDArray[np.float64]


@njit
def bin_of(margin: float) -> int:
    """Bin of a margin."""
    return int(min(max((margin - LOW) / WIDTH, 0.0), BINS - 1.0))


@njit
def count(codes: NDArray[np.uint16], place: int, mass: Floats, above: Floats, clock: Floats, fade: float) -> None:
    """Count `codes[place]`; every `REFRESH` events sum up: `above[b]` is the share in bins `b` and beyond."""
    mass[codes[place]] += clock[WEIGHT]
    clock[EVENTS] += 1.0
    if clock[EVENTS] % REFRESH == 0.0:
        total = 0.0
        for b in range(BINS):
            total += mass[b]
        held = clock[WEIGHT]  # the newest is counted twice: nothing recent is rarer than one among so many
        above[BINS] = held / (total + held)
        for b in range(BINS - 1, -1, -1):
            above[b] = above[b + 1] + mass[b] / (total + held)
    clock[WEIGHT] *= fade
    if clock[WEIGHT] > WEIGHT_MAX:
        for b in range(BINS):
            mass[b] /= clock[WEIGHT]
        clock[WEIGHT] = 1.0


@njit
def recount(codes: NDArray[np.uint16], mass: Floats, above: Floats, clock: Floats, fade: float) -> None:
    """Count bins that were counted before, in order."""
    for i in range(len(codes)):
        count(codes, i, mass, above, clock, fade)


@njit
def finish(
    margins: Floats,
    knots: Floats,
    odds: Floats,
    slope: float,
    mass: Floats,
    above: Floats,
    clock: Floats,
    fade: float,
) -> tuple[Floats, Floats, NDArray[np.uint16]]:
    """Probability, share and bin of each margin, counting them in order."""
    n = len(margins)
    probabilities, shares, codes = np.empty(n), np.full(n, np.nan), np.empty(n, np.uint16)
    for i in range(n):
        m = margins[i]
        probabilities[i] = calibration.probability(m, knots, odds, slope)
        b = bin_of(m)
        if clock[EVENTS] >= REFRESH:
            within = min(max((m - LOW) / WIDTH - b, 0.0), 1.0)
            shares[i] = above[b + 1] + (above[b] - above[b + 1]) * (1.0 - within)
        codes[i] = b
        count(codes, i, mass, above, clock, fade)
    return probabilities, shares, codes


class Rank:
    """The histogram of recent margins.

    Args:
        memory: decisions after which one counts a third.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._fade = 1.0 + 1.0 / memory
        self._mass = np.zeros(BINS)
        self._above = np.zeros(BINS + 1)
        self._clock = np.array([0.0, 1.0])

    def finish(self, margins: Floats, curve: calibration.Curve) -> tuple[Floats, Floats, NDArray[np.uint16]]:
        """Probability, share (NaN before enough were seen) and bin of each margin; they are counted, in order."""
        return finish(margins, *curve, self._mass, self._above, self._clock, self._fade)

    def recount(self, codes: NDArray[np.uint16]) -> None:
        """Count again what `finish` gave as bins. Raises `ValueError` where one does not exist."""
        if len(codes) and codes.max() >= BINS:
            raise ValueError(f"rank state has bin {codes.max()} of {BINS}")
        recount(codes, self._mass, self._above, self._clock, self._fade)

    def dump(self) -> bytes:
        """The state as bytes."""
        return blob.write(MAGIC, [np.array([float(self._memory)]), self._mass, self._above, self._clock])

    def load(self, data: bytes) -> None:
        """Replace the state by a dumped one. Raises `ValueError`, changing nothing, where it does not fit."""
        what = "rank state"
        arrays = blob.read(MAGIC, data, what)
        if len(arrays) != 4 or arrays[0].tolist() != [float(self._memory)]:
            raise ValueError(f"{what} belongs to another memory than {self._memory}")
        mass, above = blob.expect(arrays[1], "<f8", (BINS,), what), blob.expect(arrays[2], "<f8", (BINS + 1,), what)
        clock = blob.expect(arrays[3], "<f8", (2,), what)
        if not all(np.isfinite(array).all() for array in (mass, above, clock)):
            raise ValueError(f"{what} has values that are no numbers")
        self._mass, self._above, self._clock = mass.copy(), above.copy(), clock.copy()
