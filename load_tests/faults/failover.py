"""Items 12, 13 and 15: failovers that lose seconds, an old primary that is cut off, slots that move."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_keys import shard_tag, slot_of_tag
from load_tests.faults import reading
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import QUICK_GROUP, Bench, Stage, spread, stream
from tests.support.cluster import NODES, RedisCluster

SYNC_S = 60.0
WAIT = {"STEWARD_REDIS_BACKOFF_MAX": "500ms", "STEWARD_REDIS_COMMAND_TIMEOUT": "1s"}
RATE = 1_000
MIGRATE_KEYS = 100


class Pair:
    """A primary, its replica, and the address that names whichever is primary now: a link to its socket."""

    def __init__(self, place: Path) -> None:
        self.link = place / "primary.sock"
        self.servers = [RedisServer(installed_redis_binary(), append_only=True, tcp=True) for _ in range(2)]

    @property
    def url(self) -> str:
        """What workers connect to."""
        return f"unix://{self.link}"

    @property
    def primary(self) -> RedisServer:
        """The server that is primary now."""
        return self.servers[0]

    @property
    def replica(self) -> RedisServer:
        """The other one."""
        return self.servers[1]

    def start(self) -> None:
        """Start both and let the replica follow."""
        self.primary.start()
        self.replica.start()
        self._name()
        self.follow()

    def follow(self) -> None:
        """Make the replica a whole copy that follows."""
        with reading.connect(self.replica.url) as client:
            client.replicaof("127.0.0.1", self.primary.port)
            end = time.monotonic() + SYNC_S
            while client.info("replication")["master_link_status"] != "up":
                if time.monotonic() > end:
                    raise TimeoutError("the replica did not follow")
                time.sleep(0.05)

    def detach(self) -> None:
        """The replica follows no longer: what is committed from now on it has not."""
        with reading.connect(self.replica.url) as client:
            client.replicaof("NO", "ONE")

    def promote(self) -> None:
        """The detached replica is the primary, for whoever connects from now on."""
        self.servers.reverse()
        self._name()

    def _name(self) -> None:
        fresh = self.link.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.primary.directory / "redis.sock")
        fresh.replace(self.link)

    def close(self) -> None:
        """Stop both."""
        for server in self.servers:
            server.close()


@contextmanager
def pair(place: Path) -> Iterator[Pair]:
    """A primary and its replica."""
    place.mkdir(parents=True, exist_ok=True)
    both = Pair(place)
    try:
        both.start()
        yield both
    finally:
        both.close()


async def _pour(stage: Stage, values: list[bytes]) -> None:
    for start in range(0, len(values), RATE // 5):
        await stage.produce(values[start : start + RATE // 5])
        await asyncio.sleep(0.2)


@item(12, "a reader of committed records sees each output once", "failover to a replica that has not the last 5 s")
async def behind(bench: Bench) -> Result:
    times, seconds = bench.count(1, 10), 1.5 if bench.quick else 5.0
    result = Result(runs=times)
    rolled_back, back = [], []
    with pair(bench.directory / "failover") as both:
        async with bench.stage("failover", url=both.url, **WAIT) as stage:
            a_turn = int(RATE * (seconds + 6))  # events go on coming: a quiet worker notices with its next commit
            events = stream(times * a_turn, customers=500)
            worker = stage.fork()
            for turn in range(times):
                pouring = asyncio.ensure_future(_pour(stage, events[turn * a_turn : (turn + 1) * a_turn]))
                await stage.passes(stage.total() + 200, life=worker)
                both.detach()
                await asyncio.sleep(seconds)
                before = stage.total()
                both.primary.kill()
                both.promote()
                began, there = time.monotonic(), stage.total()
                rolled_back.append(before - there)
                await stage.passes(there, life=worker)
                back.append(time.monotonic() - began)
                await pouring
                await asyncio.to_thread(both.replica.start)
                await asyncio.to_thread(both.follow)
            await stage.judge(result)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    result.expect(min(rolled_back) > 0, "a failover lost nothing")
    result.figures |= {"rolled_back": rolled_back, "back_s": back}
    result.remark = f"{sum(rolled_back):,} committed events rolled back; next commit after {spread(back)}"
    return result


@item(13, "two primaries make one history", "the old primary is cut off with one worker, the new one serves another")
async def split(bench: Bench) -> Result:
    times = bench.count(1, 10)
    result = Result(runs=times)
    forked = []
    with pair(bench.directory / "split") as both:
        async with bench.stage("split", url=both.url, partitions=2, **WAIT, **QUICK_GROUP) as stage:
            events = stream(times * 8 * RATE, customers=500)
            for turn in range(times):
                old = stage.fork()
                pouring = asyncio.ensure_future(_pour(stage, events[turn * 8 * RATE : (turn + 1) * 8 * RATE]))
                await stage.passes(stage.total() + 200, life=old)
                both.detach()
                await asyncio.sleep(1.0)
                both.promote()  # the old worker keeps its connections to the old primary
                new = stage.fork()
                await asyncio.sleep(4.0)
                forked.append(_apart(stage, both))
                both.replica.kill()
                await pouring
                await stage.settle()
                old.kill()
                new.kill()
                await asyncio.to_thread(both.replica.start)
                await asyncio.to_thread(both.follow)
            stage.fork()
            await stage.judge(result)
    result.expect(min(forked) > 0, "the old primary took nothing after the split")
    result.figures["commits_apart"] = forked
    result.remark = f"{sum(forked):,} events committed on the old primary that the new one had not"
    return result


def _apart(stage: Stage, both: Pair) -> int:
    """By how many events the old primary is ahead of what was the replica's state, or has its own."""
    from engine.adapters.redis_keys import Keys

    keys = Keys(stage.settings.redis.prefix)
    with reading.connect(both.replica.url) as old, reading.connect(both.primary.url) as new:
        offsets = [[int(c.hget(keys.base(s) + b"H", "offset") or 0) for s in stage.partitions] for c in (old, new)]
    return sum(abs(a - b) for a, b in zip(*offsets, strict=True))


