"""Every aggregate over a stretch of an entity's log. Exact: money is summed in integer minor units.

A stretch is `[low, high)` of touches whose times lie in the window. `every` says that each touch of the log matches the
filter, so that the bit need not be looked at.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import definition as d
from engine.features import tables as t
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

POWERS: Final = np.array([10**e for e in range(9)], np.int64)
MINOR_MAX: Final = 1 << 48  # a log holds at most nine times 2,048 matching touches; their sum fits 63 bits
SPLIT_BITS: Final = 31
SPLIT_MASK: Final = (1 << 31) - 1


@inlined
def matching(arena: Words, masks: int, low: int, high: int, bit: int, every: bool) -> int:
    """How many touches match."""
    if every:
        return high - low
    count = 0
    for j in range(masks + low, masks + high):
        count += (arena[j] >> bit) & 1
    return count


@inlined
def money_sum(arena: Words, values: int, masks: int, low: int, high: int, bit: int, every: bool) -> tuple[int, int]:
    """Sum of minor units and count, where all touches have a value of one exponent."""
    total = 0
    if every:
        for j in range(low, high):
            total += arena[values + j] >> 3
        return total, high - low
    count = 0
    for j in range(low, high):
        match = (arena[masks + j] >> bit) & 1
        total += (arena[values + j] >> 3) * match
        count += match
    return total, count


@njit
def mixed_sum(
    arena: Words, values: int, masks: int, low: int, high: int, bit: int, parts: Words
) -> tuple[float, int, int]:
    """Sum over several currencies, as `(numerator, power of ten, count)`; exact up to the final rounding.

    `parts` is scratch of 16 words. Sums are kept in two parts per exponent, so that they cannot overflow.
    """
    parts[:16] = 0
    count = 0
    for j in range(low, high):
        value = arena[values + j]
        if value >= 0 and (arena[masks + j] >> bit) & 1:
            exponent = value & 7
            parts[exponent] += (value >> 3) & SPLIT_MASK
            parts[8 + exponent] += value >> (3 + SPLIT_BITS)
            count += 1
    top = 0
    for e in range(8):
        if parts[e] != 0 or parts[8 + e] != 0:
            top = e
    whole = 0
    fits = True
    rough = 0.0
    for e in range(top + 1):
        scale = POWERS[top - e]
        high_part = float(parts[8 + e]) * float(1 << SPLIT_BITS)
        rough += (high_part + float(parts[e])) * float(scale)
        if rough > 4e18:
            fits = False
        else:
            whole += ((parts[8 + e] << SPLIT_BITS) + parts[e]) * scale
    return (float(whole) if fits else rough), top, count


@njit
def value_at(arena: Words, floats: Floats, at: int, kind: int) -> float:
    """A number of a touch in major units, NaN where missing."""
    if kind == t.KIND_FLOAT:
        return float(floats[at])
    return major_units(arena[at])


@inlined
def major_units(value: int) -> float:
    """A packed amount in major units, NaN where missing."""
    if value < 0:
        return np.nan
    return float(value >> 3) / float(POWERS[value & 7])


@inlined
def total_of(
    arena: Words, floats: Floats, values: int, masks: int, low: int, high: int, bit: int, every: bool,
    kind: int, uniform: int, parts: Words,
) -> tuple[float, float, int]:  # fmt: skip
    """Sum of a number as `(numerator, denominator, count)`."""
    if kind == t.KIND_MONEY and uniform >= 0:
        whole, count = money_sum(arena, values, masks, low, high, bit, every)
        return float(whole), float(POWERS[uniform]), count
    if kind == t.KIND_MONEY:
        numerator, power, count = mixed_sum(arena, values, masks, low, high, bit, parts)
        return numerator, float(POWERS[power]), count
    total = 0.0
    count = 0
    for j in range(low, high):
        value = floats[values + j]
        if value == value and (arena[masks + j] >> bit) & 1:
            total += value
            count += 1
    return total, 1.0, count


@njit
def squares_about(
    arena: Words, floats: Floats, values: int, masks: int, low: int, high: int, bit: int, kind: int, mean: float
) -> float:
    """Sum of squared distances from `mean`, in major units."""
    total = 0.0
    for j in range(low, high):
        if (arena[masks + j] >> bit) & 1:
            value = value_at(arena, floats, values + j, kind)
            if value == value:
                total += (value - mean) * (value - mean)
    return total


@njit
def money_squares(
    arena: Words, values: int, masks: int, low: int, high: int, bit: int, every: bool, mean: float
) -> float:
    """Sum of squared distances from `mean`, all in minor units of the one exponent of the log."""
    total = 0.0
    for j in range(low, high):
        if every or (arena[masks + j] >> bit) & 1:
            distance = float(arena[values + j] >> 3) - mean
            total += distance * distance
    return total


@njit
def extreme(
    arena: Words, floats: Floats, values: int, masks: int, low: int, high: int, bit: int, kind: int, largest: bool
) -> float:
    """Smallest or largest number, NaN of nothing."""
    best = np.nan
    for j in range(low, high):
        if (arena[masks + j] >> bit) & 1:
            value = value_at(arena, floats, values + j, kind)
            if value == value and (best != best or (value > best if largest else value < best)):
                best = value
    return best


@inlined
def money_extreme(
    arena: Words, values: int, masks: int, low: int, high: int, bit: int, every: bool, largest: bool
) -> int:
    """Smallest or largest of the packed values of one exponent, -1 of nothing."""
    best = -1
    if largest:
        for j in range(low, high):
            match = -1 if every else -((arena[masks + j] >> bit) & 1)
            best = max(best, (arena[values + j] & match) | ~match)
        return best
    limit = t.NEVER
    best = limit
    for j in range(low, high):
        if every or (arena[masks + j] >> bit) & 1:
            best = min(best, arena[values + j])
    return best if best < limit else -1


@njit
def distinct(arena: Words, values: int, masks: int, low: int, high: int, bit: int, every: bool, table: Words) -> int:
    """Different hashes, missing ones left out. `table` is scratch of at least twice as many words, a power of two."""
    span = high - low
    size = 16
    while size < 2 * span:
        size *= 2
    table[:size] = 0
    count = 0
    for j in range(low, high):
        value = arena[values + j]
        if value != 0 and (every or (arena[masks + j] >> bit) & 1):
            at = value & (size - 1)
            while table[at] != 0 and table[at] != value:
                at = (at + 1) & (size - 1)
            if table[at] == 0:
                table[at] = value
                count += 1
    return count


@njit
def holds(arena: Words, values: int, masks: int, low: int, high: int, bit: int, value: int) -> bool:
    """Whether a matching touch has this hash."""
    for j in range(high - 1, low - 1, -1):  # noqa: SIM110 (a generator does not compile)
        if arena[values + j] == value and (arena[masks + j] >> bit) & 1:
            return True
    return False


@inlined
def latest(arena: Words, times: int, masks: int, low: int, high: int, bit: int) -> int:
    """Time of the last matching touch, -1 of none."""
    for j in range(high - 1, low - 1, -1):
        if (arena[masks + j] >> bit) & 1:
            return int(arena[times + j])
    return -1


@inlined
def quotient(op: int, total: float, scale: float, count: int) -> float:
    """Sum or mean out of numerator, denominator and count, rounded once; NaN for anything but the sum of nothing."""
    if op == d.SUM:
        return total / scale
    return total / (scale * count) if count > 0 else np.nan


@inlined
def seconds_since(time: int, seen: int) -> float:
    """Seconds since `seen`, NaN where that is -1."""
    return float(time - seen) / 1000.0 if seen >= 0 else np.nan


@njit
def novelty(arena: Words, values: int, masks: int, low: int, high: int, bit: int, value: int) -> float:
    """1 where no matching touch has this hash, 0 where one has, NaN where the hash is missing."""
    if value == 0:
        return np.nan
    return 0.0 if holds(arena, values, masks, low, high, bit, value) else 1.0


@inlined
def number(
    arena: Words, floats: Floats, op: int, values: int, masks: int, low: int, high: int, bit: int, every: bool,
    kind: int, uniform: int, scratch: Words,
) -> float:  # fmt: skip
    """A sum, mean, min, max or std."""
    exact = kind == t.KIND_MONEY and uniform >= 0
    if d.MIN <= op <= d.MAX:
        if not exact:
            return extreme(arena, floats, values, masks, low, high, bit, kind, op == d.MAX)
        best = money_extreme(arena, values, masks, low, high, bit, every, op == d.MAX)
        return float(best >> 3) / float(POWERS[uniform]) if best >= 0 else np.nan
    total, scale, count = total_of(arena, floats, values, masks, low, high, bit, every, kind, uniform, scratch)
    if op != d.STD or count == 0:
        return quotient(op, total, scale, count)
    if exact:
        squares = money_squares(arena, values, masks, low, high, bit, every, total / count)
        return float(np.sqrt(squares / count) / scale)
    mean = total / (scale * count)
    squares = squares_about(arena, floats, values, masks, low, high, bit, kind, mean)
    return float(np.sqrt(squares / count))
