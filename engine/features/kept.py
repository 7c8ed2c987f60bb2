"""Stored logs in memory: what stands in for the store once an unbacked state has gone over to another plan.

A log written under one plan is read under another through its stored form, whoever keeps it. So a state without a
store gives, after a change of plan, the very values that one with a store gives.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import KEY_FEATURE, SET, unpack
from engine.features import codec, fold, tilecodec
from engine.features import tables as t
from engine.features.groups import GroupPlan
from engine.features.jit import njit
from engine.features.pool import Pool

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(slots=True)
class Kept:
    """The stored logs of the groups that have been through a change of plan.

    Attributes:
        groups: ids of those groups.
        logs: stored value by state key.
    """

    groups: set[int] = field(default_factory=set)
    logs: dict[bytes, bytearray] = field(default_factory=dict)

    def take(self, group: GroupPlan, pool: Pool) -> None:
        """Store every entity of a pool. The pool's logs are left in another order: it is of no more use."""
        self.groups.add(group.id)
        buffer = np.empty(1 << 16, np.uint8)
        for slot in np.flatnonzero(pool.entities[: pool.meta[t.M_SLOTS], t.E_KEY]):
            row = pool.entities[slot]
            bound = codec.bound(row[t.E_LEN], len(group.columns), fold.words_held(pool.arena, row, group.series))
            if bound > len(buffer):
                buffer = np.empty(2 * bound, np.uint8)
            end = put_entity(buffer, pool.arena, row, group.columns, group.series, group.params[t.P_WIDTH])
            self.logs[state_key(group.id, int(row[t.E_KEY]))] = bytearray(buffer[:end].tobytes())

    def apply(self, packed: bytes) -> None:
        """Take in what the kernel wrote for a store."""
        for op in unpack(packed):
            if op.kind == SET:
                self.logs[op.key] = bytearray(op.value)
            else:
                self.logs.setdefault(op.key, bytearray()).extend(op.value)

    def memory_bytes(self) -> int:
        """Bytes of all values."""
        return sum(map(len, self.logs.values()))


def state_key(group: int, entity: int) -> bytes:
    """The state key of an entity of a group, by its hash."""
    return KEY_FEATURE + group.to_bytes(2, "little") + entity.to_bytes(8, "little", signed=True)


@njit
def put_entity(buffer: Bytes, arena: Words, row: Words, columns: Words, series: Words, width: int) -> int:
    """Write what a store would hold of an entity: its last snapshot, then what arrived since. Returns the length."""
    length, base = row[t.E_LEN], row[t.E_BASE]
    order_by_arrival(arena, row, width)
    row[t.E_LEN] = base
    at = codec.put_snapshot(buffer, 0, arena, row, columns)
    at = tilecodec.put(buffer, at, arena, row, series, columns)
    row[t.E_LEN] = length
    previous = arena[row[t.E_START] + base - 1] if base > 0 else 0
    for j in range(base, length):
        at = codec.put_touch(buffer, at, arena, row, columns, j, previous, False)
        previous = arena[row[t.E_START] + j]
    return at


@njit
def order_by_arrival(arena: Words, row: Words, width: int) -> None:
    """Put the touches of a log into the order of the stored record."""
    start, cap = row[t.E_START], row[t.E_CAP]
    for j in range(row[t.E_LEN]):
        while arena[start + t.R_SEQ * cap + j] != j:
            k = arena[start + t.R_SEQ * cap + j]
            for r in range(width):
                base = start + r * cap
                held = arena[base + j]
                arena[base + j] = arena[base + k]
                arena[base + k] = held
