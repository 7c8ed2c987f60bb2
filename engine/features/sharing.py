"""Entities that the events of several shards touch: where their logs are, and how they are written there.

A group whose `by` names neither the customer nor the payment has entities (a device, an address, a merchant) that
customers of every partition meet. With several shards, the log of such an entity is stored in one of them, its home:
entity hash modulo shards. It is loaded for each batch that names it and forgotten after. What the batch adds is
appended to it, wherever it is, and appends of several shards may come in any order: so each stands for itself
(`engine.features.codec`, loose touches). To trim and fold a log is to replace what was loaded of it, and to leave alone
what was appended since (`engine.domain.ops.rewrite`): whoever loads a log that is due does so, and the first one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import HEADER, pack, rewrite
from engine.features import codec, fold, kernel, tilecodec
from engine.features import tables as t
from engine.features.groups import GroupPlan
from engine.features.pool import Pool

ARENA_WORDS_KEPT: Final = 1 << 19
"""A pool that a batch of hot entities has made larger is given back."""


class UnknownTouches(ValueError):
    """A shared log holds something the layout at hand does not name: another shard knows a later one."""


@dataclass(slots=True)
class Touches:
    """What a batch does to entities at home in one shard.

    Attributes:
        rows: of the batch, from which each operation comes.
        ops: as many operations, packed each.
    """

    rows: list[int] = field(default_factory=list)
    ops: list[bytes] = field(default_factory=list)

    def extend(self, rows: Sequence[int], ops: Sequence[bytes]) -> None:
        """Add operations of further rows."""
        self.rows += rows
        self.ops += ops


def homes_of(keys: NDArray[np.int64], shards: int) -> NDArray[np.int64]:
    """Which shard holds the log of each entity."""
    return (keys.view(np.uint64) % np.uint64(shards)).astype(np.int64)


def split(ops: bytes, ends: NDArray[np.int64], homes: NDArray[np.int64]) -> dict[int, Touches]:
    """Operations of a group by the home of their entity; `ends[i]` is the length of `ops` after row `i`."""
    starts = np.concatenate([[0], ends[:-1]])
    rows = np.flatnonzero(ends > starts)
    found: dict[int, Touches] = {}
    places = zip(rows.tolist(), homes[rows].tolist(), starts[rows].tolist(), ends[rows].tolist(), strict=True)
    for row, home, start, end in places:
        touches = found.get(home)
        if touches is None:
            touches = found[home] = Touches()
        touches.rows.append(row)
        touches.ops.append(ops[start:end])
    return found


def forget(pool: Pool, columns: int) -> Pool:
    """The pool without entities."""
    if len(pool.arena) > ARENA_WORDS_KEPT:
        return Pool.empty(columns)
    pool.index[:] = -1
    pool.meta[:] = -1
    pool.meta[: t.M_FREE] = 0
    pool.meta[t.M_SLOT_FREE] = -1
    return pool


def rewrites(
    group: GroupPlan, params: NDArray[np.int64], pool: Pool, loaded: Sequence[tuple[bytes, bytes | bytearray]]
) -> list[tuple[int, bytes]]:
    """Trim and fold those of the entities just loaded whose logs are due, and say how to store them so.

    Args:
        loaded: state keys and values.

    Returns:
        Entity (as an unsigned number) and packed operation of each.
    """
    rows = pool.entities[: pool.meta[t.M_SLOTS]]
    arrivals = rows[:, t.E_NEXT] + 1 - rows[:, t.E_BASE]
    enough = np.maximum(params[t.P_COMPACT] // 2, np.minimum(rows[:, t.E_BASE], params[t.P_EXACT]))
    due = (rows[:, t.E_KEY] != 0) & (rows[:, t.E_LEN] + 1 >= params[t.P_COMPACT]) & (arrivals >= enough)
    if not due.any():
        return []
    values = {int.from_bytes(key[3:], "little", signed=True): (key, value) for key, value in loaded}
    found = []
    for slot in np.flatnonzero(due):
        entity = int(rows[slot, t.E_KEY])
        if entity in values:
            key, value = values[entity]
            by = _compact(group, params, pool, pool.entities[slot])
            found.append((entity % (1 << 64), pack(rewrite(key, bytes(value), by, int(params[t.P_TTL_HOURS])))))
    return found


def _compact(group: GroupPlan, params: NDArray[np.int64], pool: Pool, row: NDArray[np.int64]) -> bytes:
    """Trim and fold one log; its snapshot."""
    columns, series = group.columns, group.series
    words = fold.words_needed(pool.arena, row, series, columns, params)
    while words > 0 and not tilecodec.roomy(pool.arena, pool.meta, words):
        pool.grow()
    held = words + fold.words_held(pool.arena, row, series)
    buffer = np.empty(codec.bound(int(row[t.E_LEN]), len(columns), held), np.uint8)
    pool.meta[t.M_OPS] = 0
    kernel.compact(pool.arena, pool.arena.view(np.float64), row, columns, series, group.bits, params, pool.meta, buffer)
    return buffer[HEADER.size + codec.KEY_BYTES : pool.meta[t.M_OPS]].tobytes()
