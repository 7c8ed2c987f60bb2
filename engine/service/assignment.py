"""The partitions this worker owns now, as lanes: assign, deliver, revoke, drain."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.ports.clock import Clock
from engine.ports.log import LogRecord
from engine.service.deadline import Deadline
from engine.service.lane import Lane
from engine.service.shard import Shard


class Assignment:
    """Lanes by partition. A lane lives from `assign` to `revoke`.

    A partition that is revoked and comes back at once, as in every rebalance, keeps its shard: if nobody committed
    meanwhile its memory is still right, and `Shard.open` sees that by the store's head. Shards that do not come back
    with the next assignment are dropped.
    """

    def __init__(self, new_lane: Callable[[int, Shard | None], Lane], clock: Clock) -> None:
        self._new_lane = new_lane
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._parked: dict[int, Shard] = {}

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """The lanes by partition."""
        return self._lanes

    def assign(self, partitions: Iterable[int]) -> None:
        """Start a lane for each of `partitions` that has none. Returns at once: lanes open on their own."""
        for partition in sorted(partitions):
            if partition not in self._lanes:
                lane = self._new_lane(partition, self._parked.pop(partition, None))
                self._lanes[partition] = lane
                lane.start()
        for shard in self._parked.values():
            shard.forget()
        self._parked.clear()

    async def revoke(self, partitions: Iterable[int], seconds: float) -> None:
        """Stop the lanes of `partitions`, all at once, within `seconds`."""
        deadline = Deadline(self._clock, seconds)
        leaving = {partition: self._lanes.pop(partition) for partition in partitions if partition in self._lanes}
        await asyncio.gather(*(lane.stop(deadline) for lane in leaving.values()))
        self._parked.update((partition, lane.shard) for partition, lane in leaving.items())

    async def drain(self, seconds: float) -> None:
        """Stop every lane within `seconds`."""
        await self.revoke(list(self._lanes), seconds)

    def deliver(self, partition: int, records: Sequence[LogRecord]) -> None:
        """Hand records to their lane."""
        lane = self._lanes.get(partition)
        if lane is not None and records:
            lane.put(records)

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
        """The next input offset of every partition that has committed, those just revoked included."""
        shards = {**self._parked, **{partition: lane.shard for partition, lane in self._lanes.items()}}
        return {partition: shard.next_offset for partition, shard in shards.items() if shard.next_offset >= 0}
