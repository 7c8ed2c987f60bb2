"""Live ranks of customers by a number that changes: exact counts over bins, as a customer moves from one to another.

The bins are eight to an octave from 2**-10 to 2**32, so a quantile is within 9 % of its value however amounts are
spread, and nothing has to be fitted. Each customer counts once, with the value they have now: who holds the ranks
tells the old value with the new one. Sums of counts do not depend on the order in which customers moved.
"""

import math
import struct
from typing import Final

import numpy as np

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
    """How many customers are in each bin.

    Raises `ValueError` on stored bytes that are none.
    """

    def __init__(self, stored: bytes = b"") -> None:
        self._counts = np.zeros(BINS, np.int64)
        if stored:
            if len(stored) != _HEADER.size + 8 * BINS or _HEADER.unpack_from(stored) != (_MAGIC, BINS):
                raise ValueError("these bytes are no ranks, or of another version")
            self._counts[:] = np.frombuffer(stored, "<i8", offset=_HEADER.size)
        self._total = int(self._counts.sum())

    def dump(self) -> bytes:
        """As stored."""
        return _HEADER.pack(_MAGIC, BINS) + self._counts.astype("<i8").tobytes()

    @property
    def customers(self) -> int:
        """How many customers are ranked."""
        return self._total

    def move(self, before: float | None, after: float | None) -> None:
        """A customer's value changes; None for not ranked (yet, or any more)."""
        if before is not None:
            self._counts[bin_of(before)] -= 1
            self._total -= 1
        if after is not None:
            self._counts[bin_of(after)] += 1
            self._total += 1

    def add(self, other: "Ranks") -> None:
        """Take in the customers of another shard."""
        self._counts += other._counts
        self._total += other._total

    def rank(self, value: float) -> float:
        """Share of customers below the value, 0 to 1, its own bin by half; NaN where nobody is ranked."""
        total = self.customers
        if total == 0:
            return float("nan")
        place = bin_of(value)
        return float(self._counts[:place].sum() + 0.5 * self._counts[place]) / total

    def quantile(self, share: float) -> float:
        """The value that this share of customers is at or below, as fine as the bins; NaN where nobody is ranked."""
        total = self.customers
        if total == 0:
            return float("nan")
        reached = np.cumsum(self._counts) >= max(share * total, 1.0)
        return lower_edge(int(np.argmax(reached)))
