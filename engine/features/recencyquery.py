"""Counting values out of a recency series (`engine.features.recency`) and the log."""

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit
from engine.features.recency import (
    HEADER_LEVELS,
    L_CLASS,
    L_FOLDED,
    L_FORGOTTEN,
    L_START,
    level_at,
    on_level,
    place,
    slots_of,
)

Words = NDArray[np.int64]


@njit
def level_for(arena: Words, block: int, after: int) -> int:
    """The lowest level that has forgotten nothing after a time."""
    level = 0
    while level + 1 < arena[block + HEADER_LEVELS] and arena[level_at(block, level) + L_FORGOTTEN] > after:
        level += 1
    return level


@njit
def last_seen_within(arena: Words, block: int, level: int, out_of_log: bool, after: int, until: int) -> int:
    """How many values of a level were last seen in `(after, until]`, or last so out of the log."""
    at = level_at(block, level)
    slots = slots_of(arena[at + L_CLASS])
    times = arena[at + L_FOLDED] if out_of_log else arena[at + L_START] + slots
    count = 0
    for k in range(times, times + slots):
        count += (arena[k] > after) & (arena[k] <= until)
    return int(count)


@njit
def only_in_log(
    arena: Words, block: int, level: int, values: int, masks: int, low: int, high: int, bit: int, after: int,
    until: int, table: Words,
) -> int:  # fmt: skip
    """How many values of a level touches `[low, high)` of the log have, beyond those out of it in `(after, until]`.

    `table` is scratch of at least twice as many words, a power of two.
    """
    at = level_at(block, level)
    shift = arena[at + L_FOLDED] - arena[at + L_START]
    size = 16
    while size < 2 * (high - low):
        size *= 2
    table[:size] = 0
    count = 0
    for j in range(low, high):
        value = arena[values + j]
        if value == 0 or (arena[masks + j] >> bit) & 1 == 0 or not on_level(value, level):
            continue
        k = value & (size - 1)
        while table[k] != 0 and table[k] != value:
            k = (k + 1) & (size - 1)
        if table[k] != 0:
            continue
        table[k] = value
        k = place(arena, at, value)
        folded = arena[k + shift] if arena[k] != 0 else -1
        if folded <= after or folded > until:
            count += 1
    return count
