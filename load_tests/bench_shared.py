"""What entities shared between shards cost: CPU per event of a worker and of Redis, with one shard and with several.

Run `python load_tests/bench_shared.py [--events N] [--shards N ...] [--out FILE]`. The generator's stream,
spread over the shards by customer, goes through the real shards under the shipped rules in batches of 500 over one
redis-server, shard by shard in turn; outputs go nowhere. CPU is that of this process, which is the worker and the
client, and of the server's main thread; `load` and `deliver` are milliseconds of wall time a batch. The first third
of the stream only warms up.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from zlib import crc32

import msgspec
from redis.asyncio import Redis

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.adapters.memory_sink import MemorySink
from engine.adapters.redis_store import RedisStore
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.generator import Settings, generate
from engine.ports.sink import SinkOutput
from engine.resources import rules_directory
from engine.ruleset import report
from engine.ruleset.ruleset import RuleSet
from engine.service.crew import Crew
from engine.service.shard import Shard

BATCH = 500


class Nowhere(MemorySink):
    """Takes outputs and forgets them."""

    async def send(self, shard: int, first: int, outputs: list[SinkOutput]) -> None:  # type: ignore[override]
        """Forget them."""


class Keyed(msgspec.Struct):
    """What decides the partition of an event."""

    customer_id: str = ""


def spread(records: list[bytes], shards: int) -> list[list[bytes]]:
    """The records of each partition."""
    found: list[list[bytes]] = [[] for _ in range(shards)]
    key = msgspec.json.Decoder(Keyed).decode
    for record in records:
        found[crc32(key(record).customer_id.encode()) % shards].append(record)
    return found


async def cpu_seconds(redis: Redis) -> float:
    """CPU time of the server's main thread so far."""
    info = await redis.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


async def measure(url: str, ruleset: RuleSet, records: list[bytes], shards: int, batch: int) -> dict[str, float]:
    """Microseconds of CPU per event, and what the batches waited for."""
    store, redis = RedisStore(url, prefix=f"s{shards}b{batch}"), Redis.from_url(url, protocol=2)
    await store.start()
    crew = Crew(
        new_partition=lambda number: Partition(ruleset, CoreSettings(), shard=number),
        store=store, log=MemoryLog(), sink=Nowhere(), clock=SystemClock(), random=random.Random(1).random,
        on_fatal=lambda error: sys.exit(str(error)), partitions=shards,
    )  # fmt: skip
    owned = [crew.shard(number) for number in range(shards)]
    for shard in owned:
        await shard.open()
    parts = spread(records, shards)
    turns = [
        (shard, part, start)
        for start in range(0, max(map(len, parts)), batch)
        for shard, part in zip(owned, parts, strict=True)
        if start < len(part)
    ]
    load_s, deliver_s, walls, events = 0.0, 0.0, [], 0
    cpu_s = server_s = 0.0
    for turn, (shard, part, start) in enumerate(turns):
        if turn == len(turns) // 3:
            load_s, deliver_s, walls, events = 0.0, 0.0, [], 0
            cpu_s, server_s = time.process_time(), await cpu_seconds(redis)
        told = await _process(shard, part[start : start + batch], start)
        load_s, deliver_s, events = load_s + told[0], deliver_s + told[1], events + len(part[start : start + batch])
        walls.append(told[2])
    cpu_s, server_s = time.process_time() - cpu_s, await cpu_seconds(redis) - server_s
    for shard in owned:
        await shard.relay.close()
    await store.close()
    await redis.aclose()
    walls.sort()
    return {
        "shards": shards, "batch": batch, "events": events,
        "worker_us": cpu_s / events * 1e6, "server_us": server_s / events * 1e6,
        "load_ms": load_s / len(walls) * 1e3, "deliver_ms": deliver_s / len(walls) * 1e3,
        "p50_ms": walls[len(walls) // 2] * 1e3, "p99_ms": walls[len(walls) * 99 // 100] * 1e3,
    }  # fmt: skip


async def _process(shard: Shard, values: list[bytes], start: int) -> tuple[float, float, float]:
    """One batch: seconds of loading, of delivering, and of all."""
    deliver = shard._neighbours.deliver
    delivered_s = 0.0

    async def timed() -> None:
        nonlocal delivered_s
        began = time.perf_counter()
        await deliver()
        delivered_s += time.perf_counter() - began

    shard._neighbours.deliver = timed  # type: ignore[method-assign]
    began = time.perf_counter()
    outcome = await shard.process([MemoryRecord(start + i, value) for i, value in enumerate(values)])
    whole_s = time.perf_counter() - began
    shard._neighbours.deliver = deliver  # type: ignore[method-assign]
    return outcome.load_s, delivered_s, whole_s


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ruleset = report.load(rules_directory())
    records = list(generate(args.events, Settings(seed=5, customers=args.events // 20)))
    rows = []
    with RedisServer(installed_redis_binary()) as server:
        url = server.start().url
        for batch, some in ((BATCH, records), (1, records[: min(len(records), 3_000)])):
            for shards in args.shards:
                rows.append(asyncio.run(measure(url, ruleset, some, shards, batch)))
    columns = ("shards", "batch", "worker_us", "server_us", "load_ms", "deliver_ms", "p50_ms", "p99_ms")
    print(" ".join(f"{name:>10}" for name in columns))
    for row in rows:
        print(" ".join(f"{row[name]:>10.2f}" if "_" in name else f"{row[name]:>10.0f}" for name in columns))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
