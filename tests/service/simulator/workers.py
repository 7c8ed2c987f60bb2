"""Workers that share the partitions of a log: what each owns, and how a worker lives and dies."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from engine.ports.sink import Sink
from engine.ports.store import StoreUnavailable
from engine.ruleset import RuleSet
from engine.service.assignment import Assignment
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.lane import Lane
from engine.service.machine import PartitionMachine
from tests.service.simulator.connections import LogConnection, StoreConnection
from tests.service.simulator.faults import Killed, Process
from tests.service.simulator.loop import SimulatedClock
from tests.service.simulator.world import World

REVOKE_S = 1.0


class Shelf:
    """The rule sets of one process: those it did not begin with have to be fetched first, which can fail."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._held = {world.first.hash: world.first}

    def get(self, ruleset: str) -> RuleSet | None:
        return self._held.get(ruleset)

    async def fetch(self, ruleset: str) -> RuleSet | None:
        found = await self._process.request(lambda: self._find(ruleset), StoreUnavailable)
        if found is not None:
            self._held[ruleset] = found
        return found

    async def _find(self, ruleset: str) -> RuleSet | None:
        return self._world.sets.get(ruleset)


class Group:
    """Who owns which partitions. Members learn of a change when they next ask, which can be long after it."""

    def __init__(self, draw: random.Random, partitions: Sequence[int], *, everybody: bool) -> None:
        """`everybody` owns everything: the worst a broken coordinator could do."""
        self._draw = draw
        self._partitions = partitions
        self._everybody = everybody
        self._owners: dict[int, Worker] = {}
        self.generation = 0

    def deal(self, members: Sequence["Worker"]) -> None:
        """Give every partition to one of `members`."""
        self.generation += 1
        self._owners = {p: self._draw.choice(members) for p in self._partitions} if members else {}

    def of(self, worker: "Worker") -> set[int]:
        """What a member owns."""
        if self._everybody:
            return set(self._partitions)
        return {partition for partition, owner in self._owners.items() if owner is worker}


class Worker:
    """One worker process, from its start to its death."""

    def __init__(
        self,
        process: Process,
        group: Group,
        *,
        new_partition: Callable[[int], PartitionMachine],
        shelf: Shelf | None,
        store: StoreConnection,
        log: LogConnection,
        sink: Sink,
        partitions: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.process = process
        self._group = group
        self._log = log
        self._lanes: list[Lane] = []
        self._known = 0
        draw = process.draw
        self._crew = Crew(
            new_partition=new_partition,
            rule_sets=shelf,
            store=store,
            log=log,
            sink=sink,
            clock=SimulatedClock(),
            random=draw.random,
            on_fatal=on_fatal,
            partitions=partitions,
            limits=BatchLimits(draw.choice((1, 4, 8, 30)), 1 << 20, 60),
            relay_entries_max=draw.choice((1, 2, 64)),
            idle_acknowledge_s=draw.choice((0.3, 2.0, 8.0)),
        )
        self._assignment = Assignment(self._hire, self._crew.clock, self._crew.on_fatal)

    def _hire(self, partition: int) -> Lane:
        self._lanes.append(self._crew.lane(partition))
        return self._lanes[-1]

    async def live(self) -> None:
        """Poll until dead."""
        draw = self.process.draw
        try:
            while True:
                await self.process.gate()
                if self._known != self._group.generation:
                    await self._rebalance()
                for partition in sorted(self._assignment.wanted()):
                    self._assignment.deliver(partition, self._log.poll(partition, draw.randint(1, 25)))
                await asyncio.sleep(draw.choice((0.02, 0.5, 2.0)))
        except Killed:
            pass
        finally:
            await cut_short(list(self._assignment._leaving.values()))
            await bury(self._lanes)

    async def _rebalance(self) -> None:
        self._known = self._group.generation
        owned = self._group.of(self)
        await self._assignment.assign(owned, REVOKE_S)


async def bury(lanes: Sequence[Lane]) -> None:
    """End the tasks of a dead process, and give its memory back: megabytes in circles."""
    shards = {id(lane.shard): lane.shard for lane in lanes}
    await cut_short(lane._task for lane in lanes)
    await cut_short(shard.relay._task for shard in shards.values())
    for shard in shards.values():
        vars(shard).clear()


async def cut_short(tasks: "Iterable[asyncio.Task[None] | None]") -> None:
    """Cancel tasks that the process had, if any."""
    for task in tasks:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Killed):
                await task
