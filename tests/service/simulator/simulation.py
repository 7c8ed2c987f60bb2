"""One run: partitions that fill up, workers that process them under faults, and what must hold at the end."""

import asyncio
import random
from typing import Any, Final

from engine.adapters.memory_log import MemoryRecord
from engine.ports.sink import Sink
from engine.service.replies import REPLY_TO, REQUEST_ID
from tests.service.simulator.connections import LogConnection, PlainSink, StoreConnection, TransactionalSink
from tests.service.simulator.faults import NONE, SESSION_S, Faults, Killed, Process
from tests.service.simulator.payments import Payments
from tests.service.simulator.servers import Broker, Store
from tests.service.simulator.workers import Group, Shelf, Worker
from tests.service.simulator.world import World

CHUNK_S: Final = 4.0  # between two appends to a partition
CALM_S: Final = 600.0  # without faults everything is done by then
ZOMBIES_S: Final = 70.0  # by then whoever stood still has woken, and what was on its way has arrived
LAST: Final = 3  # records that come when nothing goes wrong any more


class Simulation:
    """A run of a world over a log, drawn from a seed.

    Args:
        seed: all else follows from it.
        world: what the records are; `Payments` where None.
        faults: what goes wrong; drawn where None.
        events: records a partition.
        partitions: how many; drawn where 0.

    Attributes:
        records: the log by partition, as it is at the end.
        store, broker: the servers, as they are at the end.
        transactional: whether the sink stores its position.
        lives: worker processes there were.
        announces: whether control events come by way of an announcer, who may say them twice.
    """

    announces = False

    def __init__(
        self,
        seed: int,
        *,
        world: World | None = None,
        faults: Faults | None = None,
        events: int = 30,
        partitions: int = 0,
    ) -> None:
        self.draw = draw = random.Random(seed)
        self.seed = seed
        self.partitions = partitions or draw.choice((1, 1, 2, 3))
        self.faults = Faults.drawn(draw) if faults is None else faults
        self.transactional = draw.random() < 0.7
        self.workers = draw.choice((1, 2, 2, 3))
        self.world = world or Payments(shared=self.partitions == 1)
        self.records = {p: self._records(p, events) for p in range(self.partitions)}
        self.log: dict[int, list[MemoryRecord]] = {p: [] for p in self.records}
        self.broker = Broker()
        self.lives = 0
        self.fatal: list[BaseException] = []

    def _records(self, partition: int, events: int) -> list[MemoryRecord]:
        """Values at offsets that may have gaps; somebody waits for the answer to some."""
        draw, records = self.draw, []
        offset = (
            0 if self.faults.rollbacks else draw.choice((0, 17))
        )  # of a log that has lost its beginning nothing can be made again
        gaps = draw.random() < 0.3
        for number in range(events):
            value = self.world.value(draw, number, partition)
            request = b"%d" % offset
            headers = [(REPLY_TO, b"node%d" % partition), (REQUEST_ID, request)] if draw.random() < 0.15 else []
            records.append(MemoryRecord(offset, value, headers=headers))
            offset += draw.randrange(1, 4) if gaps else 1
        return records

    async def run(self) -> None:
        """Run until all is done, sent and acknowledged, and whoever stood still has woken. Raises `AssertionError`."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._left_behind)
        self.store = Store(loop.time, remembers=self.faults.rollbacks > 0)
        everybody = self.workers > 1 and self.draw.random() < 0.25
        self.group = Group(self.draw, list(self.records), everybody=everybody)
        self._members: list[tuple[Worker, asyncio.Task[None]]] = []
        supervisor = loop.create_task(self._supervise())
        await asyncio.gather(*(self._produce(partition) for partition in self.records), self._shake())
        self._calm()
        for partition, records in self.records.items():
            self._append(partition, records[-LAST:])
        await self._settle()
        await asyncio.sleep(ZOMBIES_S)
        await self._settle()
        supervisor.cancel()
        for worker, task in self._members:
            worker.process.dead = True
            await task

    async def _produce(self, partition: int) -> None:
        """Append all records but the last few."""
        at, records = 0, self.records[partition][:-LAST]
        while at < len(records):
            await asyncio.sleep(self.draw.random() * CHUNK_S)
            size = self.draw.choice((1, 2, 5, 15))
            self._append(partition, records[at : at + size])
            at += size

    def _append(self, partition: int, records: list[MemoryRecord]) -> None:
        self.log[partition] += records

    async def _shake(self) -> None:
        """Roll the store back, and deal the partitions anew."""
        what = ["rollback"] * self.faults.rollbacks + ["deal"] * self.faults.rebalances
        self.draw.shuffle(what)
        for one in what:
            await asyncio.sleep(self.draw.random() * 2 * CHUNK_S)
            if one == "deal":
                self.group.deal(self._fit())
            else:
                whole = self.draw.random() < 0.5
                shards = list(self.records) if whole else [self.draw.choice(list(self.records))]
                most = self.draw.choice((1, 3, 10, self.store.changes))
                self.store.roll_back(self.draw.randint(0, most), shards)

    def _calm(self) -> None:
        self.faults = NONE
        for worker, _ in self._members:
            worker.process.calm()

    async def _supervise(self) -> None:
        """Replace the dead, and take the partitions from the silent."""
        known: list[Worker] = []
        while True:
            self._members = [member for member in self._members if not member[1].done()]
            while len(self._members) < self.workers:
                self._start()
            fit = self._fit()
            if fit != known:
                known = fit
                self.group.deal(fit)
            await asyncio.sleep(self.draw.choice((0.2, 1.0, 2.0)))

    def _fit(self) -> list[Worker]:
        now = asyncio.get_running_loop().time()
        return [worker for worker, _ in self._members if now - worker.process.seen_s < SESSION_S]

    def _start(self) -> None:
        self.lives += 1
        loop = asyncio.get_running_loop()
        process = Process(self.draw, self.faults)
        process.seen_s = loop.time()
        shelf = Shelf(self.world, process)
        worker = Worker(
            process,
            self.group,
            new_partition=lambda number: self.world.machine(number, process.crash, shelf.get),
            shelf=shelf,
            store=StoreConnection(self.store, process),
            log=LogConnection(self.log, process),
            sink=self._sink(process),
            partitions=self.partitions,
            on_fatal=self.fatal.append,
        )
        self._members.append((worker, loop.create_task(worker.live())))

    def _sink(self, process: Process) -> Sink:
        return (TransactionalSink if self.transactional else PlainSink)(self.broker, process)

    async def _settle(self) -> None:
        deadline = asyncio.get_running_loop().time() + CALM_S
        while not await self._done():
            assert asyncio.get_running_loop().time() < deadline, "no progress though nothing goes wrong"
            await asyncio.sleep(1.0)

    async def _done(self) -> bool:
        assert not self.fatal, f"a worker ended for good: {self.fatal}"
        for partition, records in self.log.items():
            head = await self.store.open(partition)
            if head.offset != records[-1].offset + 1 or head.outbox:
                return False
        return True

    def _left_behind(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task that failed and was not asked: of a dead process that is nothing, else it is a fault."""
        error = context.get("exception")
        if error is not None and not isinstance(error, Killed):
            self.fatal.append(error)
