"""Distinct values of a hot entity: when each was last seen, for all of them or for a sample whose rate adapts.

Level 0 keeps every value, level l one in 2^l (by bits of its hash), each the most recent `sample` to one and a half
times as many, and up to which time it has forgotten. A window is read from the lowest level that has forgotten nothing
of it, so at least half a sample of values is counted there: 4,096 by default, a standard error of 1.6 % at worst.

Source: Gibbons and Tirthapura 2002, "Distributed streams algorithms for sliding windows". Of a value two
sights are kept: the latest, and the latest that is no longer in the log. So an event on time is counted from the former
alone, and for a late event, after which values were seen again, the latter and the log together have all before it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import pool as p
from engine.features.jit import njit

Words = NDArray[np.int64]

LEVELS_MAX: Final = 24
LEVEL_SHIFT: Final = 20  # hash bits from here on choose the level, those below the place in a table
HEADER_CLASS: Final = 7
HEADER_LEVELS: Final = 0
L_START: Final = 0
L_CLASS: Final = 1  # of the chunk: half of it hashes, half times
L_COUNT: Final = 2
L_FORGOTTEN: Final = 3  # latest time forgotten, -1 of none
L_FOLDED: Final = 4  # start of the latest sights out of the log, a chunk of half the size
L_WIDTH: Final = 5
FIRST_CLASS: Final = 9


@njit
def level_at(block: int, level: int) -> int:
    """Where the four words of a level stand."""
    return block + 1 + L_WIDTH * level


@njit
def on_level(value: int, level: int) -> bool:
    """Whether a hash is sampled on a level."""
    return (value >> LEVEL_SHIFT) & ((1 << level) - 1) == 0


@njit
def slots_of(size_class: int) -> int:
    """Places in a table of a chunk class."""
    return 1 << (size_class - 1)


@njit
def tight(arena: Words, block: int, value: int) -> bool:
    """Whether adding `value` may have to allocate."""
    for level in range(arena[block + HEADER_LEVELS]):
        at = level_at(block, level)
        slots = slots_of(arena[at + L_CLASS])
        if on_level(value, level) and 4 * (arena[at + L_COUNT] + 1) > 3 * slots:
            return True
    return False


@njit
def words_needed(sample: int, values: int) -> int:
    """Words of the arena that adding so many values may take at most.

    A table is filled anew beside the old one, and levels are added: each needs three eighths of a sample of values
    (`make_room`), but for the first. More than one value may let a table grow through all sizes.
    """
    tables = 1 + min(LEVELS_MAX, 1 + 8 * values // (3 * sample)) + (2 if values > 1 else 0)
    full = 1 << table_class(sample)
    return tables * (full + full // 2) + (1 << HEADER_CLASS)


@njit
def table_class(sample: int) -> int:
    """Chunk class of a table of full size."""
    size_class = FIRST_CLASS
    while 3 * slots_of(size_class) < 4 * (sample + sample // 2):
        size_class += 1
    return size_class


@njit
def start(arena: Words, meta: Words) -> int:
    """A new, empty block; the arena has the room."""
    block = p.allocate(arena, meta, HEADER_CLASS)
    arena[block + HEADER_LEVELS] = 0
    add_level(arena, meta, block, FIRST_CLASS)
    return block


@njit
def add_level(arena: Words, meta: Words, block: int, size_class: int) -> None:
    """Append an empty level."""
    level = arena[block + HEADER_LEVELS]
    at = level_at(block, level)
    clear_table(arena, meta, at, size_class)
    arena[at + L_FORGOTTEN] = -1
    arena[block + HEADER_LEVELS] = level + 1


@njit
def clear_table(arena: Words, meta: Words, at: int, size_class: int) -> None:
    """Give a level a new, empty table: hashes 0 and, so that a scan need only look at times, times -1."""
    table = p.allocate(arena, meta, size_class)
    slots = slots_of(size_class)
    arena[table : table + slots] = 0
    arena[table + slots : table + 2 * slots] = -1
    folded = p.allocate(arena, meta, size_class - 1)
    arena[folded : folded + slots] = -1
    arena[at + L_FOLDED] = folded
    arena[at + L_START] = table
    arena[at + L_CLASS] = size_class
    arena[at + L_COUNT] = 0


@njit
def drop(arena: Words, meta: Words, block: int) -> None:
    """Hand a block and its tables back."""
    for level in range(arena[block + HEADER_LEVELS]):
        at = level_at(block, level)
        p.release(arena, meta, arena[at + L_START], arena[at + L_CLASS])
        p.release(arena, meta, arena[at + L_FOLDED], arena[at + L_CLASS] - 1)
    p.release(arena, meta, block, HEADER_CLASS)


@njit
def place(arena: Words, at: int, value: int) -> int:
    """Where a hash stands in the table of the level at `at`, or would."""
    table = arena[at + L_START]
    slots = slots_of(arena[at + L_CLASS])
    k = value & (slots - 1)
    while arena[table + k] != 0 and arena[table + k] != value:
        k = (k + 1) & (slots - 1)
    return int(table + k)


@njit
def put(arena: Words, at: int, value: int, time: int, folded: int) -> int:
    """Note that a value was seen; when it was last seen before, -1 of never (or forgotten). There is room.

    `folded` is its latest sight out of the log, -1 of none; that of a value already noted stays.
    """
    slots = slots_of(arena[at + L_CLASS])
    k = place(arena, at, value)
    if arena[k] == 0:
        arena[k] = value
        arena[k + slots] = time
        arena[arena[at + L_FOLDED] + k - arena[at + L_START]] = folded
        arena[at + L_COUNT] += 1
        return -1
    before = arena[k + slots]
    arena[k + slots] = max(before, time)
    return int(before)


@njit
def seen(arena: Words, block: int, value: int) -> int:
    """When a value was last seen, -1 of never (or forgotten)."""
    at = level_at(block, 0)
    k = place(arena, at, value)
    return int(arena[k + slots_of(arena[at + L_CLASS])]) if arena[k] != 0 else -1


@njit
def leaves_log(arena: Words, block: int, value: int, time: int) -> None:
    """Note on every level that a sight of a value leaves the log."""
    for level in range(arena[block + HEADER_LEVELS]):
        at = level_at(block, level)
        k = place(arena, at, value) if on_level(value, level) else -1
        if k >= 0 and arena[k] != 0:
            folded = arena[at + L_FOLDED] + k - arena[at + L_START]
            arena[folded] = max(arena[folded], time)


@njit
def add(arena: Words, meta: Words, block: int, value: int, time: int, sample: int) -> int:
    """Note on every level that a value was seen; when it was last seen before. The arena has the room."""
    before = -1
    level = 0
    while level < arena[block + HEADER_LEVELS]:
        if not on_level(value, level):
            break
        at = level_at(block, level)
        k = place(arena, at, value)
        if arena[k] == 0:
            make_room(arena, meta, block, level, sample)
        if time > arena[at + L_FORGOTTEN]:
            was = put(arena, at, value, time, -1)
            before = was if level == 0 else before
        level += 1
    return before


@njit
def make_room(arena: Words, meta: Words, block: int, level: int, sample: int) -> None:
    """Let a level take one more value: a bigger table, or the oldest values forgotten."""
    at = level_at(block, level)
    if arena[at + L_COUNT] + 1 > sample + sample // 2:
        last = level + 1 == arena[block + HEADER_LEVELS] and level + 1 < LEVELS_MAX
        # Hashes made up so that most are on the next level too gain nothing there, and would fill level after level.
        if last and 8 * sampled(arena, at, level + 1) <= 9 * sample:
            add_level(arena, meta, block, table_class(sample))
            upper = level_at(block, level + 1)
            copy(arena, at, upper, level + 1)
            arena[upper + L_FORGOTTEN] = arena[at + L_FORGOTTEN]
        oldest_kept = forget_until(arena, at, sample)
        rebuild(arena, meta, at, arena[at + L_CLASS], oldest_kept)
        arena[at + L_FORGOTTEN] = max(arena[at + L_FORGOTTEN], oldest_kept)
    elif 4 * (arena[at + L_COUNT] + 1) > 3 * slots_of(arena[at + L_CLASS]):
        rebuild(arena, meta, at, arena[at + L_CLASS] + 1, -1)


@njit
def forget_until(arena: Words, at: int, sample: int) -> int:
    """The time up to which values are forgotten, so that at most `sample` are left."""
    table = arena[at + L_START]
    slots = slots_of(arena[at + L_CLASS])
    times = np.empty(arena[at + L_COUNT], np.int64)
    count = 0
    for k in range(table, table + slots):
        if arena[k] != 0:
            times[count] = arena[k + slots]
            count += 1
    times.sort()
    return int(times[count - sample - 1])


@njit
def rebuild(arena: Words, meta: Words, at: int, size_class: int, after: int) -> None:
    """Move a level to a new table of the given class, leaving out what was last seen at `after` or before."""
    old_start, old_class, old_folded = arena[at + L_START], arena[at + L_CLASS], arena[at + L_FOLDED]
    clear_table(arena, meta, at, size_class)
    slots = slots_of(old_class)
    for k in range(old_start, old_start + slots):
        if arena[k] != 0 and arena[k + slots] > after:
            put(arena, at, arena[k], arena[k + slots], arena[old_folded + k - old_start])
    p.release(arena, meta, old_start, old_class)
    p.release(arena, meta, old_folded, old_class - 1)


@njit
def sampled(arena: Words, at: int, level: int) -> int:
    """How many values of the level at `at` are sampled on another."""
    table = arena[at + L_START]
    count = 0
    for k in range(table, table + slots_of(arena[at + L_CLASS])):
        count += arena[k] != 0 and on_level(arena[k], level)
    return count


@njit
def copy(arena: Words, source: int, target: int, level: int) -> None:
    """Copy the values of one level that are sampled on another."""
    table = arena[source + L_START]
    slots = slots_of(arena[source + L_CLASS])
    for k in range(table, table + slots):
        if arena[k] != 0 and on_level(arena[k], level):
            put(arena, target, arena[k], arena[k + slots], arena[arena[source + L_FOLDED] + k - table])
