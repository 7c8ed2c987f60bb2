"""Tiles of a hot entity: what is known of the events of one filter that no longer stand in its log one by one.

An exponential histogram over event time: buckets in time order, each with a count and, per number column, count, sum,
sum of squared distances from its mean, smallest and largest. Neighbours merge while the merged bucket holds at most 1 %
of what is newer, by count, by sum and by squared distance; within the lateness, while it holds at most 16 events. A
window then cuts one bucket (two for a late event), which is interpolated, so the error stays within that 1 %.

Source: Datar, Gionis, Indyk and Motwani 2002, "Maintaining stream statistics over sliding windows". The bound holds for
values of one sign; of numbers of both signs (`lat`) the sum may be off by more.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import pool as p
from engine.features import tables as t
from engine.features.jit import njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

EPSILON: Final = 0.01
FINE_EVENTS: Final = 16.0
BUCKETS_MAX: Final = 8192
"""More buckets than this only with heavy tails or very many late events; the limits above are doubled then."""

H_COUNT: Final = 0  # buckets
H_WORDS: Final = 2  # words of a block before its rows
B_FROM: Final = 0
B_TO: Final = 1
B_N: Final = 2
B_NUMBERS: Final = 3  # + 5 per number column: count, sum, squares, smallest, largest
N_WIDTH: Final = 5


@njit
def directory_class(series: int) -> int:
    """Chunk class of a tile directory: start and class of a block for each series."""
    size_class = 1
    while (1 << size_class) < 2 * series:
        size_class += 1
    return size_class


@njit
def block_of(arena: Words, row: Words, series: int) -> int:
    """Start of the block of a series, -1 where it has none."""
    if row[t.E_TILES] < 0:
        return -1
    return int(arena[row[t.E_TILES] + 2 * series])


@njit
def buckets_that_fit(size_class: int, numbers: int) -> int:
    """Buckets in a block of `1 << size_class` words."""
    return int(((1 << size_class) - H_WORDS) // (B_NUMBERS + N_WIDTH * numbers))


@njit
def class_for(buckets: int, numbers: int) -> int:
    """The smallest class of block with room for so many buckets."""
    size_class = 6
    while buckets_that_fit(size_class, numbers) < buckets:
        size_class += 1
    return size_class


@njit
def frontier(arena: Words, row: Words, series: int, numbers: int) -> int:
    """Time of the latest event in the tiles of a filter, -1 of none; windows that begin there or later need none."""
    block = block_of(arena, row, series)
    if block < 0 or arena[block + H_COUNT] == 0:
        return -1
    cap = buckets_that_fit(arena[row[t.E_TILES] + 2 * series + 1], numbers)
    return int(arena[block + H_WORDS + B_TO * cap + arena[block + H_COUNT] - 1])


@njit
def resize(arena: Words, meta: Words, row: Words, series: int, numbers: int, buckets: int) -> None:
    """Give a series a block with room for so many buckets; the arena has the room (checked before)."""
    place = row[t.E_TILES] + 2 * series
    old = arena[place]
    size_class = class_for(buckets, numbers)
    if old >= 0 and arena[place + 1] == size_class:
        return
    start = p.allocate(arena, meta, size_class)
    cap = buckets_that_fit(size_class, numbers)
    arena[start + H_COUNT] = 0
    if old >= 0:
        count = arena[old + H_COUNT]
        had = buckets_that_fit(arena[place + 1], numbers)
        for r in range(B_NUMBERS + N_WIDTH * numbers):
            for k in range(count):
                arena[start + H_WORDS + r * cap + k] = arena[old + H_WORDS + r * had + k]
        arena[start + H_COUNT] = count
        p.release(arena, meta, old, arena[place + 1])
    arena[place] = start
    arena[place + 1] = size_class


@njit
def add(
    arena: Words, floats: Floats, block: int, cap: int, time: int, touch: int, log_cap: int, columns: Words
) -> None:
    """Add the touch whose words stand at `touch + row * log_cap` to the bucket that spans its time, or as a new one."""
    base = block + H_WORDS
    count = arena[block + H_COUNT]
    width = B_NUMBERS + N_WIDTH * numbers_of(columns)
    k = first_ending_from(arena, base + B_TO * cap, count, time)
    if k == count or arena[base + B_FROM * cap + k] > time:
        for r in range(width):
            for j in range(count, k, -1):
                arena[base + r * cap + j] = arena[base + r * cap + j - 1]
        arena[base + B_FROM * cap + k] = time
        arena[base + B_TO * cap + k] = time
        for r in range(B_N, width):
            floats[base + r * cap + k] = 0.0
        arena[block + H_COUNT] = count + 1
    floats[base + B_N * cap + k] += 1.0
    for c in range(columns.shape[0]):
        number = columns[c, t.C_NUMBER]
        if number >= 0:
            value = a.value_at(arena, floats, touch + (t.R_COLUMNS + c) * log_cap, columns[c, t.C_KIND])
            if value == value:
                add_number(floats, base + (B_NUMBERS + N_WIDTH * number) * cap + k, cap, 1.0, value, 0.0, value, value)


@njit
def add_number(
    floats: Floats, at: int, cap: int, n: float, total: float, squares: float, low: float, high: float
) -> None:
    """Merge the numbers of a part into those that stand at `at + i * cap` (Chan, Golub and LeVeque 1983)."""
    if n == 0.0:
        return
    had = floats[at]
    if had == 0.0:
        floats[at + 2 * cap] = squares
        floats[at + 3 * cap] = low
        floats[at + 4 * cap] = high
    else:
        apart = total / n - floats[at + cap] / had
        floats[at + 2 * cap] += squares + apart * apart * had * n / (had + n)
        floats[at + 3 * cap] = min(floats[at + 3 * cap], low)
        floats[at + 4 * cap] = max(floats[at + 4 * cap], high)
    floats[at] = had + n
    floats[at + cap] += total


@njit
def numbers_of(columns: Words) -> int:
    """Number columns of a group."""
    count = 0
    for c in range(columns.shape[0]):
        if columns[c, t.C_NUMBER] >= 0:
            count += 1
    return count


@njit
def first_ending_from(arena: Words, ends: int, count: int, time: int) -> int:
    """The first bucket that ends at `time` or later."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if arena[ends + middle] < time:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def drop_until(arena: Words, block: int, cap: int, width: int, time: int) -> None:
    """Forget the buckets that end at `time` or before."""
    base = block + H_WORDS
    count = arena[block + H_COUNT]
    gone = first_ending_from(arena, base + B_TO * cap, count, time + 1)
    if gone > 0:
        for r in range(width):
            for k in range(gone, count):
                arena[base + r * cap + k - gone] = arena[base + r * cap + k]
        arena[block + H_COUNT] = count - gone


