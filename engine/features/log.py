"""One entity's log: inserting a touch where its time puts it, trimming what no feature can still see."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import pool as p
from engine.features import tables as t
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

ARRIVALS: Final = 32
"""Arrivals whose median event time counts as "now" of an entity: one far-future event moves it nowhere."""


@inlined
def insert(
    arena: Words, floats: Floats, row: Words, columns: Words, width: int, at: int, time: int, mask: int,
    strings: Words, money: Words, numbers: Floats, i: int,
) -> None:  # fmt: skip
    """Put the touch of event `i` before touch `at` of the log; there is room."""
    start = open_gap(arena, row, width, at)
    cap = row[t.E_CAP]
    arena[start + at] = time
    arena[start + t.R_MASK * cap + at] = mask
    arena[start + t.R_SEQ * cap + at] = row[t.E_NEXT]
    for c in range(columns.shape[0]):
        place = start + (t.R_COLUMNS + c) * cap + at
        kind, source = columns[c, t.C_KIND], columns[c, t.C_ROW]
        active = columns[c, t.C_ACTIVE] != 0
        if kind == t.KIND_FLOAT:
            floats[place] = numbers[source, i] if active else np.nan
        elif kind == t.KIND_MONEY:
            arena[place] = money[source, i] if active else -1
            note_exponent(row, c, arena[place])
        else:
            arena[place] = strings[source, i] if active else 0
    row[t.E_AND] &= mask
    row[t.E_NEXT] += 1
    row[t.E_LAST] = time


@inlined
def open_gap(arena: Words, row: Words, width: int, at: int) -> int:
    """Move the touches from `at` on by one; the start of the chunk."""
    start = row[t.E_START]
    cap = row[t.E_CAP]
    length = row[t.E_LEN]
    if at < length:
        for r in range(width):
            base = start + r * cap
            for j in range(length, at, -1):
                arena[base + j] = arena[base + j - 1]
    row[t.E_LEN] = length + 1
    return int(start)


@inlined
def note_exponent(row: Words, column: int, value: int) -> None:
    """Keep track of whether all touches have a value of one currency exponent (and none so big that sums overflow)."""
    exponent = value & 7 if 0 <= value < a.MINOR_MAX << 3 else t.MIXED
    known = row[t.E_UNIFORM + column]
    if known == t.UNKNOWN:
        row[t.E_UNIFORM + column] = exponent
    elif known != exponent:
        row[t.E_UNIFORM + column] = t.MIXED


@inlined
def due(row: Words, params: Words) -> bool:
    """Whether the log is to be compacted after one more touch: it is long, and has doubled since it last was.

    Decided by the entity's own touches only, so that batches, restarts and evictions change nothing.
    """
    arrivals = row[t.E_NEXT] + 1 - row[t.E_BASE]
    enough = max(params[t.P_COMPACT] // 2, min(row[t.E_BASE], params[t.P_EXACT]))
    return bool(row[t.E_LEN] + 1 >= params[t.P_COMPACT] and arrivals >= enough)


@njit
def recent_time(arena: Words, row: Words, width: int) -> int:
    """Median event time of the last arrivals; there has been at least one since the last compaction."""
    start = row[t.E_START]
    sequence = start + t.R_SEQ * row[t.E_CAP]
    oldest = max(row[t.E_BASE], row[t.E_NEXT] - ARRIVALS)
    wanted = (row[t.E_NEXT] - oldest) // 2
    for j in range(row[t.E_LEN]):
        if arena[sequence + j] >= oldest:
            if wanted == 0:
                return int(arena[start + j])
            wanted -= 1
    return int(arena[start + row[t.E_LEN] - 1])


@njit
def trim(arena: Words, row: Words, width: int, bits: Words, now: int) -> None:
    """Clear the mask bits that no feature can still see; of an unbounded filter the latest old touch stays."""
    start = row[t.E_START]
    masks = start + t.R_MASK * row[t.E_CAP]
    live = 0
    for b in range(bits.shape[0]):
        bit = bits[b, t.B_BIT]
        live |= 1 << bit
        high = p.upper_bound(arena, start, row[t.E_LEN], now - bits[b, t.B_KEEP])
        spared = bits[b, t.B_UNBOUNDED] != 0
        for j in range(high - 1, -1, -1):
            if (arena[masks + j] >> bit) & 1:
                if spared:
                    spared = False
                else:
                    arena[masks + j] &= ~(1 << bit)
    for j in range(row[t.E_LEN]):
        arena[masks + j] &= live


@njit
def squeeze(arena: Words, row: Words, columns: Words, width: int) -> None:
    """Drop touches without a bit, and start a new snapshot: sequence numbers are positions again."""
    start = row[t.E_START]
    cap = row[t.E_CAP]
    kept = 0
    row[t.E_AND] = -1
    row[t.E_UNIFORM :] = t.UNKNOWN
    for j in range(row[t.E_LEN]):
        mask = arena[start + t.R_MASK * cap + j]
        if mask == 0:
            continue
        for r in range(width):
            arena[start + r * cap + kept] = arena[start + r * cap + j]
        arena[start + t.R_SEQ * cap + kept] = kept
        row[t.E_AND] &= mask
        for c in range(columns.shape[0]):
            if columns[c, t.C_KIND] == t.KIND_MONEY:
                note_exponent(row, c, arena[start + (t.R_COLUMNS + c) * cap + kept])
        kept += 1
    row[t.E_LEN] = kept
    row[t.E_BASE] = kept
    row[t.E_NEXT] = kept
    row[t.E_LAST] = arena[start + kept - 1] if kept > 0 else 0


@njit
def sort_by_time(arena: Words, row: Words, width: int) -> None:
    """Put touches that stand in order of arrival into order of time, equal times in order of arrival."""
    start = row[t.E_START]
    cap = row[t.E_CAP]
    for j in range(1, row[t.E_LEN]):
        at = p.upper_bound(arena, start, j, arena[start + j])
        if at == j:
            continue
        for r in range(width):
            base = start + r * cap
            held = arena[base + j]
            for k in range(j, at, -1):
                arena[base + k] = arena[base + k - 1]
            arena[base + at] = held
