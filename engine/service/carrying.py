"""Records that the old shards have not processed, copied to the new topic: each to its key's partition there."""

from collections.abc import Callable, Mapping

from engine.ports.generation import PastLog
from engine.service.replies import is_control


async def carry(past: PastLog, since: Mapping[int, int], after: int, route: Callable[[bytes], int]) -> int:
    """Copy what stands from the offsets in `since` on, in order within each partition; how many records are there then.

    A control event goes to every partition, any other without a key to the one of its number or its rest. What an
    earlier run copied is not copied again.
    """
    done = await past.carried()
    count = 0
    async for partition, record in past.rest(since):
        targets = [partition % after]
        if record.key:
            targets = [route(record.key) % after]
        elif record.value is not None and is_control(record.value):
            targets = list(range(after))
        for target in targets:
            place = f"{partition}/{record.offset}/{target}"
            if place not in done:
                await past.carry(target, record, place)
        count += 1
    return count
