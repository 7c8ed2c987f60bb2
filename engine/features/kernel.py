"""The kernel: one micro-batch through the logs of one group, event by event, in log order.

For each event: find the entity, insert the touch where its time puts it, then read every feature as of the event's own
time. It stops before an event for which a pool is too small, and is called again from there.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import aggregates as a
from engine.features import codec, fold, frauds, hot, log, tilecodec
from engine.features import definition as d
from engine.features import pool as p
from engine.features import tables as t
from engine.features.before import hash_changed, last_number, number_changed
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

BATCH_TO_WARM: Final = 16
"""From this many events on, fetching what they need ahead of time pays."""


@njit
def pack_money(minor: Words, exponent: NDArray[np.int8], base_minor: Words, base_exponent: NDArray[np.int8]) -> Words:
    """Both amounts as `minor << 3 | exponent`, -1 where missing, `(2, n)`."""
    packed = np.empty((2, len(minor)), np.int64)
    for i in range(len(minor)):
        packed[0, i] = (minor[i] << 3) | np.int64(exponent[i]) if exponent[i] >= 0 else -1
        packed[1, i] = (base_minor[i] << 3) | np.int64(base_exponent[i]) if base_exponent[i] >= 0 else -1
    return packed


@njit
def update(
    arena: Words, floats: Floats, entities: Words, index: Words, meta: Words,
    features: Words, windows: Words, bits: Words, columns: Words, series: Words,
    params: Words, keys: Words, times: Words, strings: Words, money: Words, numbers: Floats, filters: Bools,
    wanted: Bools, out: Floats, scratch: Words, ops: Bytes, ends: Words, first: int,
) -> int:  # fmt: skip
    """Process the events from `first` on; returns how far it got (see `M_NEED` where that is not the end).

    `ends`: gets the length of `ops` after each event, of a shared group.
    """
    lows = np.zeros(len(windows), np.int64)
    noted = np.zeros(series.shape[0], np.int64)
    nobody = np.zeros(entities.shape[1], np.int64)
    p.blank(nobody)
    shared = params[t.P_SHARED] != 0
    if len(times) - first >= BATCH_TO_WARM:
        scratch[0] = p.warm(arena, entities, index, keys, first, params[t.P_WIDTH])
    for i in range(first, len(times)):
        key, time = keys[i], times[i]
        if shared:
            ends[i] = meta[t.M_OPS]
        if key == 0:
            for f in range(features.shape[0]):
                out[features[f, t.F_OUT], i] = np.nan
            continue
        mask = matching_filters(bits, filters, i)
        slot = p.find(index, entities, key)
        if slot < 0 and (mask != 0 or params[t.P_AGES] != 0):
            slot = p.add_entity(index, entities, meta, key)
            if slot < 0:
                return i
        row = entities[slot] if slot >= 0 else nobody
        compaction = mask != 0 and not shared and log.due(row, params)
        if slot >= 0 and not room(arena, meta, row, mask, columns, series, params, strings, i, compaction, ops):
            return i
        row[t.E_USED] = meta[t.M_TICK]
        aged = params[t.P_AGES] != 0 and time < row[t.E_FIRST]
        if aged:
            row[t.E_FIRST] = time
        previous = row[t.E_LAST]
        before = p.upper_bound(arena, row[t.E_START], row[t.E_LEN], time)
        if mask != 0:
            log.insert(arena, floats, row, columns, params[t.P_WIDTH], before, time, mask, strings, money, numbers, i)
        if row[t.E_TILES] >= 0:
            hot.note(arena, meta, row, series, columns, params, mask, time, strings, i, noted)
        if wanted[i]:
            after = before + 1 if mask != 0 else before
            window_lows(arena, row[t.E_START], after, windows, time, lows)
            read(
                arena, floats, row, features, windows, columns, lows, before, after, time, strings, money, numbers, i,
                scratch, noted, out,
            )  # fmt: skip
        else:
            for f in range(features.shape[0]):
                out[features[f, t.F_OUT], i] = np.nan
        if compaction:
            compact(arena, floats, row, columns, series, bits, params, meta, ops)
        elif params[t.P_BACKED] != 0:
            if mask != 0:
                codec.append_touch(ops, meta, arena, row, columns, params, before, previous)
            elif params[t.P_AGES] != 0 and (aged or abs(time - row[t.E_SEEN]) >= codec.SEEN_REFRESH_MS):
                codec.append_first_seen(ops, meta, row, params, time)
            if shared:
                ends[i] = meta[t.M_OPS]
    return len(times)


@inlined
def room(
    arena: Words, meta: Words, row: Words, mask: int, columns: Words, series: Words, params: Words, strings: Words,
    i: int, compaction: bool, ops: Bytes,
) -> bool:  # fmt: skip
    """Whether log, tiles and operations have room for whatever one more event may need; the log then has it."""
    if (
        mask != 0
        and row[t.E_LEN] == row[t.E_CAP]
        and not p.reserve(arena, meta, row, params[t.P_WIDTH], row[t.E_LEN] + 1)
    ):
        return False
    words = 0
    if compaction:
        words = fold.words_needed(arena, row, series, columns, params)
    if row[t.E_TILES] >= 0 and hot.tight(arena, row, series, columns, mask, strings, i):
        words += hot.words_to_note(series, params)
    if words > 0 and not tilecodec.roomy(arena, meta, words):
        return False
    if params[t.P_BACKED] == 0:
        return True
    held = words + fold.words_held(arena, row, series) if compaction else 0
    needed = codec.bound(row[t.E_LEN] + 1 if compaction else 1, columns.shape[0], held)
    if meta[t.M_OPS] + needed > len(ops):
        meta[t.M_NEED] = t.NEED_OPS
        meta[t.M_NEED_SIZE] = needed
        return False
    return True


@njit
def compact(
    arena: Words, floats: Floats, row: Words, columns: Words, series: Words, bits: Words, params: Words, meta: Words,
    ops: Bytes,
) -> None:  # fmt: skip
    """Trim a log, fold what is too much of it, and store it whole."""
    now = log.recent_time(arena, row, params[t.P_WIDTH])
    log.trim(arena, row, params[t.P_WIDTH], bits, now)
    fold.fold(arena, floats, meta, row, columns, series, params, now)
    log.squeeze(arena, row, columns, params[t.P_WIDTH])
    if params[t.P_BACKED] != 0:
        tilecodec.store_snapshot(ops, meta, arena, row, columns, series, params)


@inlined
def read(
    arena: Words, floats: Floats, row: Words, features: Words, windows: Words, columns: Words, lows: Words,
    before: int, after: int, time: int, strings: Words, money: Words, numbers: Floats, i: int, scratch: Words,
    noted: Words, out: Floats,
) -> None:  # fmt: skip
    """Every feature of the group as of `time`: over the touches `[low, before)`, with the current event `[low, after)`.

    One flat loop, calling functions of few arrays: an array handed to a call costs more than a short window does.
    """
    tiled = row[t.E_TILES] >= 0
    start = row[t.E_START]
    masks = start + t.R_MASK * row[t.E_CAP]
    for f in range(features.shape[0]):
        if tiled and hot.reaches(arena, row, features, f, windows, columns, time):
            out[features[f, t.F_OUT], i] = hot.evaluate(
                arena, floats, row, features, f, windows, columns, lows, before, after, time, strings, i, scratch,
                noted,
            )  # fmt: skip
            continue
        op, bit, column = features[f, t.F_OP], features[f, t.F_BIT], features[f, t.F_COLUMN]
        low = lows[features[f, t.F_WINDOW]] if features[f, t.F_WINDOW] >= 0 else 0
        every = (row[t.E_AND] >> bit) & 1 == 1
        values = start + (t.R_COLUMNS + column) * row[t.E_CAP]
        uniform = row[t.E_UNIFORM + column] if features[f, t.F_KIND] == t.KIND_MONEY else t.MIXED
        if op == d.COUNT:
            value = float(after - low) if every else float(a.matching(arena, masks, low, after, bit, every))
        elif uniform >= 0 and op <= d.MEAN:
            whole, count = a.money_sum(arena, values, masks, low, after, bit, every)
            value = a.quotient(op, float(whole), float(a.POWERS[uniform]), count)
        elif uniform >= 0 and op <= d.MAX:
            best = a.money_extreme(arena, values, masks, low, after, bit, every, op == d.MAX)
            value = float(best >> 3) / float(a.POWERS[uniform]) if best >= 0 else np.nan
        elif op <= d.STD:
            value = a.number(
                arena, floats, op, values, masks, low, after, bit, every, features[f, t.F_KIND], uniform, scratch
            )
        elif op == d.DISTINCT:
            value = float(a.distinct(arena, values, masks, low, after, bit, every, scratch))
        elif op == d.SINCE_LAST:
            value = a.seconds_since(time, a.latest(arena, start, masks, low, before, bit))
        elif op == d.AGE:
            value = float(time - row[t.E_FIRST]) / 1000.0
        elif op == d.IS_NEW:
            value = a.novelty(arena, values, masks, low, before, bit, strings[columns[column, t.C_ROW], i])
        elif op == d.SINCE_FIRST:
            after_ms = time - windows[features[f, t.F_WINDOW]]
            value = frauds.since_first(arena, row, columns, bit, low, after, after_ms, time)
        elif op == d.RATE_SINCE:
            after_ms = time - windows[features[f, t.F_WINDOW]]
            value = frauds.rate_since(arena, floats, row, columns, bit, low, after, after_ms, time)
        elif op >= d.FRAUDS:
            after_ms = time - windows[features[f, t.F_WINDOW]]
            value = frauds.counted(arena, floats, row, columns, op, low, after, after_ms, time)
        elif op == d.LAST:
            value = last_number(arena, floats, values, masks, low, before, bit, features[f, t.F_KIND])
        elif features[f, t.F_KIND] == t.KIND_HASH:
            value = hash_changed(arena, values, masks, low, before, bit, strings[columns[column, t.C_ROW], i])
        else:
            source, kind = columns[column, t.C_ROW], features[f, t.F_KIND]
            current = numbers[source, i] if kind == t.KIND_FLOAT else a.major_units(money[source, i])
            value = number_changed(arena, floats, values, masks, low, before, bit, kind, current)
        out[features[f, t.F_OUT], i] = value


@inlined
def matching_filters(bits: Words, filters: Bools, i: int) -> int:
    """The mask of an event."""
    mask = 0
    for b in range(bits.shape[0]):
        if filters[bits[b, t.B_FILTER], i]:
            mask |= 1 << bits[b, t.B_BIT]
    return mask


@inlined
def window_lows(arena: Words, start: int, high: int, windows: Words, time: int, lows: Words) -> None:
    """First touch of every window `(time - window, time]`; windows ascend, so each search ends where the last did."""
    for w in range(len(windows)):
        high = p.upper_bound(arena, start, high, time - windows[w])
        lows[w] = high
