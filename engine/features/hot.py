"""Features of a hot entity: the log for what is recent, tiles for the rest of the window."""

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import definition as d
from engine.features import recency, recencyquery, tilequery, tiles
from engine.features import tables as t
from engine.features.jit import njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]


@njit
def tight(arena: Words, row: Words, series: Words, columns: Words, mask: int, strings: Words, i: int) -> bool:
    """Whether noting the values of event `i` may have to allocate."""
    for s in range(series.shape[0]):
        block = tiles.block_of(arena, row, s)
        if series[s, t.S_KIND] == t.SERIES_RECENCY and block >= 0 and (mask >> series[s, t.S_BIT]) & 1:
            value = strings[columns[series[s, t.S_COLUMN], t.C_ROW], i]
            if value != 0 and recency.tight(arena, block, value):
                return True
    return False


@njit
def words_to_note(series: Words, params: Words) -> int:
    """Words of the arena that noting the values of one event may take at most."""
    return int(np.sum(series[:, t.S_KIND] == t.SERIES_RECENCY) * recency.words_needed(params[t.P_SAMPLE], 1))


@njit
def note(
    arena: Words, meta: Words, row: Words, series: Words, columns: Words, params: Words, mask: int, time: int,
    strings: Words, i: int, before: Words,
) -> None:  # fmt: skip
    """Note the values of event `i` in its recency series; `before[s]` becomes when each was last seen before."""
    for s in range(series.shape[0]):
        before[s] = -1
        block = tiles.block_of(arena, row, s)
        if series[s, t.S_KIND] != t.SERIES_RECENCY or block < 0:
            continue
        value = strings[columns[series[s, t.S_COLUMN], t.C_ROW], i]
        if value == 0:
            continue
        if (mask >> series[s, t.S_BIT]) & 1:
            before[s] = recency.add(arena, meta, block, value, time, params[t.P_SAMPLE])
        else:
            before[s] = recency.seen(arena, block, value)


@njit
def reaches(arena: Words, row: Words, features: Words, f: int, windows: Words, columns: Words, time: int) -> bool:
    """Whether the window of a feature reaches into tiles."""
    if features[f, t.F_HOME] < 0:
        return False
    after = time - windows[features[f, t.F_WINDOW]] if features[f, t.F_WINDOW] >= 0 else -1
    return bool(tiles.frontier(arena, row, features[f, t.F_HOME], tiles.numbers_of(columns)) > after)


@njit
def evaluate(
    arena: Words, floats: Floats, row: Words, features: Words, f: int, windows: Words, columns: Words, lows: Words,
    before: int, until: int, time: int, strings: Words, i: int, scratch: Words, noted: Words,
) -> float:  # fmt: skip
    """One feature whose window reaches into tiles; the arguments are those of `kernel.evaluate`."""
    op = features[f, t.F_OP]
    bit = features[f, t.F_BIT]
    after = time - windows[features[f, t.F_WINDOW]] if features[f, t.F_WINDOW] >= 0 else -1
    low = lows[features[f, t.F_WINDOW]] if features[f, t.F_WINDOW] >= 0 else 0
    start = row[t.E_START]
    cap = row[t.E_CAP]
    masks = start + t.R_MASK * cap
    column = features[f, t.F_COLUMN]
    values = start + (t.R_COLUMNS + column) * cap
    block = tiles.block_of(arena, row, features[f, t.F_HOME])
    fit = tiles.buckets_that_fit(arena[row[t.E_TILES] + 2 * features[f, t.F_HOME] + 1], tiles.numbers_of(columns))
    if op == d.COUNT:
        exact = a.matching(arena, masks, low, until, bit, (row[t.E_AND] >> bit) & 1 == 1)
        tile = tilequery.cut(arena, block, fit, after, time)
        row_n = block + tiles.H_WORDS + tiles.B_N * fit
        return float(exact + np.rint(tilequery.row_total(floats, row_n, tile[0], tile[1], tile[2], tile[3])))
    if op == d.SINCE_LAST:
        seen = max(a.latest(arena, start, masks, low, before, bit), tilequery.last_until(arena, block, fit, time))
        return float(time - seen) / 1000.0 if seen > after and seen >= 0 else np.nan
    if op == d.DISTINCT:
        kept = tiles.block_of(arena, row, features[f, t.F_SERIES])
        if kept < 0:  # declared after the last fold, and warming
            return float(a.distinct(arena, values, masks, low, until, bit, False, scratch))
        level = recencyquery.level_for(arena, kept, after)
        late = until < row[t.E_LEN]
        different = recencyquery.last_seen_within(arena, kept, level, late, after, time)
        if late:
            different += recencyquery.only_in_log(
                arena, kept, level, values, masks, low, until, bit, after, time, scratch
            )
        return float(different << level)
    if op == d.IS_NEW:
        value = strings[columns[column, t.C_ROW], i]
        if value == 0:
            return np.nan
        known = noted[features[f, t.F_SERIES]] > after
        return 0.0 if known or a.holds(arena, values, masks, low, before, bit, value) else 1.0
    every = (row[t.E_AND] >> bit) & 1 == 1
    uniform = row[t.E_UNIFORM + column]
    kind = features[f, t.F_KIND]
    rows = block + tiles.H_WORDS + (tiles.B_NUMBERS + tiles.N_WIDTH * columns[column, t.C_NUMBER]) * fit
    tile = tilequery.cut(arena, block, fit, after, time)
    if d.MIN <= op <= d.MAX:
        near = a.number(arena, floats, op, values, masks, low, until, bit, every, kind, uniform, scratch)
        far = tilequery.extreme_of(floats, rows, rows + (3 if op == d.MIN else 4) * fit, tile[0], tile[1], op == d.MAX)
        if near != near or far != far:
            return far if near != near else near
        return max(near, far) if op == d.MAX else min(near, far)
    total, scale, count = a.total_of(arena, floats, values, masks, low, until, bit, every, kind, uniform, scratch)
    total = total / scale + tilequery.row_total(floats, rows + fit, tile[0], tile[1], tile[2], tile[3])
    if op == d.SUM:
        return total
    events = float(count) + tilequery.row_total(floats, rows, tile[0], tile[1], tile[2], tile[3])
    if events == 0.0:
        return np.nan
    mean = total / events
    if op == d.MEAN:
        return mean
    if kind == t.KIND_MONEY and uniform >= 0:
        squares = a.money_squares(arena, values, masks, low, until, bit, every, mean * scale) / (scale * scale)
    else:
        squares = a.squares_about(arena, floats, values, masks, low, until, bit, kind, mean)
    squares += tilequery.squares_total(floats, rows, fit, tile[0], tile[1], tile[2], tile[3], mean)
    return float(np.sqrt(squares / events))
