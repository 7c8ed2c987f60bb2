"""Kafka to Kafka through one worker with its state in Redis: throughput, worker CPU an event, end-to-end latency.

Apache Kafka (one node), Redis (append-only file on), the worker, the load and the reader all run on this machine.

Throughput: events that are ready in memory are produced as fast as the broker takes them, while the worker runs; the
clock goes from the first send to the commit of the last event in Redis. CPU is user and system time of each process
over the same span, from /proc. Latency: events are sent one by one at their scheduled times, 500 a second; it counts
from the scheduled time of an event to its decision in the hands of a read-committed consumer.

`--setups 1:off 1:auto 2:off 2:auto` measures partitions and transactions apart, `--rules DIR` another pack: so what
each costs can be told. The broker's Java compiles itself in the first minute, on the same cores: `--warm-up-seconds`.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka
import msgspec
from aiokafka.partitioner import DefaultPartitioner

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.generator.stream import generate
from tests.support.deployment import STEWARD, Deployment, Worker, customer
from tests.support.kafka import ApacheKafka

WARM_UP = 4_000
RATE = 500
TICKS = os.sysconf("SC_CLK_TCK")
SETUP = "2:auto"


class Setup(NamedTuple):
    """What a run is about."""

    partitions: int
    transactions: str
    rules: Path | None

    @classmethod
    def parse(cls, text: str, rules: Path | None) -> "Setup":
        """From `PARTITIONS:TRANSACTIONS`."""
        partitions, _, transactions = text.partition(":")
        return cls(int(partitions), transactions, rules)

    @property
    def environment(self) -> dict[str, str]:
        """What the worker is told."""
        rules = {"STEWARD_RULES": str(self.rules.resolve())} if self.rules else {}
        return {"STEWARD_KAFKA_TRANSACTIONS": self.transactions, **rules}

    @property
    def ready(self) -> str:
        """What the worker's log says once its last shard takes events."""
        return f"shard {self.partitions - 1} starts"


class Bench(NamedTuple):
    """Everything that runs."""

    deployment: Deployment
    worker: Worker
    servers: dict[str, int]
    partitions: list[int]

    def cpu_s(self) -> dict[str, float]:
        """CPU of each process so far."""
        return {"worker": cpu_s(self.worker.process.pid), **{name: cpu_s(pid) for name, pid in self.servers.items()}}


class _Data(msgspec.Struct):
    event_id: str


class _Event(msgspec.Struct):
    data: _Data


decode = msgspec.json.Decoder(_Event).decode
choose = DefaultPartitioner()


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def produce(producer: Any, topic: str, partitions: list[int], events: list[tuple[bytes, bytes]]) -> None:
    """As fast as it goes, in batches built per partition."""
    batches = {p: producer.create_batch() for p in partitions}
    waits = []
    for key, value in events:
        partition = choose(key, partitions, partitions)
        if batches[partition].append(timestamp=None, key=key, value=value) is None:
            waits.append(await producer.send_batch(batches[partition], topic, partition=partition))
            batches[partition] = producer.create_batch()
            batches[partition].append(timestamp=None, key=key, value=value)
    for partition, batch in batches.items():
        waits.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*waits)


async def throughput(bench: Bench, events: list[tuple[bytes, bytes]]) -> dict[str, float]:
    """Events a second and CPU of each process for `events`, on top of what the worker has done before."""
    deployment = bench.deployment
    topic = deployment.settings.topics.events
    done = sum(max(0, head.offset) for head in (await deployment.heads()).values())
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=deployment.bootstrap, acks=1, max_batch_size=1 << 17)
    await producer.start()
    before, began = bench.cpu_s(), time.perf_counter()
    sending = asyncio.ensure_future(produce(producer, topic, bench.partitions, events))
    await deployment.until(lambda heads: sum(head.offset for head in heads.values()) >= done + len(events), 300)
    seconds, after = time.perf_counter() - began, bench.cpu_s()
    await sending
    await producer.stop()
    used = {f"{name}_cpu_us_per_event": (after[name] - before[name]) / len(events) * 1e6 for name in after}
    return {"events_per_second": len(events) / seconds, **used}


