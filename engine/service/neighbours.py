"""What a shard has to do with the others: the entities that events of several shards touch.

The log of such an entity is at home in one shard (`engine.features.sharing`). A batch loads it from there, and what the
batch adds to it goes there after the commit: in the commit it stands in a list beside the outbox, from which it is
delivered before the next batch is loaded. So a batch sees all that was committed and delivered before, of any shard. A
home applies the touches of each record of a source once, by the record's offset: to deliver again does no harm.

What is delivered is kept in the list for a while. A home that a failover rolled back misses deliveries: it refuses the
next, for each names the one before, and is given again what is kept.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from engine.core.effects import Effects
from engine.features.sharing import UnknownTouches
from engine.ports.clock import Clock
from engine.ports.log import LogRecord
from engine.ports.store import Commit, Delivery, DeliveryGap, Head, StateStore
from engine.service.machine import PartitionMachine

KEPT_S: Final = 10.0
"""How long a delivery is kept: a home loses at most its last second, or what it had not copied to its replica."""

KEPT_BYTES_MAX: Final = 8 << 20
"""And at most so much of them for each shard, in memory and in the store: some three seconds of full batches."""

logger = logging.getLogger("steward.service")


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The touches of one commit, as they stand in the list (MessagePack, an array of these fields).

    Attributes:
        first, end: offset of the batch's first record; the input offset after it.
        previous: by home, `end` of the last entry before this one that had touches for it.
        parts: by home, the offset of the record of each operation less `first` (u32 little endian), and the packed
            operations.
    """

    first: int
    end: int
    previous: dict[int, int]
    parts: dict[int, tuple[bytes, bytes]]


class _Listed(NamedTuple):
    sequence: int
    entry: Entry
    size: int
    delivered_s: float = 0.0


