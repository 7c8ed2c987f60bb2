"""The stored form of tiles: part of the snapshot of a hot entity, written whole at every compaction."""

import numpy as np
from numpy.typing import NDArray

from engine.features import codec as c
from engine.features import fold, recency, tiles
from engine.features import pool as p
from engine.features import tables as t
from engine.features.jit import njit

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@njit
def store_snapshot(
    buffer: Bytes, meta: Words, arena: Words, row: Words, columns: Words, series: Words, params: Words
) -> None:
    """Write the operation that replaces all that is stored of an entity. Sequence numbers must be positions."""
    if row[t.E_LEN] > 0:
        row[t.E_TTL] = row[t.E_SEEN] = row[t.E_LAST]
    value_at = c.begin(buffer, meta[t.M_OPS], c.SET, params[t.P_GROUP], row[t.E_KEY], params[t.P_TTL_HOURS])
    end = c.put_snapshot(buffer, value_at, arena, row, columns)
    end = put(buffer, end, arena, row, series, columns)
    c.finish(buffer, value_at, end)
    meta[t.M_OPS] = end


@njit
def put(buffer: Bytes, at: int, arena: Words, row: Words, series: Words, columns: Words) -> int:
    """Write all tiles of an entity; the position after them."""
    count = 0
    for s in range(series.shape[0]):
        count += tiles.block_of(arena, row, s) >= 0
    at = c.put_varint(buffer, at, count)
    for s in range(series.shape[0]):
        block = tiles.block_of(arena, row, s)
        if block < 0:
            continue
        at = c.put_varint(buffer, at, series[s, t.S_KIND])
        at = c.put_varint(buffer, at, series[s, t.S_BIT])
        at = c.put_varint(buffer, at, series[s, t.S_COLUMN] + 1)
        if series[s, t.S_KIND] == t.SERIES_BUCKETS:
            at = put_buckets(buffer, at, arena, row, s, columns)
        else:
            at = put_recency(buffer, at, arena, block)
    return at


@njit
def put_buckets(buffer: Bytes, at: int, arena: Words, row: Words, s: int, columns: Words) -> int:
    """Write the buckets of a filter, column by column."""
    numbers = tiles.numbers_of(columns)
    block = tiles.block_of(arena, row, s)
    cap = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * s + 1], numbers)
    base = block + tiles.H_WORDS
    count = arena[block + tiles.H_COUNT]
    at = c.put_varint(buffer, at, count)
    at = c.put_varint(buffer, at, numbers)
    for col in range(columns.shape[0]):
        if columns[col, t.C_NUMBER] >= 0:
            at = c.put_varint(buffer, at, col)
    for r in range(tiles.B_NUMBERS + tiles.N_WIDTH * numbers):
        for k in range(count):
            at = c.put_word(buffer, at, arena[base + r * cap + k])
    return at


@njit
def put_recency(buffer: Bytes, at: int, arena: Words, block: int) -> int:
    """Write the levels of a recency series."""
    at = c.put_varint(buffer, at, arena[block + recency.HEADER_LEVELS])
    for level in range(arena[block + recency.HEADER_LEVELS]):
        where = recency.level_at(block, level)
        table, slots = arena[where + recency.L_START], recency.slots_of(arena[where + recency.L_CLASS])
        folds = arena[where + recency.L_FOLDED]
        at = c.put_varint(buffer, at, arena[where + recency.L_FORGOTTEN] + 1)
        at = c.put_varint(buffer, at, arena[where + recency.L_CLASS])
        at = c.put_varint(buffer, at, arena[where + recency.L_COUNT])
        for k in range(table, table + slots):
            if arena[k] != 0:
                at = c.put_word(buffer, at, arena[k])
                at = c.put_varint(buffer, at, arena[k + slots])
                folded = arena[folds + k - table]
                at = c.put_varint(buffer, at, arena[k + slots] - folded + 1 if folded >= 0 else 0)
    return at


@njit
def read(arena: Words, meta: Words, row: Words, series: Words, columns: Words, blob: Bytes, at: int, end: int) -> int:
    """Read what `put` wrote, passing over what the plan dropped; -1 where bytes are wrong or the arena is too small."""
    count, at = c.get_varint(blob, at, end)
    for _ in range(count):
        kind, at = c.get_varint(blob, at, end)
        bit, at = c.get_varint(blob, at, end)
        column, at = c.get_varint(blob, at, end)
        if at < 0 or not roomy(arena, meta, 2 * (end - at) + 4096):
            return -1
        fold.ensure_directory(arena, meta, row, series)
        s = series_of(series, kind, bit, column - 1)
        if kind == t.SERIES_BUCKETS:
            at = read_buckets(arena, meta, row, s, columns, blob, at, end)
        else:
            at = read_recency(arena, meta, row, s, blob, at, end)
        if at < 0:
            return -1
    return at


