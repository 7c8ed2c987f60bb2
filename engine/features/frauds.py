"""The aggregates of label rows that no aggregate of events is like. They look at log and tiles themselves."""

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import definition as d
from engine.features import pool as p
from engine.features import tables as t
from engine.features import tilequery, tiles
from engine.features.jit import njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]


@njit
def counted(arena: Words, floats: Floats, row: Words, columns: Words, op: int, low: int, high: int, after: int,
            until: int) -> float:  # fmt: skip
    """`fraud_count` or `fraud_rate` of the label rows in `(after, until]`, which in the log are `[low, high)`."""
    frauds = number_of(arena, floats, row, columns, t.LABEL_FRAUD, low, high, after, until)
    if frauds > 0.0:
        frauds -= number_of(arena, floats, row, columns, t.LABEL_WITHDRAWN, low, high, after, until)
        frauds = max(0.0, frauds)  # the fraud that was withdrawn may lie before the window
    if op == d.FRAUDS:
        return frauds
    labels = number_of(arena, floats, row, columns, t.LABEL_FIRST, low, high, after, until)
    return min(1.0, frauds / labels) if labels > 0.0 else np.nan


@njit
def number_of(arena: Words, floats: Floats, row: Words, columns: Words, bit: int, low: int, high: int, after: int,
              until: int) -> float:  # fmt: skip
    """How many label rows have a bit."""
    masks = row[t.E_START] + t.R_MASK * row[t.E_CAP]
    found = float(a.matching(arena, masks, low, high, bit, (row[t.E_AND] >> bit) & 1 == 1))
    block = tiles.block_of(arena, row, bit)
    if block >= 0:
        fit = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * bit + 1], tiles.numbers_of(columns))
        tile = tilequery.cut(arena, block, fit, after, until)
        counts = block + tiles.H_WORDS + tiles.B_N * fit
        found += np.rint(tilequery.row_total(floats, counts, tile[0], tile[1], tile[2], tile[3]))
    return float(found)


@njit
def first_of(arena: Words, row: Words, columns: Words, bit: int, low: int, high: int, after: int, until: int) -> int:
    """Time of the oldest label row with a bit in `(after, until]`, `NEVER` of none."""
    start = row[t.E_START]
    first = t.NEVER
    for j in range(low, high):
        if (arena[start + t.R_MASK * row[t.E_CAP] + j] >> bit) & 1:
            first = arena[start + j]
            break
    block = tiles.block_of(arena, row, bit)
    if block >= 0:
        fit = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * bit + 1], tiles.numbers_of(columns))
        seen = tilequery.first_after(arena, block, fit, after, until)
        first = min(first, seen if seen >= 0 else first)
    return int(first)


@njit
def since_first(arena: Words, row: Words, columns: Words, bit: int, low: int, high: int, after: int,
                until: int) -> float:  # fmt: skip
    """Seconds since the oldest label row with a bit in `(after, until]`, NaN of none."""
    first = first_of(arena, row, columns, bit, low, high, after, until)
    return float(until - first) / 1000.0 if first < t.NEVER else np.nan


@njit
def rate_since(arena: Words, floats: Floats, row: Words, columns: Words, bit: int, low: int, high: int, after: int,
               until: int) -> float:  # fmt: skip
    """The fraud rate from the oldest label row with a bit in `(after, until]` on, NaN of none."""
    first = first_of(arena, row, columns, bit, low, high, after, until)
    if first == t.NEVER:
        return np.nan
    low = p.upper_bound(arena, row[t.E_START], high, first - 1)
    return counted(arena, floats, row, columns, d.FRAUD_RATE, low, high, first - 1, until)
