"""The aggregates that ask for the matching event before: they look back from the event until they find it."""

import numpy as np
from numpy.typing import NDArray

from engine.features.aggregates import value_at
from engine.features.jit import njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]


@njit
def last_number(
    arena: Words, floats: Floats, values: int, masks: int, low: int, high: int, bit: int, kind: int
) -> float:
    """The number of the last matching touch that has one, NaN of none."""
    for j in range(high - 1, low - 1, -1):
        if (arena[masks + j] >> bit) & 1:
            value = value_at(arena, floats, values + j, kind)
            if value == value:
                return value
    return np.nan


@njit
def number_changed(
    arena: Words, floats: Floats, values: int, masks: int, low: int, high: int, bit: int, kind: int, value: float
) -> float:
    """1 where the last matching touch with a number has another one, 0 where the same; NaN where either is missing."""
    before = last_number(arena, floats, values, masks, low, high, bit, kind)
    if value != value or before != before:
        return np.nan
    return 0.0 if before == value else 1.0


@njit
def hash_changed(arena: Words, values: int, masks: int, low: int, high: int, bit: int, value: int) -> float:
    """1 where the last matching touch with a hash has another one, 0 where the same; NaN where either is missing."""
    if value == 0:
        return np.nan
    for j in range(high - 1, low - 1, -1):
        if arena[values + j] != 0 and (arena[masks + j] >> bit) & 1:
            return 0.0 if arena[values + j] == value else 1.0
    return np.nan