async def latency(deployment: Deployment, events: list[tuple[bytes, bytes]]) -> list[float]:
    """Milliseconds from the scheduled send of each decided event to its decision."""
    topics = deployment.settings.topics
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=deployment.bootstrap, acks=1, linger_ms=0)
    consumer = aiokafka.AIOKafkaConsumer(
        topics.decisions, bootstrap_servers=deployment.bootstrap, isolation_level="read_committed"
    )
    await producer.start()
    await consumer.start()
    await consumer.seek_to_end()
    for partition in consumer.assignment():
        await consumer.position(partition)
    scheduled: dict[str, float] = {}
    found: list[float] = []

    async def read() -> None:
        async for record in consumer:
            began = scheduled.get(decode(record.value).data.event_id)
            if began is not None:
                found.append((time.perf_counter() - began) * 1000)

    reading = asyncio.ensure_future(read())
    start = time.perf_counter() + 0.2
    for number, (key, value) in enumerate(events):
        at = start + number / RATE
        wait = at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        scheduled[json.loads(value)["event_id"]] = at
        await producer.send(topics.events, value=value, key=key)
    await asyncio.sleep(1.0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await consumer.stop()
    await producer.stop()
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measure(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    size = args.runs * (args.events + args.seconds * RATE) + args.warm_up_seconds * RATE + WARM_UP
    events = [(customer(value) or b"", value.rstrip()) for value in generate(size)]
    gc.collect()
    gc.freeze()
    taken = iter(events)

    def take(count: int) -> list[tuple[bytes, bytes]]:
        return [next(taken) for _ in range(count)]

    await throughput(bench, take(WARM_UP))
    await latency(bench.deployment, take(args.warm_up_seconds * RATE))
    runs = [await throughput(bench, take(args.events)) for _ in range(args.runs)]
    before, began = bench.cpu_s(), time.perf_counter()
    delays = [await latency(bench.deployment, take(args.seconds * RATE)) for _ in range(args.runs)]
    after, seconds = bench.cpu_s(), time.perf_counter() - began
    result: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    result |= {f"latency_ms_p{p}": statistics.median(percentile(d, p / 100) for d in delays) for p in (50, 90, 99)}
    result["latency_ms_max"] = max(max(d) for d in delays)
    result |= {f"{name}_cores_at_rate": (after[name] - before[name]) / seconds for name in after}
    result |= {
        "latency_samples": [len(d) for d in delays],
        "throughput_runs": runs,
        "rate": RATE,
        "events": args.events,
    }
    return result


def run(setup: Setup, args: argparse.Namespace) -> dict[str, Any]:
    """One setup, on servers of its own."""
    busy = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as directory,
        ApacheKafka() as kafka,
        RedisServer(installed_redis_binary(), append_only=True) as redis,
        Deployment(
            "bench", Path(directory), kafka.start().url, redis.start().url,
            partitions=setup.partitions, **setup.environment,
        ) as deployment,
    ):  # fmt: skip
        first = deployment.start(STEWARD)  # compiles what has never been compiled here, and fills the kernels' cache
        first.wait_for(setup.ready, 300)
        first.terminate()
        began = time.perf_counter()
        worker = deployment.start(STEWARD)
        worker.wait_for(setup.ready, 180)
        cold_start_s = time.perf_counter() - began
        servers = {"broker": kafka.pid, "redis": redis.pid}
        bench = Bench(deployment, worker, servers, list(range(setup.partitions)))
        result = {
            "partitions": setup.partitions,
            "transactions": setup.transactions,
            "rules": setup.rules.name if setup.rules else "shipped",
            "load_average_before": busy,
            "cold_start_seconds": cold_start_s,
            **asyncio.run(measure(bench, args)),
        }
        worker.terminate()
    return result


SHOWN = ("events_per_second", "worker_cpu_us_per_event", "broker_cpu_us_per_event", "redis_cpu_us_per_event",
         "latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "worker_cores_at_rate", "broker_cores_at_rate",
         "cold_start_seconds")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setups", nargs="+", default=[SETUP], help="PARTITIONS:TRANSACTIONS, such as 2:auto or 1:off")
    parser.add_argument("--rules", type=Path, help="a rules directory; without, the shipped rules")
    parser.add_argument("--events", type=int, default=100_000, help="events of a throughput run")
    parser.add_argument("--seconds", type=int, default=20, help="length of a latency run")
    parser.add_argument("--warm-up-seconds", type=int, default=45, help="of the latency rate, before the first run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to save the figures as JSON")
    args = parser.parse_args()
    results = [run(Setup.parse(text, args.rules), args) for text in args.setups]
    print(f"{'':<28}" + "".join(f"{text:>12}" for text in args.setups))
    for name in SHOWN:
        print(f"{name:<28}" + "".join(f"{result[name]:>12,.2f}" for result in results))
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