@njit
def compress(arena: Words, floats: Floats, block: int, cap: int, masses: Floats, fine_from: int) -> None:
    """Merge neighbours, from the newest to the oldest, until the buckets are few enough.

    `masses` are those of the log: event count, then per number column sum, squared distance and the centre it is from.
    """
    epsilon, fine = EPSILON, FINE_EVENTS
    compress_once(arena, floats, block, cap, masses.copy(), fine_from, epsilon, fine)
    while arena[block + H_COUNT] > BUCKETS_MAX:
        epsilon, fine = 2.0 * epsilon, 2.0 * fine
        compress_once(arena, floats, block, cap, masses.copy(), fine_from, epsilon, fine)


@njit
def compress_once(
    arena: Words, floats: Floats, block: int, cap: int, newer: Floats, fine_from: int, epsilon: float, fine: float
) -> None:
    """One pass of `compress`; `newer` grows by every bucket that is finished."""
    base = block + H_WORDS
    count = arena[block + H_COUNT]
    width = B_NUMBERS + N_WIDTH * ((len(newer) - 1) // 3)
    done = count - 1
    for k in range(count - 2, -1, -1):
        if mergeable(arena, floats, base, cap, k, done, newer, fine_from, epsilon, fine):
            merge(arena, floats, base, cap, width, k, done)
            continue
        weigh(floats, base, cap, done, newer)
        done -= 1
        if done != k:
            for r in range(width):
                arena[base + r * cap + done] = arena[base + r * cap + k]
    if count > 0 and done > 0:
        for r in range(width):
            for k in range(done, count):
                arena[base + r * cap + k - done] = arena[base + r * cap + k]
        arena[block + H_COUNT] = count - done


@njit
def mergeable(
    arena: Words, floats: Floats, base: int, cap: int, k: int, j: int, newer: Floats, fine_from: int,
    epsilon: float, fine: float,
) -> bool:  # fmt: skip
    """Whether buckets `k` and the younger `j` may become one."""
    events = floats[base + B_N * cap + k] + floats[base + B_N * cap + j]
    if arena[base + B_TO * cap + j] > fine_from:
        return bool(events <= fine)
    if events > epsilon * newer[0]:
        return False
    for number in range((len(newer) - 1) // 3):
        total, squares = 0.0, 0.0
        centre = newer[3 + 3 * number]
        for bucket in (k, j):
            at = base + (B_NUMBERS + N_WIDTH * number) * cap + bucket
            total += abs(floats[at + cap])
            squares += squares_from(floats, at, cap, centre)
        noise = 1e-9 * events * centre * centre  # rounding of equal values is no spread
        if total > epsilon * newer[1 + 3 * number] or squares > epsilon * newer[2 + 3 * number] + noise:
            return False
    return True


@njit
def squares_from(floats: Floats, at: int, cap: int, centre: float) -> float:
    """Squared distances of a bucket's numbers from a centre."""
    n = floats[at]
    if n == 0.0:
        return 0.0
    apart = floats[at + cap] / n - centre
    return float(floats[at + 2 * cap] + n * apart * apart)


@njit
def merge(arena: Words, floats: Floats, base: int, cap: int, width: int, k: int, j: int) -> None:
    """Put bucket `k` into the younger `j`."""
    arena[base + B_FROM * cap + j] = arena[base + B_FROM * cap + k]
    floats[base + B_N * cap + j] += floats[base + B_N * cap + k]
    for r in range(B_NUMBERS, width, N_WIDTH):
        at = base + r * cap
        old = at + k
        add_number(
            floats, at + j, cap, floats[old], floats[old + cap], floats[old + 2 * cap], floats[old + 3 * cap],
            floats[old + 4 * cap],
        )  # fmt: skip


@njit
def weigh(floats: Floats, base: int, cap: int, k: int, newer: Floats) -> None:
    """Add a finished bucket to what is newer."""
    newer[0] += floats[base + B_N * cap + k]
    for number in range((len(newer) - 1) // 3):
        at = base + (B_NUMBERS + N_WIDTH * number) * cap + k
        newer[1 + 3 * number] += abs(floats[at + cap])
        newer[2 + 3 * number] += squares_from(floats, at, cap, newer[3 + 3 * number])
