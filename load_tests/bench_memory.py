"""What state costs: bytes in Redis by part, for ordinary customers through the real core and the shipped rules.

Run `python load_tests/bench_memory.py [--customers N] [--rules DIR] [--live] [--out FILE]`. An ordinary customer makes
10 payments in 30 days, each requested, authorised and settled, with one card, device, address and e-mail of his own, at
merchants that all share. Prints, for each part of the state, keys, bytes of values, and bytes that Redis holds for
them, which includes keys and the room that an appended value has to grow, divided by the number of customers.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import defaultdict
from pathlib import Path

from redis.asyncio import Redis

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_keys import Keys
from engine.adapters.redis_store import PREFIX, RedisStore
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.fields import STRING_FIELDS
from engine.domain.ops import (
    KEY_ADMISSION,
    KEY_CLAIM,
    KEY_CUSTOMER,
    KEY_FEATURE,
    KEY_HEAD,
    KEY_LABEL,
    KEY_MATURING,
    KEY_TIMER,
    KEY_WATCH,
)
from engine.features.plan import Plan
from engine.ports.store import Commit
from engine.ruleset import report

START_MS = 1_767_225_600_000
DAY_MS = 86_400_000
PAYMENTS = 10
DAYS = 30
MERCHANTS = 500
BATCH = 500
PARTS = {
    KEY_ADMISSION: "admission", KEY_CUSTOMER: "customer", KEY_HEAD: "shard", KEY_TIMER: "timers", KEY_WATCH: "watches",
    KEY_LABEL: "cases", KEY_MATURING: "maturing", KEY_CLAIM: "claims",
}  # fmt: skip
STORE_PARTS = {b"H": "shard", b"I": "shard", b"O": "outbox", b"J": "journal", b"A": "answers"}


def events(customers: int, draw: random.Random) -> list[bytes]:
    """The payments of every customer, in order of time."""
    found: list[tuple[int, dict[str, object]]] = []
    for customer in range(customers):
        own = {
            "customer_id": f"customer-{customer:08d}", "card_id": f"card-{customer:08d}", "currency": "EUR",
            "device_id": f"device-{customer:08d}", "email_hash": f"email-{customer:08d}", "card_country": "DE",
            "ip": f"10.{customer >> 16 & 255}.{customer >> 8 & 255}.{customer & 255}", "ip_country": "DE",
            "shipping_hash": f"shipping-{customer:08d}", "method": "card", "channel": "web", "card_bin": "411111",
        }  # fmt: skip
        for number in range(PAYMENTS):
            at = START_MS + draw.randrange(DAYS * DAY_MS)
            payment = {
                **own, "payment_id": f"pay-{customer:08d}-{number}", "amount": f"{draw.uniform(5, 150):.2f}",
                "merchant_id": f"merchant-{draw.randrange(MERCHANTS):04d}", "merchant_category": "5411",
            }  # fmt: skip
            steps = (("requested", 0), ("authorised", 2_000), ("settled", DAY_MS))
            for step, later in steps:
                event = {"event_id": f"{payment['payment_id']}-{step}", "type": f"payment.{step}"}
                found.append((at + later, {**event, "event_time": at + later, **payment}))
    found.sort(key=lambda pair: pair[0])
    return [json.dumps(event).encode() for _, event in found]


async def fill(store: RedisStore, partition: Partition, records: list[bytes]) -> int:
    """Send every record through the core into the store; the bytes of all operations."""
    offset, sequence, sent = -1, 0, 0
    for start in range(0, len(records), BATCH):
        decoded = partition.decode(records[start : start + BATCH])
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, await store.load(0, keys))
        effects = partition.apply(decoded, lambda index: {"line": index})
        outbox = b"".join(output.data for output in effects.outputs)
        upto = min(start + BATCH, len(records))
        await store.commit(Commit(0, offset, upto, effects.ops, outbox, sequence))
        offset, sequence, sent = upto, sequence + bool(outbox), sent + len(effects.ops)
    await store.commit(Commit(0, offset, offset, b"", relayed=sequence))
    return sent


async def weigh(redis: Redis, plan: Plan) -> dict[str, list[int]]:
    """Keys, bytes of values and bytes held, for each part."""
    base = Keys(PREFIX).base(0)
    groups = {group.id: "features of " + "+".join(STRING_FIELDS[row] for row in group.by_rows) for group in plan.groups}
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    keys = [key async for key in redis.scan_iter(count=1_000) if key.startswith(base)]
    for start in range(0, len(keys), 1_000):
        chunk = keys[start : start + 1_000]
        pipe = redis.pipeline(transaction=False)
        for key in chunk:
            pipe.memory_usage(key, samples=0)
        held = await pipe.execute()
        pipe = redis.pipeline(transaction=False)
        for key in chunk:
            pipe.execute_command("STRLEN" if key[len(base) :][:1].islower() else "EXISTS", key)
        sizes = await pipe.execute()
        for key, size, usage in zip(chunk, sizes, held, strict=True):
            name = key[len(base) :]
            part = PARTS.get(name[:1]) or STORE_PARTS.get(name[:1], "other")
            if name.startswith(KEY_FEATURE):
                part = groups[int.from_bytes(name[1:3], "little")]
            found[part] = [total + more for total, more in zip(found[part], (1, size, usage), strict=True)]
    return found


async def measure(url: str, rules: Path, customers: int, live: bool) -> dict[str, object]:
    """Fill an empty server and weigh what it holds."""
    redis = Redis.from_url(url, protocol=2)
    empty = int((await redis.info("memory"))["used_memory"])
    ruleset = report.load(rules).launch() if live else report.load(rules)
    partition = Partition(ruleset, CoreSettings())
    store = RedisStore(url)
    records = events(customers, random.Random(7))
    sent = await fill(store, partition, records)
    full = int((await redis.info("memory"))["used_memory"])
    head = (await store.open(0)).state
    parts = await weigh(redis, Plan.compile(ruleset.features, head[b"hlayout"], CoreSettings().features))
    await store.close()
    await redis.aclose()
    return {
        "customers": customers, "events": len(records), "operation_bytes_per_event": sent / len(records),
        "used_memory_per_customer": (full - empty) / customers, "parts": parts,
        "head_state": {name.decode(): len(value) for name, value in head.items()},
    }  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--rules", type=Path, default=Path(__file__).resolve().parent.parent / "rules")
    parser.add_argument("--live", action="store_true", help="drafts of campaigns are live, too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with RedisServer(installed_redis_binary()) as server:
        found = asyncio.run(measure(server.start().url, args.rules, args.customers, args.live))
    parts: dict[str, list[int]] = found["parts"]  # type: ignore[assignment]
    print(f"{'part':<36} {'keys':>8} {'value bytes/key':>15} {'bytes/customer':>14} {'held/customer':>13}")
    for part, (keys, size, held) in sorted(parts.items(), key=lambda item: -item[1][2]):
        each = size / keys
        print(f"{part:<36} {keys:>8} {each:>15.0f} {size / args.customers:>14.0f} {held / args.customers:>13.0f}")
    print(f"used_memory per customer: {found['used_memory_per_customer']:.0f} bytes")
    print(f"operations per event: {found['operation_bytes_per_event']:.0f} bytes; head state: {found['head_state']}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
