"""What a commit costs: wall time, and CPU time of the Redis server, by server and shape of the batch.

Run `python load_tests/bench_commit.py [--runs N] [--out FILE]`. Prints a table of medians and 99th percentiles over
runs and writes them as JSON where `--out` is given. Each commit holds the appends of a micro-batch over 2,000 entities
of each group, an outbox entry of 150 bytes an event, and a time to live on every key. Server time is that of its main
thread, as it counts it.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from pathlib import Path

from redis.asyncio import Redis

from engine.adapters.embedded import RedisServer, embedded_redis_binary, installed_redis_binary
from engine.adapters.redis_store import RedisStore
from engine.domain.ops import APPEND, SET, Op, pack
from engine.ports.store import Commit

ENTITIES = 2_000
APPEND_BYTES = 28
OUTBOX_BYTES = 150
TTL_HOURS = 24 * 40
COMMITS = 10
SHAPES = ((500, 10, TTL_HOURS), (500, 10, 0), (500, 5, TTL_HOURS), (100, 10, TTL_HOURS), (1, 10, TTL_HOURS))


def batch(events: int, appends: int, ttl_hours: int, draw: random.Random) -> bytes:
    """Packed operations of a micro-batch: appends over many entities, and a profile each."""
    ops = []
    for _ in range(events):
        for group in range(appends):
            key = b"f" + group.to_bytes(2, "little") + draw.randrange(ENTITIES).to_bytes(8, "little")
            ops.append(pack(Op(APPEND, key, draw.randbytes(APPEND_BYTES), ttl_hours)))
    ops.append(pack(Op(SET, b"hclock", draw.randbytes(8))))
    return b"".join(ops)


async def cpu_seconds(redis: Redis) -> float:
    """CPU time of the server's main thread so far."""
    info = await redis.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


async def measure(url: str, shape: tuple[int, int, int], runs: int) -> dict[str, float]:
    """Medians over runs of one shape: milliseconds a commit and microseconds of server CPU an event."""
    events, appends, ttl_hours = shape
    draw = random.Random(7)
    store, redis = RedisStore(url), Redis.from_url(url, protocol=2)
    await redis.flushall()
    offset, sequence = -1, 0
    walls, cpus = [], []
    for run in range(runs + 1):
        batches = [batch(events, appends, ttl_hours, draw) for _ in range(COMMITS)]
        before = await cpu_seconds(redis)
        for ops in batches:
            start = time.perf_counter()
            await store.commit(Commit(0, offset, offset + events, ops, b"o" * OUTBOX_BYTES * events, sequence))
            walls.append((time.perf_counter() - start) * 1e3)
            offset += events
            sequence += 1
        cpus.append((await cpu_seconds(redis) - before) / COMMITS / events * 1e6)
        if run == 0:  # the first run makes the keys and warms the server up
            walls.clear()
            cpus.clear()
    await store.close()
    await redis.aclose()
    ordered = sorted(walls)
    return {
        "wall_ms": statistics.median(walls),
        "wall_ms_p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "commits": len(ordered),
        "server_cpu_us_per_event": statistics.median(cpus),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    print(
        f"{'server':<12} {'file':<5} {'events':>6} {'appends':>7} {'ttl':>4} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'server us/event':>15}"
    )
    for name, binary in (("installed", installed_redis_binary()), ("embedded", embedded_redis_binary())):
        for append_only in (True, False):
            with RedisServer(binary, append_only=append_only) as server:
                server.start()
                for shape in SHAPES:
                    found = asyncio.run(measure(server.url, shape, args.runs))
                    events, appends, ttl_hours = shape
                    about = {"events": events, "appends_per_event": appends, "ttl": bool(ttl_hours)}
                    rows.append({"server": name, "append_only": append_only, **about, **found})
                    print(
                        f"{name:<12} {'yes' if append_only else 'no':<5} {events:>6} {appends:>7} "
                        f"{'yes' if ttl_hours else 'no':>4} {found['wall_ms']:>8.2f} {found['wall_ms_p99']:>8.2f} "
                        f"{found['server_cpu_us_per_event']:>15.2f}"
                    )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
