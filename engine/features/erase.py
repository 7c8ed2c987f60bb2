"""Forgetting what is about one customer alone, as if they had never been seen."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import STRING_INDEX
from engine.domain.ops import DELETE, Op, pack
from engine.features import fold
from engine.features import pool as p
from engine.features.groups import GroupPlan
from engine.features.jit import njit
from engine.features.kept import Kept, state_key
from engine.features.pool import Pool

Words = NDArray[np.int64]
_CUSTOMER: Final = STRING_INDEX["customer_id"]


def erase(groups: Sequence[GroupPlan], pools: Sequence[Pool], kept: Kept, customer: int, *, backed: bool) -> bytes:
    """Empty the logs of a customer in the groups by customer alone; those by a customer and something else are under
    the hash of both, which nobody can name who has one of them. Returns packed operations for the store."""
    ops = []
    for group, pool in zip(groups, pools, strict=True):
        if group.by_rows.tolist() != [_CUSTOMER]:
            continue
        _forget(pool.arena, pool.entities, pool.index, pool.meta, group.series, customer)
        name = state_key(group.id, customer)
        kept.logs.pop(name, None)
        if backed:
            ops.append(pack(Op(DELETE, name, b"")))
    return b"".join(ops)


@njit
def _forget(arena: Words, entities: Words, index: Words, meta: Words, series: Words, key: int) -> None:
    """Empty the log of an entity, where it is resident; it stays so."""
    slot = p.find(index, entities, key)
    if slot >= 0:
        fold.reset(arena, meta, entities[slot], series)