@njit
def roomy(arena: Words, meta: Words, words: int) -> bool:
    """Whether the arena has so many words never handed out; says so where not."""
    if meta[t.M_TOP] + words <= len(arena):
        return True
    meta[t.M_NEED] = t.NEED_ARENA
    meta[t.M_NEED_SIZE] = words
    return False


@njit
def series_of(series: Words, kind: int, bit: int, column: int) -> int:
    """Which series of the plan this is, -1 for none."""
    for s in range(series.shape[0]):
        if series[s, t.S_KIND] == kind and series[s, t.S_BIT] == bit and series[s, t.S_COLUMN] == column:
            return s
    return -1


@njit
def read_buckets(arena: Words, meta: Words, row: Words, s: int, columns: Words, blob: Bytes, at: int, end: int) -> int:
    """Read the buckets of a filter; number columns may have been added or dropped since they were written."""
    count, at = c.get_varint(blob, at, end)
    numbers, at = c.get_varint(blob, at, end)
    if at < 0 or numbers > columns.shape[0]:
        return -1
    written = np.empty(numbers, np.int64)
    for k in range(numbers):
        written[k], at = c.get_varint(blob, at, end)
        if at < 0 or written[k] >= columns.shape[0]:
            return -1
    if at + 8 * count * (tiles.B_NUMBERS + tiles.N_WIDTH * numbers) > end:
        return -1
    if s < 0:
        return int(at + 8 * count * (tiles.B_NUMBERS + tiles.N_WIDTH * numbers))
    own = tiles.numbers_of(columns)
    if not roomy(arena, meta, 1 << tiles.class_for(count, own)):
        return -1
    tiles.resize(arena, meta, row, s, own, count)
    base = tiles.block_of(arena, row, s) + tiles.H_WORDS
    cap = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * s + 1], own)
    arena[base - tiles.H_WORDS + tiles.H_COUNT] = count
    for r in range(tiles.B_NUMBERS + tiles.N_WIDTH * own):
        arena[base + r * cap : base + r * cap + count] = 0
    for r in range(tiles.B_NUMBERS + tiles.N_WIDTH * numbers):
        target = r
        if r >= tiles.B_NUMBERS:
            number = columns[written[(r - tiles.B_NUMBERS) // tiles.N_WIDTH], t.C_NUMBER]
            target = tiles.B_NUMBERS + tiles.N_WIDTH * number + (r - tiles.B_NUMBERS) % tiles.N_WIDTH
            if number < 0:
                target = -1
        for k in range(count):
            word, at = c.get_word(blob, at, end)
            if target >= 0:
                arena[base + target * cap + k] = word
    return int(at)


@njit
def read_recency(arena: Words, meta: Words, row: Words, s: int, blob: Bytes, at: int, end: int) -> int:
    """Read the levels of a recency series."""
    levels, at = c.get_varint(blob, at, end)
    if at < 0 or levels > recency.LEVELS_MAX:
        return -1
    block = -1
    if s >= 0:
        block = p.allocate(arena, meta, recency.HEADER_CLASS)
        arena[block + recency.HEADER_LEVELS] = 0
        arena[row[t.E_TILES] + 2 * s] = block
    for level in range(levels):
        forgotten, at = c.get_varint(blob, at, end)
        size_class, at = c.get_varint(blob, at, end)
        count, at = c.get_varint(blob, at, end)
        if at < 0 or not 2 < size_class <= 30 or 4 * count > 3 * recency.slots_of(size_class):
            return -1
        if s >= 0:
            if not roomy(arena, meta, 2 << size_class):
                return -1
            recency.add_level(arena, meta, block, size_class)
        for _ in range(count):
            value, at = c.get_word(blob, at, end)
            time, at = c.get_varint(blob, at, end)
            apart, at = c.get_varint(blob, at, end)
            if at < 0:
                return -1
            if s >= 0 and value != 0:
                folded = time - apart + 1 if apart > 0 else -1
                recency.put(arena, recency.level_at(block, level), value, time, folded)
        if s >= 0:
            arena[recency.level_at(block, level) + recency.L_FORGOTTEN] = forgotten - 1
    return int(at)
