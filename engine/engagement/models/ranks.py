"""Live ranks of customers by a number that changes: exact counts over bins, as a customer moves from one to another.

The bins are eight to an octave from 2**-10 to 2**32, so a quantile is within 9 % of its value however amounts are
spread, and nothing has to be fitted. Each customer counts once, with the value they have now: who holds the ranks
tells the old value with the new one. Sums of counts do not depend on the order in which customers moved.
"""

import math
import struct
from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS: Final = 8  # bins to an octave
LOWEST: Final = -10  # exponent of the smallest value that is told from nothing
OCTAVES: Final = 42
_TOP: Final = 2.0 ** (LOWEST + OCTAVES)
BINS: Final = STEPS * OCTAVES + 2  # with one for nothing and one for more

_HEADER: Final = struct.Struct("<4sH")
_MAGIC: Final = b"RNK1"


def bin_of(value: float) -> int:
    """Bin of a value; 0 for nothing, negative values and NaN."""
    if not value >= 2.0**LOWEST:
        return 0
    if value >= _TOP:
        return BINS - 1
    fraction, exponent = math.frexp(value)
    return (exponent - 1 - LOWEST) * STEPS + int((fraction * 2.0 - 1.0) * STEPS) + 1


def lower_edge(place: int) -> float:
    """The least value of a bin."""
    if place == 0:
        return 0.0
    octave, step = divmod(place - 1, STEPS)
    return float(2.0 ** (LOWEST + octave) * (1.0 + step / STEPS))


class Ranks:
    """How many customers are in each bin, and how many below it.

    Raises `ValueError` on stored bytes that are none.
    """

    def __init__(self, stored: bytes = b"") -> None:
        counts = np.zeros(BINS, np.int64)
        if stored:
            if len(stored) != _HEADER.size + 8 * BINS or _HEADER.unpack_from(stored) != (_MAGIC, BINS):
                raise ValueError("these bytes are no ranks, or of another version")
            counts[:] = np.frombuffer(stored, "<i8", offset=_HEADER.size)
        self._put(counts)

    def dump(self) -> bytes:
        """As stored."""
        return _HEADER.pack(_MAGIC, BINS) + np.array(self._counts, "<i8").tobytes()

    @property
    def customers(self) -> int:
        """How many customers are ranked."""
        return self._below[BINS]

    def move(self, before: float | None, after: float | None) -> None:
        """A customer's value changes; None for not ranked (yet, or any more)."""
        self.shift(BINS if before is None else bin_of(before), BINS if after is None else bin_of(after))

    def shift(self, before: int, after: int) -> None:
        """A customer goes from a bin to another; `BINS` for not ranked. Most moves are to the bin next to it."""
        if before == after:
            return
        counts, below = self._counts, self._below
        if before < BINS:
            counts[before] -= 1
        if after < BINS:
            counts[after] += 1
        if BINS in (before, after):
            step = 1 if before == BINS else -1
            for place in range(min(before, after) + 1, BINS + 1):
                below[place] += step
        elif before < after:
            for place in range(before + 1, after + 1):
                below[place] -= 1
        else:
            for place in range(after + 1, before + 1):
                below[place] += 1

    def add(self, other: "Ranks") -> None:
        """Take in the customers of another shard."""
        self._put(np.array(self._counts, np.int64) + np.array(other._counts, np.int64))

    def rank(self, value: float) -> float:
        """Share of customers below the value, 0 to 1, its own bin by half; NaN where nobody is ranked."""
        return self.rank_of(bin_of(value))

    def rank_of(self, place: int) -> float:
        """The same of a bin."""
        total = self._below[BINS]
        return (self._below[place] + 0.5 * self._counts[place]) / total if total else float("nan")

    def quantile(self, share: float) -> float:
        """The value that this share of customers is at or below, as fine as the bins; NaN where nobody is ranked."""
        total = self.customers
        if total == 0:
            return float("nan")
        return lower_edge(bisect_left(self._below, max(share * total, 1.0), 1) - 1)

    def _put(self, counts: NDArray[np.int64]) -> None:
        self._counts: list[int] = counts.tolist()
        self._below: list[int] = [0, *np.cumsum(counts).tolist()]
