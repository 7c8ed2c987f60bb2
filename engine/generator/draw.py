"""Random draws that stay the same on every Python version.

Python promises the sequence of `random.Random(seed).random()` for ever, but not that of its other methods, so
everything here is a transformation of that one method.
"""

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
SCRAMBLE = 0x9E3779B1  # odd, so multiplying by it modulo 2**32 is a permutation
MASK_32 = 0xFFFF_FFFF


class Draw:
    """A stream of draws from one seed.

    Attributes:
        uniform: a number in [0, 1).
    """

    __slots__ = ("uniform",)

    def __init__(self, seed: int) -> None:
        self.uniform = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.uniform()

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, each as likely as the other."""
        return choices[int(self.uniform() * len(choices))]

    def exponential(self, mean: float) -> float:
        """An exponential waiting time."""
        return -mean * math.log(1.0 - self.uniform())

    def normal(self) -> float:
        """A standard normal number (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())

    def lognormal(self, median: float, sigma: float) -> float:
        """A log-normal number with the given median."""
        return median * math.exp(sigma * self.normal())

    def rank(self, n: int, flatness: float) -> int:
        """A rank from 0 to n - 1 with weights 1 / (rank + flatness): Zipf-Mandelbrot, by inversion."""
        return min(n - 1, int(flatness * ((1.0 + n / flatness) ** self.uniform() - 1.0)))


def token(prefix: str, number: int) -> str:
    """`number` below 2**32 as an opaque id: unique, and not telling who came first.

    Eight hexadecimal digits, so that no run of digits in it is long enough to pass for a card number.
    """
    return f"{prefix}_{number * SCRAMBLE & MASK_32:08x}"
