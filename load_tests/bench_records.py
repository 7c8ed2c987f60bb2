"""What a customer's record costs: bytes by part, and storing what an event changed.

    python -m load_tests.bench_records [--customers 20] [--out FILE]

All shipped campaigns live. Active customers pay 200 times in 400 days, ordinary ones 10 times in 30 days; each payment
is requested and settles a day later, one in twenty is refunded in part, and after every tenth three quarters of the
points are redeemed that the payments so far will have earned. Everybody has a zone, a date of birth and has consented.
Prints the bytes of a snapshot at the end, its parts each deflated by itself, what was stored with frames behind it,
and processor time and bytes of a write.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any, Final

from engine.core.customers import customer_key
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import APPEND, KEY_HEAD, unpack
from engine.engagement.customer import codec
from engine.engagement.customer.customer import Customer
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read

START_MS: Final = 1_767_225_600_000
DAY_MS: Final = 86_400_000
KINDS: Final = {"active": (200, 400), "ordinary": (10, 30)}
"""Payments and days of each kind of customer."""
LONGEST: Final = max(days for _, days in KINDS.values())
CATEGORIES: Final = ("5411", "5812", "5732", "4111")
SETTLES_MS: Final = DAY_MS
REDEEMED_EVERY: Final = 10
HOLD_DAYS: Final = 14


def history(kind: str, number: int, draw: random.Random) -> list[dict[str, Any]]:
    """Events of one customer, who ends on the same day as everybody."""
    payments, days = KINDS[kind]
    first = START_MS + (LONGEST - days) * DAY_MS
    who = {"customer_id": f"{kind}-{number:06d}", "device_id": f"device-{kind}-{number}"}
    found: list[dict[str, Any]] = [
        {**who, "event_time": first, "type": "account.registered", "timezone": "Europe/Berlin", "country": "DE",
         "locale": "de-DE", "birth_date": "1990-03-14", "consent": {"marketing": True, "profiling": True}},
    ]  # fmt: skip
    earned: list[tuple[int, float]] = []
    for place, at in enumerate(sorted(first + draw.randrange(days * DAY_MS) for _ in range(payments))):
        amount = round(draw.uniform(3, 150), 2)
        payment = {**who, "payment_id": f"pay-{kind}-{number}-{place:05d}", "amount": amount, "currency": "EUR",
                   "method": draw.choice(["card", "card", "wallet"]), "merchant_category": draw.choice(CATEGORIES),
                   "merchant_id": f"m{draw.randrange(50)}"}  # fmt: skip
        settled = at + SETTLES_MS
        found.append({**payment, "event_time": at, "type": "payment.requested"})
        found.append({**payment, "event_time": settled, "type": "payment.settled"})
        earned.append((settled + HOLD_DAYS * DAY_MS, amount))
        if draw.random() < 0.05:
            back = {"event_time": settled + 5 * DAY_MS, "amount": round(amount / 3, 2), "refund_id": f"r{place}"}
            found.append({**payment, **back, "type": "payment.refunded"})
        if place % REDEEMED_EVERY == REDEEMED_EVERY - 1:
            points = int(0.75 * sum(units for active, units in earned if active <= settled))
            earned = [(active, units if active > settled else units / 4) for active, units in earned]
            redemption = {**who, "event_time": settled + 1, "type": "points.redeemed", "points": max(points, 1)}
            found.append({**redemption, "redemption_id": f"d{number}-{place}"})
    return found


class Writes:
    """Stands in for `Stored.write`: counts what it costs."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0
        write = codec.Stored.write

        def timed(stored: codec.Stored, customer: Customer, now_ms: int) -> tuple[bytes, bool]:
            began = time.thread_time()
            written = write(stored, customer, now_ms)
            self.seconds += time.thread_time() - began
            self.calls += 1
            return written

        codec.Stored.write = timed  # type: ignore[method-assign]


def run(records: list[dict[str, Any]], batch: int) -> tuple[dict[bytes, bytes], dict[str, float]]:
    """What is stored after all events, in batches in which a customer seldom comes twice, and what writes cost."""
    partition = Partition(compile_rules(dict(read(rules_directory()))).launch(), CoreSettings())
    stored: dict[bytes, bytes] = {}
    writes, appended, whole, customers = Writes(), 0, 0, 0
    lines = [json.dumps({"event_id": f"e{n}", **body}).encode() for n, body in enumerate(records)]
    for start in range(0, len(lines), batch):
        decoded = partition.decode(lines[start : start + batch])
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, [stored.get(key) for key in keys])
        for op in unpack(partition.apply(decoded, lambda index: {}).ops):
            value = (stored.get(op.key, b"") if op.kind == APPEND else b"") + op.value
            stored[op.key] = value
            if op.key[:1] != KEY_HEAD and len(op.key) == len(customer_key("")):
                appended += len(op.value) if op.kind == APPEND else 0
                whole += len(op.value) if op.kind != APPEND else 0
                customers += 1
    settled = sum(body["type"] == "payment.settled" for body in records)
    cost = {"writes": writes.calls, "us_a_write": writes.seconds / writes.calls * 1e6,
            "frame_bytes_a_settlement": appended / settled, "snapshot_bytes_a_settlement": whole / settled,
            "writes_a_settlement": customers / settled}  # fmt: skip
    return stored, cost


def parts(customer: Customer, now_ms: int) -> dict[str, int]:
    """Bytes of a snapshot and of its parts, each deflated by itself."""
    found = {name: len(part) for name, part in codec.weighed(customer, now_ms).items()}
    return {**found, "snapshot": len(codec.snapshot(customer, now_ms))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20, help="of each kind")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    chosen = parser.parse_args()
    draw = random.Random(1)
    everybody = [(kind, number) for kind in KINDS for number in range(chosen.customers)]
    records = [event for kind, number in everybody for event in history(kind, number, draw)]
    records.sort(key=lambda event: event["event_time"])
    stored, cost = run(records, chosen.customers)
    end_ms = records[-1]["event_time"]
    result: dict[str, Any] = {"write": cost}
    for kind in KINDS:
        values = [stored[customer_key(f"{kind}-{number:06d}")] for number in range(chosen.customers)]
        weighed = [parts(codec.load(value)[0], end_ms) for value in values]
        means = {name: round(statistics.mean(one[name] for one in weighed)) for name in weighed[0]}
        means["largest snapshot"] = max(one["snapshot"] for one in weighed)
        means["stored, with frames"] = round(statistics.mean(map(len, values)))
        result[kind] = means
        print(f"{kind} ({KINDS[kind][0]} payments in {KINDS[kind][1]} days), bytes a customer")
        print("".join(f"  {name:24} {size:8,}\n" for name, size in means.items()), end="")
    print("".join(f"{name.replace('_', ' '):32} {value:10,.1f}\n" for name, value in cost.items()), end="")
    if chosen.out:
        chosen.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
