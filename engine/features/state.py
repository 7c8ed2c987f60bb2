"""The state of all features of a shard: pools, the pass of a micro-batch through them, loading and eviction."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.labels import NOT_A_LABEL
from engine.domain.ops import KEY_FEATURE
from engine.features import inputs, kernel, restore
from engine.features import tables as t
from engine.features.columns import Columns
from engine.features.entities import entities, tables
from engine.features.erase import erase
from engine.features.fold import evict as evict_slots
from engine.features.groups import GroupPlan
from engine.features.kept import Kept, state_key
from engine.features.plan import Plan
from engine.features.pool import Pool, absent
from engine.features.sharing import Touches, UnknownTouches, forget, homes_of, rewrites, split

Words = NDArray[np.int64]

SCRATCH_WORDS: Final = 1 << 16
OPS_BYTES: Final = 1 << 18
KEY_BYTES: Final = 11


class FeatureState:
    """The logs of every entity, and the features read from them.

    Args:
        plan: what to compute.
        backed: a store keeps the logs; `update` then returns operations for it, and entities are loaded on demand.
        shard, shards: which of how many this is. With several (and a store), entities that events of all of them touch
            are loaded for each batch from their homes (`engine.features.sharing`).

    Attributes:
        touches: what the last `update` does to entities at home in other shards.
    """

    def __init__(self, plan: Plan, backed: bool = True, *, shard: int = 0, shards: int = 1) -> None:
        if shards > 1 and not backed:
            raise ValueError("several shards share entities through a store; there is none")
        self.plan = plan
        self.backed = backed
        self.touches: dict[int, Touches] = {}
        self._shard = shard
        self._shards = shards
        self._rewrites: dict[int, list[bytes]] = {}
        self._ends = np.empty(0, np.int64)
        self._scratch = np.zeros(SCRATCH_WORDS, np.int64)
        self._ops = np.empty(OPS_BYTES, np.uint8)
        self._pools: list[Pool] = []
        self.clear()

    def clear(self) -> None:
        """Forget every entity."""
        self._kept = Kept()
        self._pools = [Pool.empty(len(group.columns)) for group in self.plan.groups]
        self._params = self._scalars()

    def adopt(self, plan: Plan) -> None:
        """Go over to the features of another plan, between two micro-batches.

        What the logs hold is read as the new plan's: a feature whose filter and fields were recorded before has its
        values at once (`engine.core.warming` knows how far back). Entities of groups whose form changes are forgotten
        where a store has them, and `missing` names them again; without a store their logs are kept in stored form.

        Args:
            plan: compiled against this plan's layout: `Plan.compile(features, state.plan.layout(), limits)`.
        """
        left = {group.id: (group, pool) for group, pool in zip(self.plan.groups, self._pools, strict=True)}
        self._pools = []
        for group in plan.groups:
            before = left.get(group.id)
            if before is not None and group.reads_logs_of(before[0]):
                del left[group.id]
                pool = before[1]
                if group.params[t.P_TTL_HOURS] != before[0].params[t.P_TTL_HOURS]:
                    pool.entities[:, t.E_TTL] = -t.NEVER  # the next touch sets the new expiry
            else:
                pool = Pool.empty(len(group.columns))
            self._pools.append(pool)
        for group, pool in left.values():
            if not self.backed and group.id not in self._kept.groups:
                self._kept.take(group, pool)
        self.plan = plan
        self._params = self._scalars()

    def _scalars(self) -> list[NDArray[np.int64]]:
        """The scalars of every group, with whether anything keeps its logs in stored form."""
        self._tables = tables(self.plan.groups)
        found = [group.params.copy() for group in self.plan.groups]
        for group, params in zip(self.plan.groups, found, strict=True):
            params[t.P_BACKED] = int(self.backed or group.id in self._kept.groups)
            params[t.P_SHARED] = int(self._shards > 1 and group.shared)
        shared = [group.id for group, params in zip(self.plan.groups, found, strict=True) if params[t.P_SHARED]]
        self._shared = {KEY_FEATURE + group.to_bytes(2, "little") for group in shared}
        return found

    def home(self, key: bytes) -> int | None:
        """The shard that holds a state key; None where it is not that of a shared entity."""
        if key[:3] in self._shared and len(key) == KEY_BYTES:
            return int.from_bytes(key[3:], "little") % self._shards
        return None

    def shared_rows(self) -> list[int]:
        """Rows of the feature matrix whose entities several shards touch; none where there is one shard."""
        groups = self.plan.groups if self._shards > 1 else []
        return sorted(int(row) for group in groups if group.shared for row in group.features[:, t.F_OUT])

    def update(
        self, columns: Columns, wanted: Sequence[NDArray[np.bool_]] | None = None
    ) -> tuple[NDArray[np.float64], bytes]:
        """Take in a micro-batch and compute every feature of every event as of its own time.

        Args:
            columns: the accepted events, label rows among them.
            wanted: for each group of the plan the events whose features somebody reads, bool `(n,)`; those of others
                are NaN. None for all events, and no label row.

        Returns:
            The feature matrix, float64 `(features, n)`, NaN for null; and packed operations (`engine.domain.ops`) for
            the store, empty where not backed.
        """
        self.touches = {}
        out = np.empty((len(self.plan.features), columns.n), np.float64)
        if columns.n == 0 or not self.plan.features:
            return out, b""
        strings = np.ascontiguousarray(columns.strings)
        batch = (
            np.ascontiguousarray(columns.time_ms),
            strings.view(np.int64),
            kernel.pack_money(columns.minor, columns.exponent, columns.base_minor, columns.base_exponent),
            inputs.numbers(columns),
            inputs.matches(self.plan, columns),
        )
        written = self._rewritten()
        if wanted is None:
            wanted = [columns.labels == NOT_A_LABEL] * len(self.plan.groups)
        every, some = self._keys(columns, strings, wanted)
        for group, params, pool, read, keys, anybody in zip(
            self.plan.groups, self._params, self._pools, wanted, every, some, strict=True
        ):
            if not anybody:  # common in a small batch, and dearer to start the kernel than to see
                out[group.features[:, t.F_OUT]] = np.nan
                continue
            kept = not self.backed and group.id in self._kept.groups
            if kept:
                names = self._absent(group, pool, keys)
                self.load(names, [self._kept.logs.get(name) for name in names])
            ops = self._update_group(group, params, pool, keys, (*batch, read), out)
            if kept:
                self._kept.apply(ops)
            elif params[t.P_SHARED]:
                written += self._route(ops, homes_of(keys, self._shards))
            else:
                written.append(ops)
        return out, b"".join(written)

    def _rewritten(self) -> list[bytes]:
        """The rewrites of the logs that were loaded for this batch: those at home here; the others become touches."""
        found, self._rewrites = self._rewrites, {}
        own = found.pop(self._shard, [])
        for home, ops in found.items():
            self.touches.setdefault(home, Touches()).extend([0] * len(ops), ops)
        return own

    def _route(self, ops: bytes, homes: NDArray[np.int64]) -> list[bytes]:
        """The operations of a shared group for this shard; those for others become touches."""
        parts = split(ops, self._ends[: len(homes)], homes)
        own = parts.pop(self._shard, Touches())
        for home, part in parts.items():
            self.touches.setdefault(home, Touches()).extend(part.rows, part.ops)
        return own.ops

    def _keys(
        self, columns: Columns, strings: NDArray[np.uint64], wanted: Sequence[NDArray[np.bool_]]
    ) -> tuple[Words, list[bool]]:
        """Entity keys of the rows for each group, `(groups, n)`, and whether it has any."""
        keys, some = entities(strings, columns.labels, *self._tables, np.array(wanted))
        return keys.view(np.int64), some.tolist()

    def missing(
        self, columns: Columns, further: bool = False, wanted: Sequence[NDArray[np.bool_]] | None = None
    ) -> list[bytes]:
        """State keys of the entities of a micro-batch that are not resident; `load` them before `update`.

        Args:
            columns: the events, or label rows.
            further: they are rows of the batch that was asked about last, which keeps what has been loaded for it.
            wanted: as for `update`, or more: those whose features may be read. Label aggregates of others need nothing.
        """
        if columns.n == 0 or not self.backed or not self.plan.groups:
            return []
        strings = np.ascontiguousarray(columns.strings)
        if wanted is None:
            wanted = [columns.labels == NOT_A_LABEL] * len(self.plan.groups)
        keys, some = self._keys(columns, strings, wanted)
        found: list[bytes] = []
        if not further:
            self._rewrites = {}
        for place, group in enumerate(self.plan.groups):
            if self._params[place][t.P_SHARED] and not further:  # others may have touched them since
                self._pools[place] = forget(self._pools[place], len(group.columns))
            if some[place]:
                found += self._absent(group, self._pools[place], keys[place])
        return found

    def _absent(self, group: GroupPlan, pool: Pool, keys: NDArray[np.int64]) -> list[bytes]:
        """State keys of those of a group's entities that are not resident."""
        found = absent(pool.index, pool.entities, pool.meta, keys)
        return [state_key(group.id, key) for key in sorted(set(found.tolist()))] if len(found) else []

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | bytearray | None]) -> None:
        """Make entities resident.

        Args:
            keys: state keys, as from `missing`; those of other rooms and of groups not in the plan are passed over.
            values: what the store has under each, None where it has nothing.

        Raises:
            UnknownTouches: another shard wrote to a shared log under a later layout.
            ValueError: a value is not one that this room wrote.
        """
        by_group: dict[int, list[tuple[bytes, bytes | bytearray]]] = {group.id: [] for group in self.plan.groups}
        for key, value in zip(keys, values, strict=True):
            if len(key) == KEY_BYTES and key.startswith(KEY_FEATURE):
                members = by_group.get(int.from_bytes(key[1:3], "little"))
                if members is not None:
                    members.append((key, value or b""))
        for group, params, pool in zip(self.plan.groups, self._params, self._pools, strict=True):
            if by_group[group.id]:
                self._load_group(group, pool, by_group[group.id])
                if params[t.P_SHARED]:
                    for entity, op in rewrites(group, params, pool, by_group[group.id]):
                        self._rewrites.setdefault(entity % self._shards, []).append(op)

    def _load_group(self, group: GroupPlan, pool: Pool, members: list[tuple[bytes, bytes | bytearray]]) -> None:
        """Load the entities of one group."""
        keys = np.frombuffer(b"".join(key[3:] for key, _ in members), "<i8")
        blob = np.frombuffer(b"".join(value for _, value in members) or b"\0", np.uint8)
        offsets = np.zeros(len(members) + 1, np.int64)
        offsets[1:] = np.cumsum([len(value) for _, value in members])
        done = 0
        while done < len(keys):
            done = restore.load(
                pool.arena, pool.entities, pool.index, pool.meta, group.columns, group.series, group.params,
                keys, blob, offsets, done,
            )  # fmt: skip
            if pool.meta[t.M_NEED] == t.CORRUPT:
                pool.meta[t.M_NEED] = t.NEED_NOTHING
                fault = UnknownTouches if self._shards > 1 and group.shared else ValueError
                raise fault(f"state key {members[done][0].hex()}: not a readable feature log")
            if done < len(keys):
                pool.grow()

    def evict(self, max_entities: int) -> int:
        """Drop the least recently used entities of each group that has more than `max_entities`; how many went.

        An eighth more than need be goes, so that it is not done all the time. Only what a store keeps may be dropped:
        without one, nothing happens.
        """
        if not self.backed:
            return 0
        dropped = 0
        for group, pool in zip(self.plan.groups, self._pools, strict=True):
            if pool.meta[t.M_ENTITIES] > max_entities:
                slots = np.flatnonzero(pool.entities[: pool.meta[t.M_SLOTS], t.E_KEY])
                surplus = len(slots) - (max_entities - max_entities // 8)
                oldest = np.argsort(pool.entities[slots, t.E_USED], kind="stable")[:surplus]
                evict_slots(pool.arena, pool.entities, pool.index, pool.meta, group.series, slots[oldest])
                dropped += surplus
        return dropped

    def erase(self, customers: NDArray[np.uint64]) -> bytes:
        """Forget what is about some customers alone, by the hashes of their ids. Returns operations for the store."""
        groups, hashes = self.plan.groups, customers.view(np.int64).tolist()
        return b"".join(erase(groups, self._pools, self._kept, customer, backed=self.backed) for customer in hashes)

    def entities(self) -> int:
        """Entities resident, over all groups."""
        return int(sum(pool.meta[t.M_ENTITIES] for pool in self._pools))

    def memory_bytes(self) -> int:
        """Bytes held by the pools."""
        return sum(pool.memory_bytes() for pool in self._pools) + self._kept.memory_bytes()

    def _update_group(
        self,
        group: GroupPlan,
        params: NDArray[np.int64],
        pool: Pool,
        keys: NDArray[np.int64],
        batch: tuple[Words, Words, Words, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]],
        out: NDArray[np.float64],
    ) -> bytes:
        """One group's kernel over the batch, growing its pool as often as it asks; the operations for the store."""
        done = 0
        if len(self._ends) < len(keys):
            self._ends = np.empty(len(keys), np.int64)
        pool.meta[t.M_OPS] = 0
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
                group.series,
                params,
                keys,
                *batch,
                out,
                self._scratch,
                self._ops,
                self._ends,
                done,
            )
            if pool.meta[t.M_NEED] == t.NEED_OPS:
                grown = np.empty(2 * len(self._ops) + int(pool.meta[t.M_NEED_SIZE]), np.uint8)
                grown[: len(self._ops)] = self._ops
                self._ops = grown
            pool.grow()
        return self._ops[: pool.meta[t.M_OPS]].tobytes()
