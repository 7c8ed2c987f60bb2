"""Items 11, 14, 16 and 17: Redis is killed, emptied, full, or would throw state away."""

import asyncio
import random
import time

from engine.adapters.embedded import RedisServer, installed_redis_binary
from load_tests.faults import reading
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import Bench, spread, stream

POLICIES = (
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
)  # fmt: skip
BIG = {"STEWARD_BATCH_EVENTS_MAX": "2000", "STEWARD_BATCH_BYTES_MAX": "2MiB"}
WAIT = {"STEWARD_REDIS_BACKOFF_MAX": "500ms"}


@item(11, "a commit is there as a whole or not at all", "kill -9 of Redis, also inside commits of a megabyte")
async def dead_store(bench: Bench) -> Result:
    times = bench.count(3, 50)
    draw = random.Random(11)
    result = Result(runs=times)
    back = []
    with RedisServer(installed_redis_binary(), append_only=True) as redis:
        redis.start()
        async with bench.stage("store", url=redis.url, **BIG, **WAIT) as stage:
            await stage.pour(stream(times * 12_000, customers=2_000))
            worker = stage.fork()
            for _ in range(times):
                await stage.passes(stage.total(), life=worker)
                await asyncio.sleep(draw.random() * 0.25)
                redis.kill()
                await asyncio.sleep(draw.random() * 0.3)
                await asyncio.to_thread(redis.start)
                began = time.monotonic()
                await stage.passes(stage.total(), life=worker)
                back.append(time.monotonic() - began)
            await stage.judge(result, seconds=400)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
            largest = max(_commit_bytes(redis))
    result.expect(bench.quick or largest > 1_000_000, f"the largest commit had {largest} bytes")
    result.figures |= {"back_s": back, "largest_commit_bytes": largest}
    result.remark = f"one worker throughout; commits up to {largest / 1e6:.1f} MB; next commit after {spread(back)}"
    return result


def _commit_bytes(redis: RedisServer) -> list[int]:
    """The longest commands of the server's log of slow calls would be cut; its input buffer's peak is not."""
    with reading.connect(redis.url) as client:
        stats = client.info("commandstats")
        network = int(client.info("stats")["total_net_input_bytes"])
    calls = sum(int(stats.get(name, {}).get("calls", 0)) for name in ("cmdstat_evalsha", "cmdstat_eval"))
    return [network // max(1, calls)]


@item(14, "an emptied store is built again from the log", "FLUSHALL under a running worker")
async def emptied(bench: Bench) -> Result:
    times = bench.count(1, 5)
    events = bench.count(4_000, 60_000)
    result = Result(runs=times)
    rebuilt: list[float] = []
    with RedisServer(installed_redis_binary(), append_only=True) as redis:
        redis.start()
        async with bench.stage("emptied", url=redis.url, **WAIT) as stage:
            await stage.pour(stream(events, customers=1_000))
            worker = stage.fork()
            await stage.ends(lambda: stage.total() >= events, "the first pass", 300)
            for _ in range(times):
                stage.clients[0].flushall()  # under a shard without traffic: it has to notice by itself
                began = time.monotonic()
                await stage.ends(lambda: stage.total() >= events, "the rebuilding", 300)
                rebuilt.append(time.monotonic() - began)
            await stage.judge(result)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    speed = events / (sorted(rebuilt)[len(rebuilt) // 2])
    result.figures |= {"rebuilt_s": rebuilt, "events_per_second": speed}
    result.remark = f"{events:,} events read again in {spread(rebuilt)} ({speed:,.0f} events/s)"
    return result


@item(
    16, "a full store stops the intake, not the worker", "maxmemory reached under noeviction; the disk takes no writes"
)
async def full(bench: Bench) -> Result:
    result = Result(runs=2)
    settings = ("--save", "3600 1000000")
    with RedisServer(installed_redis_binary(), append_only=True, arguments=settings) as redis:
        redis.start()
        async with bench.stage("full", url=redis.url, STEWARD_BATCH_EVENTS_MAX="50", **WAIT) as stage:
            events = stream(6_000, customers=1_000)
            await stage.pour(events[:2_000])
            worker = stage.fork()
            await stage.passes(500, life=worker)
            client = stage.clients[0]
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 200_000)
            await stage.pour(events[2_000:4_000])
            await stage.ends(lambda: "the server's memory is full" in worker.log, "the wait for memory")
            await _stands_still(stage, result)
            client.config_set("maxmemory", 0)
            await stage.ends(lambda: stage.total() >= 4_000, "the rest after the memory was full")
            obstacle = redis.directory / "dump.rdb"
            obstacle.unlink(missing_ok=True)
            obstacle.mkdir()  # so that no snapshot can be written, which is what Redis judges the disk by
            client.bgsave()
            await stage.ends(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok", "the failed save")
            await stage.pour(events[4_000:])
            await stage.ends(lambda: "cannot write its data to disk" in worker.log, "the wait for the disk")
            await _stands_still(stage, result)
            obstacle.rmdir()
            client.bgsave()
            await stage.judge(result)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
            said = sum("the state store is not available" in line for line in worker.log.splitlines())
            result.expect(said <= 6, f"{said} complaints about one full server")
    result.remark = "one worker throughout, no commit meanwhile, one complaint for each outage"
    return result


async def _stands_still(stage: "object", result: Result) -> None:
    before = stage.total()  # type: ignore[attr-defined]
    await asyncio.sleep(1.5)
    result.expect(stage.total() == before, "a commit was made while the server refused writes")  # type: ignore[attr-defined]


@item(17, "a store that may throw state away is refused", "each eviction policy but noeviction")
async def evicting(bench: Bench) -> Result:
    result = Result(runs=len(POLICIES))
    with RedisServer(installed_redis_binary()) as redis:
        redis.start()
        async with bench.stage("evicting", url=redis.url) as stage:
            for policy in POLICIES:
                stage.clients[0].config_set("maxmemory-policy", policy)
                worker = stage.fork()
                code = await asyncio.to_thread(worker.wait, 60)
                refused = code == 1 and policy in worker.log and "noeviction" in worker.log
                result.expect(
                    refused and "Traceback" not in worker.log, f"{policy}: exit code {code}: {worker.log[-300:]}"
                )
            result.expect(not stage.clients[0].keys("*events*"), "something was stored")
    result.remark = "refused with exit code 1 and the command that mends it"
    return result
