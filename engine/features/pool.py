"""Memory of a group: one arena of 64-bit words in power-of-two chunks, entity rows, and an open-addressing index.

A log chunk keeps its touches column by column, so that a loop over a window reads consecutive words. Growing the arena
happens outside the kernels: they stop before they change anything, say what they need, and are called again.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import tables as t
from engine.features.jit import inlined, njit

Words = NDArray[np.int64]
ARENA_WORDS_MIN: Final = 1 << 14
SLOTS_MIN: Final = 64
WARM_ROWS: Final = 4


@dataclass(slots=True)
class Pool:
    """The arrays of one group (`engine.features.tables` names their columns)."""

    arena: Words
    entities: Words
    index: Words
    meta: Words

    @classmethod
    def empty(cls, columns: int) -> "Pool":
        """A pool without entities, for logs of `columns` columns."""
        meta = np.full(t.M_WIDTH, -1, np.int64)
        meta[: t.M_FREE] = 0
        meta[t.M_SLOT_FREE] = -1
        return cls(
            arena=np.zeros(ARENA_WORDS_MIN, np.int64),
            entities=np.zeros((SLOTS_MIN, t.E_UNIFORM + columns), np.int64),
            index=np.full(2 * SLOTS_MIN, -1, np.int64),
            meta=meta,
        )

    def grow(self) -> None:
        """Make room for what a kernel said it needs."""
        if self.meta[t.M_NEED] == t.NEED_ARENA:
            words = len(self.arena)
            while words < self.meta[t.M_TOP] + self.meta[t.M_NEED_SIZE]:
                words *= 2
            self.arena = np.concatenate([self.arena, np.zeros(words - len(self.arena), np.int64)])
        elif self.meta[t.M_NEED] == t.NEED_SLOTS:
            self.entities = np.concatenate([self.entities, np.zeros_like(self.entities)])
            self.index = np.full(2 * len(self.entities), -1, np.int64)
            reindex(self.entities, self.index, self.meta[t.M_SLOTS])
        self.meta[t.M_NEED] = t.NEED_NOTHING

    def memory_bytes(self) -> int:
        """Bytes of all arrays."""
        return self.arena.nbytes + self.entities.nbytes + self.index.nbytes + self.meta.nbytes


@inlined
def find(index: Words, entities: Words, key: int) -> int:
    """Slot of an entity, -1 where it is not resident."""
    mask = len(index) - 1
    at = key & mask
    while index[at] >= 0:
        if entities[index[at], t.E_KEY] == key:
            return int(index[at])
        at = (at + 1) & mask
    return -1


@njit
def reindex(entities: Words, index: Words, slots: int) -> None:
    """Fill an index of -1 with the entities resident in the first `slots` rows."""
    mask = len(index) - 1
    for slot in range(slots):
        key = entities[slot, t.E_KEY]
        if key != 0:
            at = key & mask
            while index[at] >= 0:
                at = (at + 1) & mask
            index[at] = slot


@njit
def blank(row: Words) -> None:
    """Make a row that of an entity nothing is known of."""
    row[:] = 0
    row[t.E_START] = -1
    row[t.E_CLASS] = -1
    row[t.E_FIRST] = t.NEVER
    row[t.E_AND] = -1
    row[t.E_TTL] = -t.NEVER
    row[t.E_SEEN] = -t.NEVER
    row[t.E_TILES] = -1
    row[t.E_UNIFORM :] = t.UNKNOWN


@njit
def absent(index: Words, entities: Words, meta: Words, keys: Words) -> Words:
    """Those of `keys` that are neither 0 nor resident, as often as they occur; the resident ones count as used."""
    found = np.empty(len(keys), np.int64)
    count = 0
    for key in keys:
        if key != 0:
            slot = find(index, entities, key)
            if slot < 0:
                found[count] = key
                count += 1
            else:
                entities[slot, t.E_USED] = meta[t.M_TICK] + 1
    return found[:count]


@njit
def add_entity(index: Words, entities: Words, meta: Words, key: int) -> int:
    """A new entity without touches; its slot, or -1 where the pool must grow first (nothing is changed then)."""
    slot = meta[t.M_SLOT_FREE]
    if slot >= 0:
        meta[t.M_SLOT_FREE] = entities[slot, t.E_START]
    else:
        slot = meta[t.M_SLOTS]
        if slot >= entities.shape[0]:
            meta[t.M_NEED] = t.NEED_SLOTS
            return -1
        meta[t.M_SLOTS] = slot + 1
    meta[t.M_ENTITIES] += 1
    row = entities[slot]
    blank(row)
    row[t.E_KEY] = key
    row[t.E_USED] = meta[t.M_TICK]
    mask = len(index) - 1
    at = key & mask
    while index[at] >= 0:
        at = (at + 1) & mask
    index[at] = slot
    return int(slot)


@njit
def allocate(arena: Words, meta: Words, size_class: int) -> int:
    """A chunk of `1 << size_class` words; its start, or -1 where the arena must grow first."""
    start = meta[t.M_FREE + size_class]
    if start >= 0:
        meta[t.M_FREE + size_class] = arena[start]
        return int(start)
    start = meta[t.M_TOP]
    words = 1 << size_class
    if start + words > len(arena):
        meta[t.M_NEED] = t.NEED_ARENA
        meta[t.M_NEED_SIZE] = words
        return -1
    meta[t.M_TOP] = start + words
    return int(start)


@njit
def release(arena: Words, meta: Words, start: int, size_class: int) -> None:
    """Hand a chunk back."""
    arena[start] = meta[t.M_FREE + size_class]
    meta[t.M_FREE + size_class] = start


@njit
def reserve(arena: Words, meta: Words, row: Words, width: int, touches: int) -> bool:
    """Make the chunk of an entity hold `touches`; False where the arena must grow first."""
    have = row[t.E_CAP]
    if have >= touches:
        return True
    size_class = max(5, row[t.E_CLASS] + 1)
    while (1 << size_class) // width < touches:
        size_class += 1
    start = allocate(arena, meta, size_class)
    if start < 0:
        return False
    length = row[t.E_LEN]
    wider = (1 << size_class) // width
    for r in range(width):
        source = row[t.E_START] + r * have
        target = start + r * wider
        for j in range(length):
            arena[target + j] = arena[source + j]
    if row[t.E_CLASS] >= 0:
        release(arena, meta, row[t.E_START], row[t.E_CLASS])
    row[t.E_START] = start
    row[t.E_CLASS] = size_class
    row[t.E_CAP] = wider
    return True


@inlined
def upper_bound(arena: Words, start: int, length: int, time: int) -> int:
    """Touches of a log with a time of at most `time`."""
    if length == 0 or arena[start + length - 1] <= time:
        return length
    low, high = 0, length - 1
    while low < high:
        middle = (low + high) >> 1
        if arena[start + middle] <= time:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def warm(arena: Words, entities: Words, index: Words, keys: Words, first: int, width: int) -> int:
    """Read a word of everything a batch will need, so that the processor fetches it all at once instead of by turns.

    Returns their combination, only so that no compiler leaves the reads out. It changes nothing but the time taken.
    """
    words = 0
    for i in range(first, len(keys)):
        slot = find(index, entities, keys[i])
        if slot >= 0 and entities[slot, t.E_LEN] > 0:
            last = entities[slot, t.E_START] + entities[slot, t.E_LEN] - 1
            for r in range(min(WARM_ROWS, width)):
                words ^= arena[last + r * entities[slot, t.E_CAP]]
    return words
