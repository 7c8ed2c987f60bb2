"""How an input is distributed: bins of the float itself, and what two distributions differ by.

The bins are those of the float32, four to an octave above zero and two below: no range is fitted, nothing is scaled.
The first bin is for missing values, so a source that stops filling a field is a change like any other.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Singles = NDArray[np.float32]
Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]

SMALLEST: Final = 127 - 10  # exponent bits of 2**-10: what is nearer to zero counts as zero
OCTAVES: Final = 34  # above it: up to 2**24, which is 194 days in seconds
POSITIVE: Final = 4 * OCTAVES
NEGATIVE: Final = 2 * OCTAVES
MISSING: Final = 0
ZERO: Final = MISSING + NEGATIVE + 1
BINS: Final = ZERO + POSITIVE + 1
_INFINITY_BITS: Final = 0x7F800000


class Moved(NamedTuple):
    """Where two distributions of an input differ most.

    Attributes:
        distance: see `apart`.
        code: the last bin below that place.
        before, after: share of values above it.
    """

    distance: float
    code: int
    before: float
    after: float


@njit
def encode(x: Singles) -> Codes:
    """Bin of each value: uint8 `(n, inputs)` of float32 `(n, inputs)`, contiguous."""
    n, inputs = x.shape
    bits = x.view(np.int32)
    codes = np.empty((n, inputs), np.uint8)
    for i in range(n):
        for f in range(inputs):
            word = bits[i, f]
            size = word & 0x7FFFFFFF
            if size > _INFINITY_BITS:
                codes[i, f] = MISSING
            elif word >= 0:
                codes[i, f] = ZERO + min(max((size >> 21) - (SMALLEST << 2) + 1, 0), POSITIVE)
            else:
                codes[i, f] = ZERO - min(max((size >> 22) - (SMALLEST << 1) + 1, 0), NEGATIVE)
    return codes


@njit
def count(codes: Codes, weight: float, counts: Floats) -> None:
    """Add rows of codes, uint8 `(n, inputs)`, to `counts`, float64 `(inputs, BINS)`."""
    for i in range(len(codes)):
        for f in range(codes.shape[1]):
            counts[f, codes[i, f]] += weight


def lower_edges() -> Floats:
    """The least value of each bin, float64 `(BINS,)`; NaN for that of missing values, 0 for that of zero."""
    positive = ((SMALLEST << 2) + np.arange(POSITIVE, dtype=np.int32)) << 21
    negative = ((SMALLEST << 1) + np.arange(NEGATIVE, 0, -1, dtype=np.int32)) << 22
    return np.concatenate(
        (
            [np.nan],
            -negative.astype(np.int32).view(np.float32).astype(np.float64),
            [0.0],
            positive.astype(np.int32).view(np.float32).astype(np.float64),
        )
    )


EDGES: Final = lower_edges()


def shares(counts: Floats) -> Floats:
    """Counts `(inputs, BINS)` as shares of each input's sum; zeros where that is nothing."""
    found: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    return found


def apart(before: Floats, after: Floats, payments: float) -> Floats:
    """How far two distributions are apart at the end of each bin: the difference of their cumulative shares by the
    standard deviation of one value there (Anderson and Darling's weight), so that a tail counts like the middle.

    Both are `(…, BINS)`, each row of sum 1; so is the result, from 0 to 2. `payments` stand behind `after`; where fewer
    than ten of them lie, the deviation is taken as that of ten.
    """
    low, high = np.cumsum(before, axis=-1), np.cumsum(after, axis=-1)
    middle = 0.5 * (low + high)
    found: Floats = np.abs(high - low) / np.sqrt(np.maximum(middle * (1.0 - middle), 10.0 / max(payments, 10.0)))
    return found


def distances(before: Floats, after: Floats, payments: float) -> Floats:
    """How far each input's distributions are apart at most, `(inputs,)`; see `apart`."""
    found: Floats = apart(before, after, payments).max(axis=1)
    return found


def moved(before: Floats, after: Floats, payments: float) -> Moved:
    """Where two distributions of one input, `(BINS,)`, differ most; see `apart`."""
    found = apart(before, after, payments)
    code = int(np.argmax(found))
    return Moved(float(found[code]), code, float(before[code + 1 :].sum()), float(after[code + 1 :].sum()))


def medians(shares: Floats, whole: NDArray[np.bool_]) -> Floats:
    """The median of each input's values that are not missing, `(inputs,)`; NaN where most are missing.

    As fine as the bins: the least value of its bin where the input is a whole number (exact up to 8), the middle of the
    bin where it is not.
    """
    below = np.cumsum(shares, axis=1)
    there = shares[:, MISSING + 1 :].sum(axis=1)
    codes = (below - shares[:, :1] < 0.5 * there[:, None] - 1e-12).sum(axis=1)
    codes = np.minimum(np.maximum(codes, 1), BINS - 1)
    low = EDGES[codes]
    high = np.append(EDGES, np.inf)[codes + 1]
    middle = np.where((codes == ZERO) | ~np.isfinite(high), low, 0.5 * (low + high))
    found: Floats = np.where(whole, low, middle)
    found[there <= 0.5] = np.nan
    return found
