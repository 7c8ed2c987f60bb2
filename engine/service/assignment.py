"""The partitions this worker owns now, as lanes: assign, deliver, drain."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.ports.clock import Clock
from engine.ports.log import LogRecord
from engine.service.deadline import Deadline
from engine.service.lane import Lane

logger = logging.getLogger("steward.service")


class Assignment:
    """Lanes by partition. A lane lives from the assignment that brings its partition to the first one without it.

    While a rebalance goes on, and after it where the partition stays, a lane works as ever: nothing has to rest, for
    two owners of a partition can only write the same history. A partition that goes to another worker is finished in
    the background. Should the other have begun by then, one of the two is refused by the fence and reads again.
    """

    def __init__(
        self, new_lane: Callable[[int], Lane], clock: Clock, on_fatal: Callable[[BaseException], None]
    ) -> None:
        """`on_fatal`: told what went wrong while a lane was let go of."""
        self._new_lane = new_lane
        self._clock = clock
        self._on_fatal = on_fatal
        self._lanes: dict[int, Lane] = {}
        self._leaving: dict[int, asyncio.Task[None]] = {}
        self._reached: dict[int, int] = {}  # offsets of the lanes that were drained

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """The lanes by partition."""
        return self._lanes

    async def assign(self, partitions: Iterable[int], seconds: float) -> None:
        """See `PartitionOwner.assign`."""
        wanted = set(partitions)
        deadline = Deadline(self._clock, seconds)
        for partition in self._lanes.keys() - wanted:
            lane = self._lanes.pop(partition)
            task = asyncio.get_running_loop().create_task(self._let_go(lane, deadline))
            self._leaving[partition] = task
            task.add_done_callback(lambda done, partition=partition: self._leaving.pop(partition))  # type: ignore[misc]
        back = {partition: self._leaving[partition] for partition in wanted & self._leaving.keys()}
        self._start(wanted - back.keys())
        if back:
            await asyncio.wait(back.values())
            self._start(back)

    def _start(self, partitions: Iterable[int]) -> None:
        for partition in sorted(set(partitions) - self._lanes.keys()):
            self._lanes[partition] = self._new_lane(partition)
            self._lanes[partition].start()

    async def drain(self, seconds: float) -> None:
        """Stop every lane within `seconds`, those that are being let go of included."""
        deadline = Deadline(self._clock, seconds)
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.stop(deadline) for lane in lanes.values()))
        self._reached.update((partition, lane.shard.next_offset) for partition, lane in lanes.items())
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()), timeout=max(0.0, deadline.left_s()))

    async def _let_go(self, lane: Lane, deadline: Deadline) -> None:
        try:
            await lane.stop(deadline, handed_over=True)
            lane.shard.forget()
            logger.info("shard %d has been left to its new owner", lane.shard.number)
        except Exception as error:
            self._on_fatal(error)

    def deliver(self, partition: int, records: Sequence[LogRecord]) -> None:
        """Hand records to their lane."""
        lane = self._lanes.get(partition)
        if lane is not None and records:
            lane.put(records)

    def held(self) -> set[int]:
        """The partitions that have a lane."""
        return set(self._lanes)

    def wanted(self) -> set[int]:
        """The partitions to fetch from."""
        return {partition for partition, lane in self._lanes.items() if lane.wanting}

    def rulesets(self) -> dict[int, str]:
        """The hash of the rule set in force, of every shard that is open."""
        return {partition: lane.shard.ruleset for partition, lane in self._lanes.items() if lane.opened}

    def waiting(self) -> dict[int, int | None]:
        """Event time of every shard that is open and waits for it to go on; None for one that waits for nothing."""
        return {partition: lane.shard.waiting for partition, lane in self._lanes.items() if lane.opened}

    def offsets(self) -> dict[int, int]:
        """The next input offset of every partition that has committed, those just drained included."""
        reached = {**self._reached, **{partition: lane.shard.next_offset for partition, lane in self._lanes.items()}}
        return {partition: offset for partition, offset in reached.items() if offset >= 0}
