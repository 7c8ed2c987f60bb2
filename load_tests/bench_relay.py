"""What transactions cost the relay: outputs a second and time of a call, in transactions and at least once.

One Apache Kafka and the sink alone, on this machine. Backlog: two shards at once, 2,000 outputs of 600 bytes a call, as
when the relay has much to send. Trickle: one shard, 5 outputs a call, one call after the other: the time of a call is
what a transaction adds to the way of an output. Figures of one run are good for ratios only.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_outputs import KafkaOutputs
from engine.adapters.kafka_topics import ensure_topics
from engine.core.effects import Output
from tests.support.kafka import ApacheKafka

BODY = b'{"filler":"%s"}' % (b"x" * 450)
BACKLOG_CALL = 2_000
TRICKLE_CALL = 5


def made(first: int, count: int) -> Sequence[Output]:
    return [Output("decision", b"customer", f"dec_{n:032x}", 1_000 + n, BODY) for n in range(first, first + count)]


async def backlog(sink: KafkaOutputs, shard: int, calls: int, begin: int) -> None:
    for call in range(calls):
        first = begin + call * BACKLOG_CALL
        await sink.send(shard, first, made(first, BACKLOG_CALL))


async def measure(bootstrap: str, transactions: str, calls: int) -> dict[str, float]:
    name = f"bench-{transactions}"
    options = KafkaOptions(
        bootstrap=bootstrap, group=name, events=f"{name}.events", outputs={"decision": f"{name}.decisions"},
        relay=f"{name}.relay", partitions=2, transactions=transactions,
    )  # fmt: skip
    await ensure_topics(options)
    sink = KafkaOutputs(options)
    await sink.start()
    await asyncio.gather(*(backlog(sink, shard, 3, 0) for shard in (0, 1)))  # connections, and the broker's Java
    began = time.perf_counter()
    await asyncio.gather(*(backlog(sink, shard, calls, 3 * BACKLOG_CALL) for shard in (0, 1)))
    seconds = time.perf_counter() - began
    first = (3 + calls) * BACKLOG_CALL
    times = []
    for call in range(100):
        outputs = made(first + call * TRICKLE_CALL, TRICKLE_CALL)
        at = time.perf_counter()
        await sink.send(0, first + call * TRICKLE_CALL, outputs)
        times.append((time.perf_counter() - at) * 1000)
    await sink.close()
    times.sort()
    return {
        "outputs_per_second": 2 * calls * BACKLOG_CALL / seconds,
        "call_p50_ms": statistics.median(times),
        "call_p99_ms": times[98],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10, help="backlog calls of each shard")
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with ApacheKafka() as kafka:
        kafka.start()
        for transactions in ("off", "on"):
            found[transactions] = asyncio.run(measure(kafka.bootstrap, transactions, args.calls))
    found["ratio"] = {name: found["on"][name] / found["off"][name] for name in found["off"]}
    print(f"{'':14}{'outputs/s':>12}{'call p50 ms':>14}{'call p99 ms':>14}")
    for label, row in (("at least once", "off"), ("transactions", "on"), ("ratio", "ratio")):
        print(f"{label:14}" + "".join(f"{value:>13.2f}" for value in found[row].values()))
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
