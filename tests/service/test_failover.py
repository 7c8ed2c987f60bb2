"""A replica is promoted that had not copied everything: the running owner notices, drops its cache, reads again."""

import asyncio
from typing import Any

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.memory_log import MemoryLog
from engine.adapters.memory_sink import MemorySink
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_store import RedisStore
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.deadline import Deadline
from tests.service.parts import event
from tests.support.counting import KEY_TOTAL, CountingPartition, replay

EVENTS = 400
COPIED, LOST = 150, 290


class Pointed:
    """A store at whichever server its name points to."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - servers set no event
            await asyncio.sleep(0.005)


async def test_the_promoted_replica_of_a_lost_primary_is_followed() -> None:
    with (
        RedisServer(installed_redis_binary(), tcp=True) as primary,
        RedisServer(installed_redis_binary(), tcp=True) as replica,
    ):
        old, new = RedisStore(primary.start().url), RedisStore(replica.start().url)
        admin = RedisClient(replica.url, RedisOptions())
        await admin.call("REPLICAOF", "127.0.0.1", primary.port)
        await old.start()
        store, log, sink, clock = Pointed(old), MemoryLog(), MemorySink(), SystemClock()
        fences: list[int] = []
        fatal: list[BaseException] = []
        crew = Crew(
            new_partition=CountingPartition, store=store, log=log, sink=sink, clock=clock, random=lambda: 0.0,  # type: ignore[arg-type]
            on_fatal=fatal.append, on_fenced=lambda: fences.append(1), limits=BatchLimits(events_max=10),
        )  # fmt: skip
        values = [event(n, f"c{n % 7}") for n in range(EVENTS)]
        log.append(0, *values)
        lane = crew.lane(0)
        lane.start()

        async def process_to(offset: int) -> None:
            async def there() -> bool:
                if lane.wanting and log.position[0] < offset:
                    lane.put(log.poll(0, min(10, offset - log.position[0])))
                return lane.shard.next_offset == offset

            await until(there)

        async def copied() -> bool:
            return (await new.open(0)).offset == COPIED

        await process_to(COPIED)
        await until(copied)
        await admin.call("REPLICAOF", "NO", "ONE")
        await process_to(LOST)  # acknowledged by a primary that nobody copies any more
        primary.kill()
        store.store = new
        assert not fences
        await process_to(EVENTS)
        assert fences == [1]
        await lane.stop(Deadline(clock, 10.0))
        assert not fatal
        head = await new.open(0)
        calm = CountingPartition()
        decoded = calm.decode(values)
        missing = calm.missing(decoded)
        calm.load(missing, [None] * len(missing))
        calm.apply(decoded, lambda row: {"offset": row})
        assert (head.offset, head.state[KEY_TOTAL]) == (EVENTS, calm.total.to_bytes(8, "little"))
        assert sink.ids(0) == replay(values)
        for part in (old, new, admin):
            await part.close()
