"""A deterministic simulator: workers over a store, a log and a sink in memory, killed and disturbed by a seed.

One event loop, one clock that moves only when somebody waits, one random generator: a failing seed fails again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_log import MemoryLog
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable
from engine.ports.store import Commit, Delivery, Head, StoreUnavailable
from engine.service.assignment import Assignment
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.lane import Lane
from engine.service.machine import PartitionMachine, RuleSets
from engine.service.shard import Shard
from tests.support.counting import CountingPartition


class Killed(BaseException):
    """The process died here."""


class World(Protocol):
    """What is simulated: records, and the machine they go through."""

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        """Record `number` of a partition."""

    def rule_sets(self, disturb: Callable[[], bool]) -> RuleSets | None:
        """The rule sets of one life; `disturb` may end it, and says whether their archive fails."""

    def machine(self, number: int, crash: Callable[[], None], rule_sets: RuleSets | None = None) -> PartitionMachine:
        """An empty machine that calls `crash` when it has applied a batch."""


class Counting:
    """Events of a few customers, counted; some not events at all."""

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        if draw.random() < 0.05:
            return draw.choice([None, b"", b"{", b'{"event_id": 1}'])
        event = draw.randrange(number + 1) if draw.random() < 0.1 else number
        return b'{"event_id":"e%d","customer_id":"c%d-%d"}' % (event, partition, event % 7)

    def rule_sets(self, disturb: Callable[[], bool]) -> RuleSets | None:
        return None

    def machine(self, number: int, crash: Callable[[], None], rule_sets: RuleSets | None = None) -> PartitionMachine:
        machine: PartitionMachine = CountingPartition(number, crash)  # type: ignore[assignment]
        return machine


class Chaos:
    """Decides, by the generator it is given, where one process dies and what fails for it."""

    def __init__(self, draw: random.Random, *, kill: float, fail: float) -> None:
        self.random = draw
        self.kill = kill
        self.fail = fail
        self.dead = False

    def maybe_kill(self) -> None:
        if self.dead or self.random.random() < self.kill:
            self.dead = True
            raise Killed

    def fails(self) -> bool:
        return self.random.random() < self.fail

    def disturb(self) -> bool:
        self.maybe_kill()
        return self.fails()


class ChaoticStore:
    """A store whose calls fail before or after they took effect, and whose callers die around them."""

    def __init__(self, store: MemoryStore, chaos: Chaos) -> None:
        self.store = store
        self.chaos = chaos

    async def start(self) -> None:
        await self.store.start()

    async def close(self) -> None:
        await self.store.close()

    async def open(self, shard: int) -> Head:
        await self._disturb()
        return await self.store.open(shard)

    async def load(self, shard: int, keys: Sequence[bytes]) -> list[bytes | None]:
        await self._disturb()
        return await self.store.load(shard, keys)

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        await self._disturb()
        return await self.store.answer(shard, key)

    async def commit(self, commit: Commit) -> None:
        await self._disturb()
        await self.store.commit(commit)
        await self._disturb()

    async def deliver(self, delivery: Delivery) -> int:
        await self._disturb()
        applied = await self.store.deliver(delivery)
        await self._disturb()
        return applied

    async def layout(self) -> bytes | None:
        await self._disturb()
        return await self.store.layout()

    async def extend_layout(self, before: bytes | None, after: bytes) -> bool:
        await self._disturb()
        extended = await self.store.extend_layout(before, after)
        await self._disturb()
        return extended

    async def _disturb(self) -> None:
        await asyncio.sleep(0)
        if self.chaos.disturb():
            raise StoreUnavailable("simulated")


class ChaoticSink(Sink):
    """A sink that takes a part and fails, or takes all while its caller dies before it knows."""

    def __init__(self, sink: MemorySink, chaos: Chaos) -> None:
        self.sink = sink
        self.chaos = chaos

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        await asyncio.sleep(0)
        self.chaos.maybe_kill()
        if self.chaos.fails():
            await self.sink.send(shard, first, outputs[: self.chaos.random.randrange(len(outputs))])
            raise SinkUnavailable("simulated")
        await self.sink.send(shard, first, outputs)
        self.chaos.maybe_kill()


class Simulation:
    """Some partitions of events, and workers that process them under chaos until everything is relayed."""

    def __init__(
        self,
        seed: int,
        *,
        world: World | None = None,
        events: int = 150,
        partitions: int = 2,
        kill: float = 0.06,
        fail: float = 0.05,
    ):
        self.seed = seed
        self.world = world or Counting()
        self.random = random.Random(seed)
        self.kill, self.fail = kill, fail
        self.store = MemoryStore()
        self.sink = MemorySink()
        self.values = {p: [self.world.value(self.random, n, p) for n in range(events)] for p in range(partitions)}
        self.lives = 0
        self.fatal: list[BaseException] = []

    async def run(self, *, workers: int = 1, lives_max: int = 400) -> None:
        """Run `workers` at once, each replaced when it is killed, until the outbox of every shard is empty."""
        while not await self._done():
            self.lives += 1
            assert self.lives <= lives_max, "no progress"
            await asyncio.gather(*(self._life() for _ in range(workers)))
            assert not self.fatal, self.fatal

    async def _life(self) -> None:
        """One worker from its start to its death, or to the end of the work."""
        chaos = Chaos(self.random, kill=self.kill, fail=self.fail)
        log = MemoryLog()
        for partition, values in self.values.items():
            log.append(partition, *values)
        rule_sets = self.world.rule_sets(chaos.disturb)
        crew = Crew(
            new_partition=lambda number: self.world.machine(number, chaos.maybe_kill, rule_sets),
            rule_sets=rule_sets,
            store=ChaoticStore(self.store, chaos),
            log=log,
            sink=ChaoticSink(self.sink, chaos),
            clock=ManualClock(),
            random=self.random.random,
            on_fatal=self.fatal.append,
            partitions=len(self.values),
            limits=BatchLimits(self.random.randint(1, 30), 1 << 20, 60),
            idle_acknowledge_s=0.001,
        )
        lanes: list[Lane] = []

        def hire(partition: int, shard: Shard | None) -> Lane:
            lanes.append(crew.lane(partition, shard))
            return lanes[-1]

        assignment = Assignment(hire, crew.clock)
        assignment.assign(self.values)
        while not (chaos.dead or self.fatal or await self._done()):
            for partition in assignment.wanted():
                assignment.deliver(partition, log.poll(partition, self.random.randint(1, 25)))
            if self.random.random() < 0.01:
                with suppress(Killed):
                    await assignment.revoke([self.random.choice(list(self.values))], 0.01)
                assignment.assign(self.values)
            await asyncio.sleep(0)
        await self._bury(lanes)

    async def _bury(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            for task in (lane._task, lane.shard.relay._task):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError, Killed):
                        await task

    async def _done(self) -> bool:
        for partition, values in self.values.items():
            head = await self.store.open(partition)
            if head.offset != len(values) or head.outbox:
                return False
        return True