class Neighbours:
    """The other shards, as one of them sees them. With one shard there are none, and nothing here costs anything.

    Args:
        number, partitions: of how many shards this is which.
        partition: its state machine.
        store: of all shards.
        load: values of this shard's own keys, all as of its last commit; raises `Fenced` where that is gone.
        persist: awaits a call of the store until it works.
        in_place: raises `Fenced` where the store does not hold this shard's last commit any more.
        clock: for how long deliveries are kept.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        partition: PartitionMachine,
        store: StateStore,
        load: Callable[[Sequence[bytes]], Awaitable[list[bytes | None]]],
        persist: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
        in_place: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.alone = partitions < 2
        self._number = number
        self._partition = partition
        self._store = store
        self._load_own = load
        self._persist = persist
        self._in_place = in_place
        self._clock = clock
        self._waiting: deque[_Listed] = deque()  # committed, not delivered
        self._kept: deque[_Listed] = deque()  # delivered, in the list still
        self._kept_bytes = 0
        self._next = 0  # sequence number of the next entry
        self._ends: dict[int, int] = {}  # by home, `end` of the last entry with touches for it
        self._applied: dict[int, int] = {}  # by home, the offset up to which it is known to have them
        self._made: Entry | None = None  # of the commit in flight
        self._layout: bytes | None = None
        if not self.alone:
            partition.spread(partitions)

    async def agree(self, rulesets: Sequence[str], state: dict[bytes, bytes]) -> None:
        """See that what the rule sets keep in logs means the same to all shards: those named, or that of a head."""
        while not self.alone:
            agreed = await self._persist(self._store.layout)
            layout = self._partition.layout_for(agreed, rulesets, state)
            if layout is None:
                return
            if layout == agreed or await self._persist(partial(self._store.extend_layout, agreed, layout)):
                self._layout = layout
                self._partition.take_layout(layout)
                return

    async def fill(self, decoded: Any, faults: Callable[[], AbstractContextManager[None]]) -> None:
        """Load what a batch touches, each key from its home. What the core raises is raised within `faults()`."""
        if not self.alone:
            with faults():
                named = self._partition.named(decoded)
            if named:
                await self.agree(named, {})
            await self.deliver()
        with faults():
            missing = self._partition.missing(decoded)
        while missing:
            values = await self._load(missing)
            with faults():
                try:
                    missing = self._partition.load(missing, values)
                    continue
                except UnknownTouches as unknown:
                    later = unknown
            missing = await self._reread(decoded, later, faults)

    async def _reread(
        self, decoded: Any, unknown: UnknownTouches, faults: Callable[[], AbstractContextManager[None]]
    ) -> list[bytes]:
        """Go over to the layout that another shard has agreed on since; what is missing then."""
        layout = await self._persist(self._store.layout)
        with faults():
            if layout is None or layout == self._layout:
                raise unknown
            self._layout = layout
            self._partition.take_layout(layout)
            return self._partition.missing(decoded)

    async def _load(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The values of state keys, from their homes at once."""
        if self.alone:
            return await self._load_own(keys)
        places: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            home = self._partition.home(key)
            places.setdefault(self._number if home is None else home, []).append(place)
        loads = (self._load_from(home, [keys[place] for place in at]) for home, at in places.items())
        found: list[bytes | None] = [None] * len(keys)
        for at, part in zip(places.values(), await asyncio.gather(*loads), strict=True):
            for place, value in zip(at, part, strict=True):
                found[place] = value
        return found

    async def _load_from(self, home: int, keys: Sequence[bytes]) -> list[bytes | None]:
        if home == self._number:
            return await self._load_own(keys)
        values: list[bytes | None] = await self._persist(partial(self._store.load, home, keys))
        return values

    def entry(self, records: Sequence[LogRecord], effects: Effects) -> bytes:
        """The entry that a batch's commit adds to the list; empty for none."""
        self._made = None
        if self.alone or not effects.touches:
            return b""
        first = records[0].offset
        offsets = [record.offset - first for record in records]
        parts = {
            home: (
                struct.pack(f"<{len(touches.rows)}I", *(offsets[row] for row in touches.rows)),
                b"".join(touches.ops),
            )
            for home, touches in effects.touches.items()
        }
        self._made = Entry(first, records[-1].offset + 1, dict(self._ends), parts)
        return msgspec.msgpack.encode(self._made)

    def dispensable(self) -> int:
        """The sequence number below which the list may be cut. The newest entry stays: it knows all homes."""
        now_s = self._clock.now_s()
        while self._kept and len(self._kept) + len(self._waiting) > 1:
            if now_s - self._kept[0].delivered_s < KEPT_S and self._kept_bytes <= KEPT_BYTES_MAX:
                break
            self._kept_bytes -= self._kept.popleft().size
        for listed in (*self._kept, *self._waiting):
            return listed.sequence
        return self._next

    def committed(self, commit: Commit) -> None:
        """A commit succeeded: its entry is to be delivered."""
        if commit.touches and self._made is not None:
            self._waiting.append(_Listed(self._next, self._made, len(commit.touches)))
            self._next += 1
            self._ends.update(dict.fromkeys(self._made.parts, self._made.end))

    def adopt(self, head: Head) -> None:
        """Take over the store's view of the list, as the shard is opened: all of it is to be delivered again."""
        self._kept.clear()
        self._kept_bytes = 0
        listed = [
            (sequence, payload, msgspec.msgpack.decode(payload, type=Entry)) for sequence, payload in head.touches
        ]
        self._waiting = deque(_Listed(sequence, entry, len(payload)) for sequence, payload, entry in listed)
        self._next = head.touches_next
        self._ends = {}
        if self._waiting:
            newest = self._waiting[-1].entry
            self._ends = {**newest.previous, **dict.fromkeys(newest.parts, newest.end)}

    async def deliver(self) -> None:
        """Bring every home what waits for it, all homes at once. Raises `Fenced`."""
        if not self._waiting:
            return
        waiting = list(self._waiting)
        homes = {home for listed in waiting for home in listed.entry.parts}
        await asyncio.gather(*(self._bring(home, waiting) for home in sorted(homes)))
        now_s = self._clock.now_s()
        for listed in waiting:
            self._waiting.popleft()
            self._kept.append(listed._replace(delivered_s=now_s))
            self._kept_bytes += listed.size

    async def _bring(self, home: int, listed: Sequence[_Listed]) -> None:
        for _, entry, _, _ in listed:
            if home in entry.parts and entry.end > self._applied.get(home, -1):
                try:
                    await self._deliver(home, entry, entry.previous.get(home, -1))
                except DeliveryGap as gap:
                    await self._mend(gap)

    async def _deliver(self, home: int, entry: Entry, previous: int) -> None:
        offsets, ops = entry.parts[home]
        delivery = Delivery(home, self._number, previous, entry.first, entry.end, offsets, ops)
        self._applied[home] = await self._persist(partial(self._store.deliver, delivery))

    async def _mend(self, gap: DeliveryGap) -> None:
        """A home has lost deliveries: give it again what is kept."""
        await self._in_place()
        listed = [
            entry
            for _, entry, _, _ in (*self._kept, *self._waiting)
            if gap.home in entry.parts and entry.end > gap.applied
        ]
        if not listed or listed[0].previous.get(gap.home, -1) > gap.applied:
            reached = listed[0].first if listed else gap.previous
            logger.error(
                "%s and they are no longer kept: entities at home there miss touches of records %d to %d",
                gap, max(0, gap.applied), reached - 1,
            )  # fmt: skip
        else:
            logger.warning("%s: it was rolled back, and is given again what it lost", gap)
        for place, entry in enumerate(listed):
            await self._deliver(gap.home, entry, entry.previous.get(gap.home, -1) if place else -1)
