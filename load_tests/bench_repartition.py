"""How long `steward repartition` keeps a deployment out of service, by its number of customers.

Run `python -m load_tests.bench_repartition [--customers N] [--unnamed] [--out FILE]`. Fills a redis-server with as many
keys and
bytes a customer as docs/state.md gives for an ordinary one (random bytes but for admission records, whose offsets are
rewritten), moves it from 4 shards to 6, and prints seconds and keys. `--unnamed`: nobody says whose the keys are, so
that they go to each shard they may belong to.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_generation import RedisGeneration
from engine.core.rewards import account_key
from engine.domain.hashing import combine, hash64
from engine.features.layout import Layout
from engine.ports.log import LogBounds
from engine.service import marks
from engine.service.filling import Filling
from engine.service.move_note import Note
from engine.service.partitioners import murmur2
from engine.service.repartition import Move

BEFORE, AFTER = 4, 6
GROUPS = (("customer",), ("card",), ("device",), ("ip",), ("shipping",), ("email",))
BYTES = (369, 67, 103, 85, 85, 85)
ADMISSION_BYTES, ACCOUNT_BYTES = 800, 310
EXPIRES_MS = 90 * 86_400_000


class Past:
    """A log that is gone, and a list of customers."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    async def bounds(self) -> Mapping[int, LogBounds]:
        return {shard: LogBounds(0, 0) for shard in range(BEFORE)}

    async def left(self, partition: int, offset: int) -> int:
        return 0

    async def records(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[bytes | None]]]:
        for shard in range(BEFORE):
            yield shard, []

    async def customers(self) -> AsyncIterator[str]:
        for name in self._names:
            yield name


async def fill(old: RedisGeneration, names: Sequence[str]) -> int:
    """An old generation of these customers; how many keys it has."""
    draw, layout = random.Random(1), Layout()
    for by in GROUPS:
        layout.group(by)
    filling = Filling(old.store, lambda: 0)
    await old.store.start()
    await old.store.extend_layout(None, layout.dump())
    for name in names:
        customer, shard = hash64(name), murmur2(name.encode()) % BEFORE
        own = customer.to_bytes(8, "little")
        await filling.put(shard, b"a" + own, draw.randbytes(ADMISSION_BYTES), EXPIRES_MS)
        await filling.put(shard, account_key(name), draw.randbytes(ACCOUNT_BYTES))
        for group, size in enumerate(BYTES):
            entity = combine([customer, group]) if group else customer
            key = b"f" + group.to_bytes(2, "little") + entity.to_bytes(8, "little")
            await filling.put(entity % BEFORE if group else shard, key, draw.randbytes(size), EXPIRES_MS)
    for shard in range(BEFORE):
        await filling.ops(shard, marks.birth(BEFORE))
        await filling.flush(shard)
    return filling.keys


async def measure(url: str, customers: int, unnamed: bool) -> dict[str, float]:
    """One move."""
    names = [f"customer-{number}" for number in range(customers)]
    old, new = RedisGeneration(url, prefix="old"), RedisGeneration(url, prefix="new")
    try:
        keys = await fill(old, names)
        began = time.monotonic()
        report = await Move(old, new, Past([] if unnamed else names), Note("from", "old", "new", "t", AFTER)).run()
        seconds = time.monotonic() - began
    finally:
        await old.close()
        await new.close()
    return {"customers": customers, "keys": keys, "written": report.written, "seconds": seconds, **report.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--unnamed", action="store_true", help="nobody says whose the keys are")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args()
    with RedisServer(installed_redis_binary()) as server:
        told = json.dumps(asyncio.run(measure(server.start().url, args.customers, args.unnamed)), indent=1)
    print(told)
    if args.out is not None:
        args.out.write_text(told + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
