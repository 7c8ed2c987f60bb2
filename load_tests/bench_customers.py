"""Cost per event against the number of customers: `python -m load_tests.bench_customers [--customers N,N]`.

The shipped rules, in memory. First every customer is seen once, so that the tables hold them all; then the same number
of further payments of random customers is timed, in several slices. A payment in five comes from one of a few hundred
busy customers, as in life. Prints microseconds of CPU an event, median of the slices, and the ratio to the first row.
"""

import argparse
import gc
import json
import random
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.resources import rules_directory
from engine.ruleset import report

BATCH = 1_000
SLICE = 20_000
SLICES = 5
START_MS = 1_767_225_600_000


def payment(n: int, customer: int, time_ms: int) -> bytes:
    return (
        b'{"event_id":"e%d","type":"payment.requested","payment_id":"p%d","customer_id":"c%d","card_id":"k%d",'
        b'"merchant_id":"m%d","merchant_category":"5411","device_id":"d%d","ip":"10.%d.%d.%d","amount":"%d.%02d",'
        b'"currency":"EUR","method":"card","channel":"web","event_time":%d}'
        % (
            n, n, customer, customer, n % 500, customer, customer >> 16 & 255, customer >> 8 & 255, customer & 255,
            5 + n % 90, n % 100, time_ms,
        )
    )  # fmt: skip


def stream(customers: int, events: int, seed: int) -> Iterator[bytes]:
    """Every customer once, then `events` payments of random ones."""
    for n in range(customers):
        yield payment(n, n, START_MS + n)
    source = random.Random(seed)
    for n in range(customers, customers + events):
        busy = source.random() < 0.2
        customer = source.randrange(300 if busy else customers)
        yield payment(n, customer, START_MS + customers + (n - customers) * 50)


def measure(customers: int, seed: int) -> dict[str, Any]:
    partition = Partition(report.load(rules_directory()), CoreSettings(), backed=False)
    batch: list[bytes | None] = []
    costs, seen, spent = [], 0, 0.0
    gc.freeze()
    for line in stream(customers, SLICE * SLICES, seed):
        batch.append(line)
        if len(batch) < BATCH and seen + len(batch) != customers:
            continue
        began = time.process_time()
        partition.apply(partition.decode(batch), dict)
        spent += time.process_time() - began
        seen += len(batch)
        batch = []
        if seen <= customers:
            spent = 0.0
        elif (seen - customers) % SLICE == 0:
            costs.append(spent / SLICE * 1e6)
            spent = 0.0
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"customers": customers, "us_per_event": statistics.median(costs), "slices": costs, "rss_mb": memory_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", default="10000,100000,1000000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    measure(1_000, args.seed)  # compiled kernels, warm allocator
    rows = [measure(int(count), args.seed) for count in args.customers.split(",")]
    print(f"{'customers':>12} {'µs/event':>9} {'ratio':>6} {'peak MB':>8}")
    for row in rows:
        ratio = row["us_per_event"] / rows[0]["us_per_event"]
        print(f"{row['customers']:>12,} {row['us_per_event']:>9.2f} {ratio:>6.2f} {row['rss_mb']:>8.0f}")
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