@item(15, "a commit is there as a whole or not at all", "the shard's slot moves between cluster nodes under load")
async def slots(bench: Bench) -> Result:
    times = bench.count(2, 40)
    result = Result(runs=times)
    with RedisCluster() as cluster:
        async with bench.stage("slots", url=cluster.url, STEWARD_BATCH_EVENTS_MAX="50", **WAIT) as stage:
            stage.clients = [reading.connect(node.url) for node in cluster.nodes]
            worker = stage.fork()
            a_turn = 4 * RATE
            events = stream(times * a_turn, customers=500)
            place = slot_of_tag(shard_tag(0).encode()) * NODES // 16_384
            moved = 0
            for turn in range(times):
                pouring = asyncio.ensure_future(_pour(stage, events[turn * a_turn : (turn + 1) * a_turn]))
                await stage.passes(stage.total() + 100, life=worker)
                moved += await _migrate(cluster, stage.clients, place, (place + 1) % NODES)
                place = (place + 1) % NODES
                await pouring
                await stage.passes(stage.total() - 1, life=worker)
            await stage.judge(result)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    result.remark = f"{moved:,} keys moved while commits went on"
    return result


async def _migrate(cluster: RedisCluster, clients: list[Redis], source: int, target: int) -> int:
    """Move the slot of shard 0 as `redis-cli --cluster reshard` does; how many keys moved."""
    slot = slot_of_tag(shard_tag(0).encode())
    names = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    port, moved = cluster.nodes[target].port, 0
    while keys := clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, MIGRATE_KEYS):
        clients[source].execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", *keys)
        moved += len(keys)
        await asyncio.sleep(random.random() * 0.02)
    for node in (target, source, 3 - source - target):
        clients[node].execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    return moved
