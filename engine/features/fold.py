"""Folding: what a compaction does with the oldest touches of a hot filter, and how tiles come and go."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import pool as p
from engine.features import recency, tiles
from engine.features import tables as t
from engine.features.jit import njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

LOG_FACTOR: Final = 8
"""A late event must find its window exact too: all within the lateness stays, up to so many times `exact_touches`."""


@njit
def words_needed(arena: Words, row: Words, series: Words, columns: Words, params: Words) -> int:
    """Words of the arena that compacting this log may take at most; 0 where it is too short to fold anything."""
    touches = row[t.E_LEN] + 1
    if touches <= params[t.P_KEEP]:
        return 0
    words = 1 << tiles.directory_class(series.shape[0])
    for s in range(series.shape[0]):
        if series[s, t.S_KIND] == t.SERIES_BUCKETS:
            block = tiles.block_of(arena, row, s)
            buckets = touches if block < 0 else touches + arena[block + tiles.H_COUNT]
            words += 2 << tiles.class_for(buckets, tiles.numbers_of(columns))
        else:
            words += recency.words_needed(params[t.P_SAMPLE], touches if tiles.block_of(arena, row, s) < 0 else 1)
    return words


@njit
def words_held(arena: Words, row: Words, series: Words) -> int:
    """Words of the arena that the tiles of an entity take."""
    if row[t.E_TILES] < 0:
        return 0
    words = 1 << tiles.directory_class(series.shape[0])
    for s in range(series.shape[0]):
        block = tiles.block_of(arena, row, s)
        if block >= 0 and series[s, t.S_KIND] == t.SERIES_BUCKETS:
            words += 1 << arena[row[t.E_TILES] + 2 * s + 1]
        elif block >= 0:
            words += 1 << recency.HEADER_CLASS
            for level in range(arena[block + recency.HEADER_LEVELS]):
                words += 2 << arena[recency.level_at(block, level) + recency.L_CLASS]
    return words


@njit
def fold(
    arena: Words, floats: Floats, meta: Words, row: Words, columns: Words, series: Words, params: Words, now: int
) -> None:
    """Move the oldest touches of every filter that has too many into its tiles; forget tiles no window reaches."""
    for s in range(series.shape[0]):
        if series[s, t.S_KIND] == t.SERIES_BUCKETS:
            fold_filter(arena, floats, meta, row, columns, series, s, params, now)
    if row[t.E_TILES] >= 0:
        for s in range(series.shape[0]):
            if tiles.block_of(arena, row, s) >= 0:
                return
        p.release(arena, meta, row[t.E_TILES], tiles.directory_class(series.shape[0]))
        row[t.E_TILES] = -1


@njit
def fold_filter(
    arena: Words,
    floats: Floats,
    meta: Words,
    row: Words,
    columns: Words,
    series: Words,
    s: int,
    params: Words,
    now: int,
) -> None:
    """Fold one filter; `s` is its bucket series."""
    bit = series[s, t.S_BIT]
    cap = row[t.E_CAP]
    masks = row[t.E_START] + t.R_MASK * cap
    numbers = tiles.numbers_of(columns)
    older = p.upper_bound(arena, row[t.E_START], row[t.E_LEN], now - params[t.P_LATENESS])
    newer = a.matching(arena, masks, older, row[t.E_LEN], bit, False)
    keep = min(params[t.P_KEEP] + newer, LOG_FACTOR * params[t.P_EXACT])
    surplus = a.matching(arena, masks, 0, row[t.E_LEN], bit, False) - keep
    block = tiles.block_of(arena, row, s)
    if block >= 0:
        fit = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * s + 1], numbers)
        width = tiles.B_NUMBERS + tiles.N_WIDTH * numbers
        tiles.drop_until(arena, block, fit, width, now - series[s, t.S_KEEP])
        if arena[block + tiles.H_COUNT] == 0 and surplus <= 0:
            drop_filter(arena, meta, row, series, bit)
    if surplus <= 0:
        return
    begin_filter(arena, meta, row, series, bit, params)
    had = 0 if block < 0 else arena[block + tiles.H_COUNT]
    tiles.resize(arena, meta, row, s, numbers, had + surplus)
    block = tiles.block_of(arena, row, s)
    fit = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * s + 1], numbers)
    j = 0
    while surplus > 0:
        if (arena[masks + j] >> bit) & 1:
            start = row[t.E_START]
            tiles.add(arena, floats, block, fit, arena[start + j], start + j, cap, columns)
            for k in range(s + 1, series.shape[0]):
                if series[k, t.S_BIT] == bit and arena[start + (t.R_COLUMNS + series[k, t.S_COLUMN]) * cap + j] != 0:
                    value = arena[start + (t.R_COLUMNS + series[k, t.S_COLUMN]) * cap + j]
                    recency.leaves_log(arena, tiles.block_of(arena, row, k), value, arena[start + j])
            arena[masks + j] &= ~(1 << bit)
            surplus -= 1
        j += 1
    masses = log_masses(arena, floats, row, columns, params[t.P_WIDTH], bit)
    tiles.compress(arena, floats, block, fit, masses, now - params[t.P_LATENESS])
    tiles.resize(arena, meta, row, s, numbers, arena[block + tiles.H_COUNT])


@njit
def log_masses(arena: Words, floats: Floats, row: Words, columns: Words, width: int, bit: int) -> Floats:
    """What the log holds of a filter, as `tiles.compress` weighs it."""
    cap = row[t.E_CAP]
    start = row[t.E_START]
    masks = start + t.R_MASK * cap
    masses = np.zeros(1 + 3 * tiles.numbers_of(columns), np.float64)
    masses[0] = float(a.matching(arena, masks, 0, row[t.E_LEN], bit, False))
    for c in range(columns.shape[0]):
        number = columns[c, t.C_NUMBER]
        if number < 0:
            continue
        values = start + (t.R_COLUMNS + c) * cap
        count = 0
        centre = 0.0
        for j in range(row[t.E_LEN]):
            value = a.value_at(arena, floats, values + j, columns[c, t.C_KIND])
            if value == value and (arena[masks + j] >> bit) & 1:
                count += 1
                centre += value
                masses[1 + 3 * number] += abs(value)
        if count > 0:
            centre /= count
            squares = a.squares_about(arena, floats, values, masks, 0, row[t.E_LEN], bit, columns[c, t.C_KIND], centre)
            masses[2 + 3 * number] = squares
            masses[3 + 3 * number] = centre
    return masses


@njit
def begin_filter(arena: Words, meta: Words, row: Words, series: Words, bit: int, params: Words) -> None:
    """Start those recency series of a filter that it has not, with every value of the log.

    From now on each event is noted as it comes. A series declared when the filter already had tiles begins here, too.
    """
    ensure_directory(arena, meta, row, series)
    cap = row[t.E_CAP]
    start = row[t.E_START]
    for s in range(series.shape[0]):
        known = tiles.block_of(arena, row, s) >= 0
        if series[s, t.S_KIND] != t.SERIES_RECENCY or series[s, t.S_BIT] != bit or known:
            continue
        block = recency.start(arena, meta)
        arena[row[t.E_TILES] + 2 * s] = block
        values = start + (t.R_COLUMNS + series[s, t.S_COLUMN]) * cap
        for j in range(row[t.E_LEN]):
            if arena[values + j] != 0 and (arena[start + t.R_MASK * cap + j] >> bit) & 1:
                recency.add(arena, meta, block, arena[values + j], arena[start + j], params[t.P_SAMPLE])


@njit
def ensure_directory(arena: Words, meta: Words, row: Words, series: Words) -> None:
    """Give an entity an empty tile directory if it has none; the arena has the room."""
    if row[t.E_TILES] < 0:
        size_class = tiles.directory_class(series.shape[0])
        directory = p.allocate(arena, meta, size_class)
        arena[directory : directory + (1 << size_class)] = -1
        row[t.E_TILES] = directory


@njit
def drop_filter(arena: Words, meta: Words, row: Words, series: Words, bit: int) -> None:
    """Hand back all tiles of a filter, or of every filter where `bit` is -1; the directory stays."""
    for s in range(series.shape[0]):
        block = tiles.block_of(arena, row, s)
        if block < 0 or (bit >= 0 and series[s, t.S_BIT] != bit):
            continue
        if series[s, t.S_KIND] == t.SERIES_BUCKETS:
            p.release(arena, meta, block, arena[row[t.E_TILES] + 2 * s + 1])
        else:
            recency.drop(arena, meta, block)
        arena[row[t.E_TILES] + 2 * s] = -1


@njit
def reset(arena: Words, meta: Words, row: Words, series: Words) -> None:
    """Forget what is known of a resident entity; it stays resident."""
    key, used = row[t.E_KEY], row[t.E_USED]
    if row[t.E_CLASS] >= 0:
        p.release(arena, meta, row[t.E_START], row[t.E_CLASS])
    if row[t.E_TILES] >= 0:
        drop_filter(arena, meta, row, series, -1)
        p.release(arena, meta, row[t.E_TILES], tiles.directory_class(series.shape[0]))
    p.blank(row)
    row[t.E_KEY] = key
    row[t.E_USED] = used


@njit
def evict(arena: Words, entities: Words, index: Words, meta: Words, series: Words, slots: Words) -> None:
    """Remove the entities of the given slots."""
    for slot in slots:
        reset(arena, meta, entities[slot], series)
        entities[slot, t.E_KEY] = 0
        entities[slot, t.E_START] = meta[t.M_SLOT_FREE]
        meta[t.M_SLOT_FREE] = slot
        meta[t.M_ENTITIES] -= 1
    index[:] = -1
    p.reindex(entities, index, meta[t.M_SLOTS])
