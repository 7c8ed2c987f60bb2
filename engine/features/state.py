"""The state of all features of a shard: pools, the pass of a micro-batch through them, loading and eviction."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features import kernel
from engine.features import tables as t
from engine.features.columns import Columns
from engine.features.hashing import entity_keys
from engine.features.plan import GroupPlan, Plan
from engine.features.pool import Pool

SCRATCH_WORDS: Final = 1 << 14


class FeatureState:
    """The logs of every entity, and the features read from them.

    Args:
        plan: what to compute.
        backed: a store keeps the logs; `update` then returns operations for it, and entities are loaded on demand.
    """

    def __init__(self, plan: Plan, backed: bool = True) -> None:
        self.plan = plan
        self.backed = backed
        self._windows = np.array([d.window_ms or 0 for d in plan.features], np.int64)
        self._scratch = np.zeros(SCRATCH_WORDS, np.int64)
        self._pools: list[Pool] = []
        self.clear()

    def clear(self) -> None:
        """Forget every entity."""
        self._pools = [Pool.empty(len(group.columns)) for group in self.plan.groups]

    def update(self, columns: Columns) -> tuple[NDArray[np.float64], bytes]:
        """Take in a micro-batch and compute every feature of every event as of its own time.

        Returns:
            The feature matrix, float64 `(features, n)`, NaN for null; and packed operations (`engine.domain.ops`) for
            the store, empty where not backed.
        """
        out = np.empty((len(self.plan.features), columns.n), np.float64)
        if columns.n == 0 or not self.plan.features:
            return out, b""
        strings = np.ascontiguousarray(columns.strings)
        batch = (
            np.ascontiguousarray(columns.time_ms),
            strings.view(np.int64),
            kernel.pack_money(columns.minor, columns.exponent, columns.base_minor, columns.base_exponent),
            np.ascontiguousarray(columns.numbers),
            self._filters(columns),
        )
        for group, pool in zip(self.plan.groups, self._pools, strict=True):
            keys = entity_keys(strings, group.by_rows).view(np.int64)
            self._update_group(group, pool, keys, batch, out)
        return out, b""

    def warming(self, time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where a feature has seen less than its window since it was declared, bool `(features, n)`.

        `age` and a `since_last` without a window never warm up: they have no length to fill.
        """
        starts = time_ms[None, :] - self._windows[:, None]
        return (starts < self.plan.since()[:, None]) & (self._windows > 0)[:, None]

    def memory_bytes(self) -> int:
        """Bytes held by the pools."""
        return sum(pool.memory_bytes() for pool in self._pools)

    def _update_group(
        self,
        group: GroupPlan,
        pool: Pool,
        keys: NDArray[np.int64],
        batch: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]],
        out: NDArray[np.float64],
    ) -> None:
        """One group's kernel over the batch, growing its pool as often as it asks."""
        done = 0
        pool.meta[t.M_TICK] += 1
        while done < len(keys):
            done = kernel.update(
                pool.arena,
                pool.arena.view(np.float64),
                pool.entities,
                pool.index,
                pool.meta,
                group.features,
                group.windows,
                group.bits,
                group.columns,
                group.params,
                keys,
                *batch,
                out,
                self._scratch,
                done,
            )
            if done < len(keys):
                pool.grow()

    def _filters(self, columns: Columns) -> NDArray[np.bool_]:
        """Every distinct filter over the batch, bool `(filters, n)`."""
        matrix = np.empty((max(1, len(self.plan.filters)), columns.n), np.bool_)
        for row, where in enumerate(self.plan.filters):
            matrix[row] = columns.decides if where is None else where.evaluate(columns)
        return matrix
