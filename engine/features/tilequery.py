"""Reading tiles: what of a window lies in the buckets of `engine.features.tiles`; a bucket it cuts counts in part."""

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit
from engine.features.tiles import B_FROM, B_TO, H_COUNT, H_WORDS, first_ending_from, squares_from

Words = NDArray[np.int64]
Floats = NDArray[np.float64]


@njit
def share(arena: Words, base: int, cap: int, k: int, after: int, until: int) -> float:
    """The part of a bucket's span inside `(after, until]`."""
    start, end = arena[base + B_FROM * cap + k], arena[base + B_TO * cap + k]
    if end <= after or start > until:
        return 0.0
    if start > after and end <= until:
        return 1.0
    return float(min(end, until) - max(start - 1, after)) / float(end - start + 1)


@njit
def cut(arena: Words, block: int, cap: int, after: int, until: int) -> tuple[int, int, float, float]:
    """The buckets `[low, high)` that touch `(after, until]`, and the parts of the first and the last that lie in it."""
    base = block + H_WORDS
    count = arena[block + H_COUNT]
    low = first_ending_from(arena, base + B_TO * cap, count, after + 1)
    high = first_ending_from(arena, base + B_FROM * cap, count, until + 1)
    if low >= high:
        return 0, 0, 0.0, 0.0
    return low, high, share(arena, base, cap, low, after, until), share(arena, base, cap, high - 1, after, until)


@njit
def row_total(floats: Floats, row: int, low: int, high: int, first: float, last: float) -> float:
    """Sum of a row over buckets `[low, high)`, the first and the last in part."""
    if low >= high:
        return 0.0
    total = floats[row + low] * first
    for k in range(low + 1, high - 1):
        total += floats[row + k]
    if low < high - 1:
        total += floats[row + high - 1] * last
    return float(total)


@njit
def squares_total(
    floats: Floats, at: int, cap: int, low: int, high: int, first: float, last: float, mean: float
) -> float:
    """Sum of squared distances from `mean` of a number whose rows begin at `at`."""
    total = 0.0
    for k in range(low, high):
        part = first if k == low else last if k == high - 1 else 1.0
        total += part * squares_from(floats, at + k, cap, mean)
    return total


@njit
def extreme_of(floats: Floats, counts: int, values: int, low: int, high: int, largest: bool) -> float:
    """Smallest or largest of a row, over the buckets that have a value; NaN of nothing."""
    best = np.nan
    for k in range(low, high):
        value = floats[values + k]
        if floats[counts + k] > 0.0 and (best != best or (value > best if largest else value < best)):
            best = value
    return best


@njit
def last_until(arena: Words, block: int, cap: int, until: int) -> int:
    """The end of the last bucket that begins by `until`, no later than `until`; -1 of none."""
    base = block + H_WORDS
    k = first_ending_from(arena, base + B_FROM * cap, arena[block + H_COUNT], until + 1) - 1
    return int(min(until, arena[base + B_TO * cap + k])) if k >= 0 else -1


@njit
def first_after(arena: Words, block: int, cap: int, after: int, until: int) -> int:
    """The beginning of the first bucket in `(after, until]`, its end where the window cuts it; -1 of none."""
    base = block + H_WORDS
    k = first_ending_from(arena, base + B_TO * cap, arena[block + H_COUNT], after + 1)
    if k >= arena[block + H_COUNT] or arena[base + B_FROM * cap + k] > until:
        return -1
    start = arena[base + B_FROM * cap + k]
    return int(start if start > after else min(until, arena[base + B_TO * cap + k]))
