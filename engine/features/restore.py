"""Reading stored logs back into a pool: the same state, in effect, as if the entity had never left memory."""

import numpy as np
from numpy.typing import NDArray

from engine.features import codec as c
from engine.features import fold, hot, log, recency, tilecodec, tiles
from engine.features import pool as p
from engine.features import tables as t
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@njit
def load(
    arena: Words, entities: Words, index: Words, meta: Words, columns: Words, series: Words, params: Words,
    keys: Words, blob: Bytes, offsets: Words, first: int,
) -> int:  # fmt: skip
    """Make the entities `keys[first:]` resident; entity i is stored in `blob[offsets[i]:offsets[i + 1]]`.

    Returns how far it got; where that is not the end, `M_NEED` says what to grow, or that the bytes are corrupt.
    """
    for i in range(first, len(keys)):
        slot = p.find(index, entities, keys[i])
        if slot < 0:
            slot = p.add_entity(index, entities, meta, keys[i])
            if slot < 0:
                return i
        row = entities[slot]
        fold.reset(arena, meta, row, series)
        end = offsets[i + 1]
        at = offsets[i]
        while 0 <= at < end:
            at = read_record(arena, meta, row, columns, series, params, blob, at, end)
        if at < 0:
            if meta[t.M_NEED] == t.NEED_NOTHING:
                meta[t.M_NEED] = t.CORRUPT
            return i
        log.sort_by_time(arena, row, params[t.P_WIDTH])
    return len(keys)


@inlined
def read_record(
    arena: Words, meta: Words, row: Words, columns: Words, series: Words, params: Words, blob: Bytes, at: int, end: int
) -> int:
    """Read one record, a touch or a special one; the position after it, -1 where that fails."""
    head, at = c.get_varint(blob, at, end)
    if at < 0:
        return -1
    if head & 1 == 0:
        return read_arrival(arena, meta, row, columns, series, params, blob, at, end, head >> 1)
    kind, at = c.get_varint(blob, at, end)
    if at >= 0 and kind == c.KIND_LOOSE:
        head, at = c.get_varint(blob, at, end)
        if at < 0 or head & 1 != 0:
            return -1
        row[t.E_LAST] = 0
        return read_arrival(arena, meta, row, columns, series, params, blob, at, end, head >> 1)
    if at >= 0 and kind == c.KIND_FIRST_SEEN:
        first, at = c.get_varint(blob, at, end)
        seen, at = c.get_varint(blob, at, end)
        if at >= 0:
            row[t.E_FIRST] = min(row[t.E_FIRST], first)
            row[t.E_SEEN] = seen
        return at
    if at >= 0 and kind == c.KIND_SNAPSHOT:
        return read_snapshot(arena, meta, row, columns, series, params, blob, at, end)
    return -1


@inlined
def read_arrival(
    arena: Words, meta: Words, row: Words, columns: Words, series: Words, params: Words, blob: Bytes, at: int, end: int,
    mask: int,
) -> int:  # fmt: skip
    """Read a touch that came after the snapshot."""
    at = read_touch(arena, meta, row, columns, params, blob, at, end, mask)
    if at >= 0 and row[t.E_TILES] >= 0 and not note(arena, meta, row, series, params, mask):
        return -1
    return at


@njit
def note(arena: Words, meta: Words, row: Words, series: Words, params: Words, mask: int) -> bool:
    """Note the values of the touch read last, which came after the snapshot, in its recency series."""
    if not tilecodec.roomy(arena, meta, hot.words_to_note(series, params)):
        return False
    cap = row[t.E_CAP]
    last = row[t.E_LEN] - 1
    for s in range(series.shape[0]):
        block = tiles.block_of(arena, row, s)
        if series[s, t.S_KIND] == t.SERIES_RECENCY and block >= 0 and (mask >> series[s, t.S_BIT]) & 1:
            value = arena[row[t.E_START] + (t.R_COLUMNS + series[s, t.S_COLUMN]) * cap + last]
            if value != 0:
                recency.add(arena, meta, block, value, row[t.E_LAST], params[t.P_SAMPLE])
    return True


@njit
def read_snapshot(
    arena: Words, meta: Words, row: Words, columns: Words, series: Words, params: Words, blob: Bytes, at: int, end: int
) -> int:
    """Read what `codec.put_snapshot` wrote."""
    version, at = c.get_varint(blob, at, end)
    first, at = c.get_varint(blob, at, end)
    touches, at = c.get_varint(blob, at, end)
    if at < 0 or version != c.VERSION or row[t.E_NEXT] != 0:
        return -1
    if first > 0:
        row[t.E_FIRST] = first - 1
    for _ in range(touches):
        head, at = c.get_varint(blob, at, end)
        if at < 0 or head & 1 != 0:
            return -1
        at = read_touch(arena, meta, row, columns, params, blob, at, end, head >> 1)
        if at < 0:
            return -1
    row[t.E_BASE] = touches
    return tilecodec.read(arena, meta, row, series, columns, blob, at, end)


@inlined
def read_touch(
    arena: Words, meta: Words, row: Words, columns: Words, params: Words, blob: Bytes, at: int, end: int, mask: int
) -> int:
    """Read a touch to the end of the log; the position after it, -1 where the bytes or the arena end first."""
    position = row[t.E_NEXT]
    if row[t.E_CAP] <= position and not p.reserve(arena, meta, row, params[t.P_WIDTH], position + 1):
        return -1
    start = row[t.E_START]
    cap = row[t.E_CAP]
    zigzag, at = c.get_varint(blob, at, end)
    present, at = c.get_varint(blob, at, end)
    if at < 0 or present >> columns.shape[0] != 0:
        return -1
    time = row[t.E_LAST] + ((zigzag >> 1) ^ -(zigzag & 1))
    arena[start + position] = time
    arena[start + t.R_MASK * cap + position] = mask
    arena[start + t.R_SEQ * cap + position] = position
    for column in range(columns.shape[0]):
        values = start + (t.R_COLUMNS + column) * cap
        kind = columns[column, t.C_KIND]
        if (present >> column) & 1 == 0:
            arena[values + position] = MISSING[kind]
        else:
            arena[values + position], at = read_value(arena, values, position, blob, at, end, kind)
            if at < 0:
                return -1
        if kind == t.KIND_MONEY:
            log.note_exponent(row, column, arena[values + position])
    row[t.E_AND] &= mask
    row[t.E_LEN] = row[t.E_NEXT] = position + 1
    row[t.E_LAST] = row[t.E_SEEN] = time
    if params[t.P_AGES] != 0:
        row[t.E_FIRST] = min(row[t.E_FIRST], time)
    return at


@inlined
def read_value(arena: Words, values: int, position: int, blob: Bytes, at: int, end: int, kind: int) -> tuple[int, int]:
    """Read one present value of a column."""
    if kind == t.KIND_MONEY:
        return c.get_varint(blob, at, end)
    if kind == t.KIND_FLOAT:
        return c.get_word(blob, at, end)
    distance, at = c.get_varint(blob, at, end)
    if at < 0 or distance > position:
        return 0, -1
    if distance > 0:
        return arena[values + position - distance], at
    return c.get_word(blob, at, end)


MISSING = np.array([-1, np.array(np.nan).view(np.int64).item(), 0], np.int64)
"""The word of a missing value, by kind of column."""
