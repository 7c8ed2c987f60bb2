"""`steward repartition`: a deployment of N partitions becomes one of M, under another topic and another key prefix.

1. Look at the old shards: nobody owns them, every one has processed its partition to the end and sent what it made.
2. Learn whose the keys are: from the log, the ledger's topic and lists of customers.
3. Bring the homes of shared entities the touches that an owner which was killed left in its list.
4. Close the old generation: no process starts on it, and no commit or delivery to its shards is taken any more.
5. Empty the new one, and see that no process starts on that either.
6. Rule sets; then every key to its new shard (`engine.service.rehousing`), then watches, timers and heads.
7. Copy what was not processed to the new topic, if that was asked for; see that nothing came to the old one since.
8. Put the new generation in service: one write. The old one stays as it is until it is dropped.

Up to step 8 nothing that was there has changed but for being closed, so after any end the command is begun again, or
undone. Step 5 throws away what an earlier run left.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from engine.core.label_desk import HEAD_MATURING
from engine.core.moving_cases import head_of as head_of_cases
from engine.core.observers import HEAD_TIMERS
from engine.features import layout as layouts
from engine.ports.generation import EMPTY, IN_SERVICE, OUT_OF_SERVICE, Generation, PastLog
from engine.ports.store import Delivery, DeliveryGap, Head
from engine.service import marks
from engine.service.at_rest import NotAtRest, at_rest
from engine.service.carrying import carry
from engine.service.filling import Filling
from engine.service.move_note import Note, NotReady, read_note
from engine.service.neighbours import Entry
from engine.service.new_heads import differences, head_of, layout_of
from engine.service.owners import Owners
from engine.service.partitioners import PARTITIONERS
from engine.service.rehousing import Rehousing

CUSTOMERS_AT_ONCE: Final = 1_000
WAIT_S: Final = 2.0  # between two looks at whether all is at rest

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Report:
    """What a move did.

    Attributes:
        customers: how many are known by name.
        keys: how many went where (`Rehousing.keys`).
        written: keys in the new generation; carried: records that were copied to the new topic.
        seconds: of each stage: "learn", "move", and "closed", from the closing to the end.
        remarks: what somebody should know, a line each.
    """

    customers: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    written: int = 0
    carried: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Move:
    """One move from a generation into another.

    Args:
        old, new: the generations.
        past: the log of the old one.
        note: what they are told; its `role` is set here.
        partitioner: name of the producers' (`PARTITIONERS`).
        take_along: copy records that are not processed to the new topic, instead of asking that there be none.
        now_ms: the time, in milliseconds since 1970.
        say: told what is going on, a line each.
    """

    def __init__(
        self,
        old: Generation,
        new: Generation,
        past: PastLog,
        note: Note,
        *,
        partitioner: str = "murmur2",
        take_along: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._old, self._new, self._past, self._note = old, new, past, note
        self._route = PARTITIONERS[partitioner]
        self._take_along = take_along
        self._now_ms = now_ms
        self._say = say
        self._owners: Owners | None = None
        self._layout: bytes | None = None
        self._read_to: dict[int, int] = {}

    async def run(self, sleep: Sleep | None = None) -> Report:
        """Do it. With `sleep`, wait until the deployment is at rest, and learn meanwhile.

        Raises `NotReady`, `Stray`, `UnknownTimer`, `LayoutsApart`, and what the ports raise.
        """
        report = Report()
        await self._reopen()
        heads = await self._at_rest(sleep)  # 1
        report.remarks += differences(heads)
        began = time.monotonic()
        layout = layout_of(await self._old.store.layout(), heads)
        owners = await self._learn(len(heads), layout)  # 2
        report.customers, report.seconds["learn"] = owners.customers, time.monotonic() - began
        began = time.monotonic()
        await self._deliver(heads)  # 3
        await self._close(heads)  # 4
        await self._new.close_down(self._told("into", heads))  # 5
        await self._new.clear()
        await self._fill(heads, layout, owners, report)  # 6
        if self._take_along:
            await self._carry(heads, report)
        for shard, bounds in (await self._past.bounds()).items():  # 7
            end = self._read_to.get(shard, 0)
            if (bounds.end or 0) > end and await self._past.left(shard, end):
                await self._old.open_up(list(heads))
                raise NotReady(
                    "events came to the old topic while its state was moved: a producer still writes to it. The old "
                    "state is in service again: stop or switch that producer, let a worker process what came, and "
                    "begin again"
                )
        await self._new.open_up([])  # 8
        report.seconds["closed"] = time.monotonic() - began
        return report

    def _told(self, role: str, heads: Mapping[int, Head]) -> str:
        return msgspec.structs.replace(self._note, role=role, shards=len(heads)).text()

    async def _reopen(self) -> None:
        """See that both generations are what they should be; go on after a run that was ended."""
        old, new = await self._old.state(), await self._new.state()
        told, note = read_note(await self._new.note()), self._note
        ours = told is not None and (told.role, told.before) == ("into", note.before)
        if old == EMPTY:
            raise NotReady(f"there is no state under the prefix {note.before}: nothing to move")
        if new == OUT_OF_SERVICE and not ours:
            raise NotReady(f"the prefix {note.after} holds state that was moved away: name another one (--prefix)")
        if new == IN_SERVICE:
            if old == OUT_OF_SERVICE:
                raise NotReady(f"the state under {note.before} has been moved already; {note.after} is in service")
            raise NotReady(f"the prefix {note.after} is in use: name another one (--prefix)")
        if old == OUT_OF_SERVICE:
            left = read_note(await self._old.note())
            if left is not None and left.after != note.after:
                raise NotReady(f"a move into {left.after} was begun: finish it (--prefix {left.after}) or --undo it")
            self._say("an earlier run did not come to its end: beginning again")
            await self._old.open_up(range(left.shards if left is not None else 0))

    async def _at_rest(self, sleep: Sleep | None) -> dict[int, Head]:
        """The old heads, once nothing goes on any more; meanwhile, where that may take time, it is learned from the
        log. Raises `NotReady`."""
        told: tuple[str, ...] = ()
        while True:
            try:
                return await at_rest(self._old, self._past, self._note.partitions, unprocessed=self._take_along)
            except NotAtRest as waiting:
                if sleep is None:
                    raise
                heads = waiting.heads
                await self._learn(len(heads), layout_of(await self._old.store.layout(), heads))
                if waiting.problems != told:
                    told = waiting.problems
                    self._say("\n".join(("waiting:", *told)))
                await sleep(WAIT_S)

    async def _learn(self, partitions: int, layout: bytes | None) -> Owners:
        """Read what was not read before."""
        if self._owners is None or self._layout != layout:
            numbers = (partitions, len(await self._past.bounds()))
            self._owners = Owners(layouts.load(layout), numbers, self._route)
            self._layout, self._read_to = layout, {}
            async for customers in _some(self._past.customers()):
                self._owners.customer(*customers)
        ends = await self._past.bounds()
        async for partition, values in self._past.records(self._read_to):
            self._owners.events(partition, values)
        self._read_to = {shard: bounds.end or 0 for shard, bounds in ends.items()}
        return self._owners

    async def _deliver(self, heads: Mapping[int, Head]) -> None:
        """What stands in the lists of touches, once more; what is there already is passed over."""
        for source, head in heads.items():
            for _, payload in head.touches:
                entry = msgspec.msgpack.decode(payload, type=Entry)
                for home, (offsets, ops) in entry.parts.items():
                    delivery = Delivery(
                        home, source, entry.previous.get(home, -1), entry.first, entry.end, offsets, ops
                    )
                    try:
                        await self._old.store.deliver(delivery)
                    except DeliveryGap as gap:
                        raise NotReady(f"{gap}: start a worker, which mends that, and stop it") from gap

    async def _carry(self, heads: Mapping[int, Head], report: Report) -> None:
        """What is not processed, to the new topic."""
        ends = await self._past.bounds()
        since = {shard: max(head.offset, ends[shard].first) for shard, head in heads.items()}
        report.carried = await carry(self._past, since, self._note.partitions, self._route)
        await self._past.settle()
        self._read_to = {shard: bounds.end or 0 for shard, bounds in ends.items()}

    async def _close(self, heads: Mapping[int, Head]) -> None:
        await self._old.close_down(self._told("from", heads))
        for shard, head in heads.items():
            if not await self._old.seal(shard, head):
                await self._old.open_up(list(heads))
                raise NotReady(f"shard {shard} went on meanwhile: a worker is running; stop it")

    async def _fill(self, heads: Mapping[int, Head], layout: bytes | None, owners: Owners, report: Report) -> None:
        began, partitions = time.monotonic(), self._note.partitions
        filling = Filling(self._new.store, self._now_ms)
        await self._new.restore_archive(await self._old.archive())
        if layout is not None and partitions > 1:
            await self._new.store.extend_layout(None, layout)
        rehousing = Rehousing(len(heads), partitions, owners, heads, self._new, filling)
        await rehousing.run(self._old)
        for shard in range(partitions):
            await self._finish(shard, rehousing, heads, layout, filling)
        report.keys, report.written = rehousing.keys, filling.keys
        if rehousing.cases.unplaced:
            report.remarks.append(
                f"{rehousing.cases.unplaced} decisions of customers nobody named wait to mature in a shard that may "
                "not be their customer's: a fraud label would come to them as one to a legitimate payment"
            )
        report.seconds["move"] = time.monotonic() - began

    async def _finish(
        self, shard: int, rehousing: Rehousing, heads: Mapping[int, Head], layout: bytes | None, filling: Filling
    ) -> None:
        """Watches, timers and head of a new shard."""
        state, clock = head_of(shard, self._note.partitions, rehousing.origins(shard), heads, layout)
        watches, timers, left = rehousing.watching.of(shard, clock)
        put = partial(filling.put, shard)
        for key, value, expires_ms in watches:
            await put(key, value, expires_ms)
        await filling.ops(shard, timers)
        if left is not None:
            state[HEAD_TIMERS] = left
        if shard in rehousing.cases.hours:
            state[HEAD_MATURING] = head_of_cases(rehousing.cases.hours[shard])
        for name, value in sorted(state.items()):
            await put(name, value)
        await filling.ops(shard, marks.birth(self._note.partitions))
        await filling.flush(shard)


async def _some(customers: AsyncIterator[str]) -> AsyncIterator[Sequence[str]]:
    """Names, many at a time."""
    held: dict[str, None] = {}
    async for customer in customers:
        held[customer] = None
        if len(held) >= CUSTOMERS_AT_ONCE:
            yield list(held)
            held = {}
    if held:
        yield list(held)
