"""Where a margin stands among recent ones: the share of recent decisions with at least this margin.

A rule that asks for a share of 0.003 holds an alert budget of 0.3 % whatever becomes of the scores. A histogram of
margins, fading by count, with places within a bin shared out evenly; sums are taken every 256 decisions, so that the
shares depend on the sequence of decisions only. The histogram follows a change late, so the share is then corrected by
what thresholds on it have really let through (`engine.scoring.held`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit
from engine.scoring import blob, calibration
from engine.scoring.held import LOG_LEVELS, correct, hold

MAGIC: Final = b"RNK2"
LOW, WIDTH, BINS = -16.0, 0.0625, 480  # margins from -16 to 14; those beyond are in the outer bins
REFRESH: Final = 256
WEIGHT_MAX: Final = 1e3
EVENTS, WEIGHT = 0, 1  # of the clock

Floats = NDArray[np.float64]


NEAREST: Final = 1e-7  # to 0 and 1, of a score


@njit
def bin_of(margin: float) -> int:
    """Bin of a margin."""
    return int(min(max((margin - LOW) / WIDTH, 0.0), BINS - 1.0))


@njit
def count(
    codes: NDArray[np.uint16], place: int, mass: Floats, above: Floats, held: Floats, clock: Floats, fade: float
) -> None:
    """Count `codes[place]`; every `REFRESH` events sum up: `above[b]` is the share in bins `b` and beyond."""
    b = codes[place]
    if clock[EVENTS] >= REFRESH:
        hold(0.5 * (above[b] + above[b + 1]), held)
    mass[b] += clock[WEIGHT]
    clock[EVENTS] += 1.0
    if clock[EVENTS] % REFRESH == 0.0:
        total = 0.0
        for b in range(BINS):
            total += mass[b]
        newest = clock[WEIGHT]  # it is counted twice: nothing recent is rarer than one among so many
        above[BINS] = newest / (total + newest)
        for b in range(BINS - 1, -1, -1):
            above[b] = above[b + 1] + mass[b] / (total + newest)
    clock[WEIGHT] *= fade
    if clock[WEIGHT] > WEIGHT_MAX:
        for b in range(BINS):
            mass[b] /= clock[WEIGHT]
        clock[WEIGHT] = 1.0


@njit
def recount(codes: NDArray[np.uint16], mass: Floats, above: Floats, held: Floats, clock: Floats, fade: float) -> None:
    """Count bins that were counted before, in order."""
    for i in range(len(codes)):
        count(codes, i, mass, above, held, clock, fade)


@njit
def probabilities(margins: Floats, knots: Floats, odds: Floats, slope: float) -> Floats:
    """Probability of each margin."""
    found = np.empty(len(margins))
    for i in range(len(margins)):
        found[i] = calibration.probability(margins[i], knots, odds, slope)
    return found


@njit
def places(
    margins: Floats, mass: Floats, above: Floats, held: Floats, clock: Floats, fade: float
) -> tuple[Floats, NDArray[np.uint16]]:
    """Share and bin of each margin, counting them in order."""
    n = len(margins)
    shares, codes = np.full(n, np.nan), np.empty(n, np.uint16)
    for i in range(n):
        b = bin_of(margins[i])
        if clock[EVENTS] >= REFRESH:
            within = min(max((margins[i] - LOW) / WIDTH - b, 0.0), 1.0)
            shares[i] = correct(above[b + 1] + (above[b] - above[b + 1]) * (1.0 - within), held)
        codes[i] = b
        count(codes, i, mass, above, held, clock, fade)
    return shares, codes


class Rank:
    """The histogram of recent margins.

    Args:
        memory: decisions after which one counts a third.

    Attributes:
        held: logarithms of the thresholds in force, see `engine.scoring.held`.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._fade = 1.0 + 1.0 / memory
        self._mass = np.zeros(BINS)
        self._above = np.zeros(BINS + 1)
        self.held = LOG_LEVELS.copy()
        self._clock = np.array([0.0, 1.0])

    def places(self, margins: Floats) -> tuple[Floats, NDArray[np.uint16]]:
        """Share (NaN before enough were seen) and bin of each margin; they are counted, in order."""
        return places(margins, self._mass, self._above, self.held, self._clock, self._fade)

    def finish(self, margins: Floats, curve: calibration.Curve) -> tuple[Floats, Floats, NDArray[np.uint16]]:
        """Probability by a curve, then what `places` gives."""
        return probabilities(margins, *curve), *self.places(margins)

    def tops(self, scores: Floats) -> Floats:
        """Share of recent scores, from 0 to 1, that are at least as high: NaN where a score is, and before enough were
        seen. They are counted, in order."""
        found = np.full(len(scores), np.nan)
        there = np.flatnonzero(~np.isnan(scores))
        if len(there):
            inside = np.clip(scores[there], NEAREST, 1.0 - NEAREST)
            found[there] = self.places(np.log(inside / (1.0 - inside)))[0]
        return found

    def recount(self, codes: NDArray[np.uint16]) -> None:
        """Count again what `finish` gave as bins. Raises `ValueError` where one does not exist."""
        if len(codes) and codes.max() >= BINS:
            raise ValueError(f"rank state has bin {codes.max()} of {BINS}")
        recount(codes, self._mass, self._above, self.held, self._clock, self._fade)

    def dump(self) -> bytes:
        """The state as bytes."""
        return blob.write(MAGIC, [np.array([float(self._memory)]), self._mass, self._above, self.held, self._clock])

    def load(self, data: bytes) -> None:
        """Replace the state by a dumped one. Raises `ValueError`, changing nothing, where it does not fit."""
        what = "rank state"
        arrays = blob.read(MAGIC, data, what)
        shapes = ((BINS,), (BINS + 1,), LOG_LEVELS.shape, (2,))
        if len(arrays) != 1 + len(shapes) or arrays[0].tolist() != [float(self._memory)]:
            raise ValueError(f"{what} belongs to another memory than {self._memory}")
        held = [blob.expect(array, "<f8", shape, what).copy() for array, shape in zip(arrays[1:], shapes, strict=True)]
        if not all(np.isfinite(array).all() for array in held):
            raise ValueError(f"{what} has values that are no numbers")
        self._mass, self._above, self.held, self._clock = held
