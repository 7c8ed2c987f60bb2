"""One run of the sole owner: callers who try until they are answered, and a process that dies or is replaced."""

import asyncio
import hashlib
import json
import random
from typing import Final

from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.core.controls import may_be_control
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink
from engine.ports.sync import Busy, SyncResult, Undecided
from engine.service import journal
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.marks import NO_LOG
from engine.service.shard import BatchOutcome
from engine.service.sole import AnotherOwner, SoleOwner
from tests.service.simulator.connections import PlainSink, StoreConnection, TransactionalSink
from tests.service.simulator.faults import NONE, SESSION_S, Faults, Killed, Process
from tests.service.simulator.loop import SimulatedClock
from tests.service.simulator.payments import Payments
from tests.service.simulator.servers import Broker, Store
from tests.service.simulator.workers import Shelf, cut_short

CALM_S: Final = 600.0
ZOMBIES_S: Final = 70.0
CALLERS: Final = 3


class Alone:
    """A process with one owner, and its servers' connections."""

    def __init__(self, run: "SoleSimulation") -> None:
        self.process = Process(run.draw, run.faults)
        self.process.seen_s = asyncio.get_running_loop().time()
        self._run = run
        shelf = Shelf(run.world, self.process)
        sink: Sink = (TransactionalSink if run.transactional else PlainSink)(run.broker, self.process)
        store = StoreConnection(run.store, self.process)
        crew = Crew(
            new_partition=lambda number: run.world.machine(number, self.process.crash, shelf.get),
            rule_sets=shelf,
            store=store,
            log=MemoryLog(),
            sink=sink,
            clock=SimulatedClock(),
            random=run.draw.random,
            on_fatal=self._over,
            partitions=NO_LOG,
        )
        self.shard = crew.shard(0)
        self.owner = SoleOwner(
            self.shard,
            lambda: store.open(0),
            limits=BatchLimits(run.draw.choice((1, 4, 30)), 1 << 20, 60),
            clock=crew.clock,
            store_outage=crew.store_outage,
            on_batch=_nothing,
            on_fatal=self._over,
        )
        self.owner.start()

    def _over(self, error: BaseException) -> None:
        """What ends a process: another owner is no fault of its own."""
        self.process.dead = True
        if not isinstance(error, AnotherOwner):
            self._run.fatal.append(error)

    async def bury(self) -> None:
        self.process.dead = True
        await cut_short((self.owner._task, self.shard.relay._task))


def _nothing(_: BatchOutcome) -> None:
    """Nobody measures."""


class SoleSimulation:
    """`Payments` by way of calls. What the journal holds at the end is the input, in order.

    The store is not rolled back here: the journal is in it, so what it loses is lost.
    """

    announces = True

    def __init__(self, seed: int, *, events: int = 30) -> None:
        self.draw = draw = random.Random(seed)
        self.faults = Faults.drawn(draw)
        self.transactional = draw.random() < 0.5
        self.partitions = NO_LOG
        self.world = Payments(shared=True)
        values = [value for n in range(events) if (value := self.world.value(draw, n, 0)) is not None]
        self.values = [values[caller::CALLERS] for caller in range(CALLERS)]
        self.answers: list[tuple[bytes, SyncResult]] = []
        self.broker = Broker()
        self.lives = 0
        self.fatal: list[BaseException] = []
        self.records: dict[int, list[MemoryRecord]] = {}

    async def run(self) -> None:
        """Run until every call is answered and every output sent. Raises `AssertionError`."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._left_behind(context.get("exception")))
        self.store = Store(loop.time, remembers=False)
        self._all: list[Alone] = []
        supervisor = loop.create_task(self._supervise())
        callers = asyncio.gather(*(self._call(values) for values in self.values))
        await asyncio.sleep(60.0)
        self.faults = NONE
        for one in self._all:
            one.process.calm()
        async with asyncio.timeout(CALM_S):
            await callers
            await asyncio.sleep(ZOMBIES_S)
            while (await self.store.open(0)).outbox:  # noqa: ASYNC110 - servers do not tell
                await asyncio.sleep(1.0)
        supervisor.cancel()
        for one in self._all:
            await one.bury()
        assert not self.fatal, f"the owner ended for good: {self.fatal}"
        self.records = {0: self._journalled()}

    async def _supervise(self) -> None:
        """Start a process where there is none that was heard of lately."""
        while True:
            now = asyncio.get_running_loop().time()
            if not self._all or self._all[-1].process.dead or now - self._all[-1].process.seen_s > SESSION_S:
                self.lives += 1
                self._all.append(Alone(self))
            await self._heartbeat()

    async def _heartbeat(self) -> None:
        """A process that stands still is not heard of."""
        process = self._all[-1].process
        await asyncio.sleep(self.draw.choice((0.2, 1.0)))
        if not process.dead and process.paused_until_s <= asyncio.get_running_loop().time():
            process.seen_s = asyncio.get_running_loop().time()

    async def _call(self, values: list[bytes]) -> None:
        while not self._all:  # noqa: ASYNC110 - callers look again
            await asyncio.sleep(0.1)
        at = 0
        while at < len(values):
            await asyncio.sleep(self.draw.random() * 5.0)
            size = 1 if any(map(may_be_control, values[at : at + 3])) else self.draw.choice((1, 1, 3))
            await self._until_answered(values[at : at + size])
            at += size

    async def _until_answered(self, events: list[bytes]) -> None:
        """Ask whoever is there, the same again, until there is an answer; now and then ask once more."""
        while True:
            alone = self.draw.choice(self._all[-2:])  # a zombie may still be found
            try:
                if may_be_control(events[0]):
                    async with asyncio.timeout(3.0):
                        await alone.owner.announce(0, events[0])
                    found = []
                else:
                    found = await alone.owner.decide(events, self.draw.choice((0.05, 1.0, 3.0)))
                await alone.process.gate()  # an answer leaves a process that lives
            except (Busy, Undecided, LogUnavailable, TimeoutError, Killed):
                await asyncio.sleep(self.draw.random())
                continue
            self.answers += zip(events, found, strict=False)
            if self.draw.random() < 0.9:
                return

    def _journalled(self) -> list[MemoryRecord]:
        """The input as the journal has it; of what was refused it has a digest."""
        raw = {hashlib.sha256(value).hexdigest(): value for values in self.values for value in values}
        records: list[MemoryRecord] = []
        for following, entry in self.store.journal(0):
            for kept in journal.decode(entry):
                value = raw[json.loads(kept.value)["raw_sha256"]] if kept.kind == journal.REFUSED else kept.value
                records.append(MemoryRecord(len(records), value))
            assert following == len(records), "the journal has a gap"
        return records

    def _left_behind(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Killed):
            self.fatal.append(error)
