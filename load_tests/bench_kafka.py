"""Kafka to Kafka through one worker with its state in Redis: throughput, worker CPU an event, end-to-end latency.

Apache Kafka (one node), Redis (append-only file on), the worker, the load and the reader all run on this machine.

Throughput: events that are ready in memory are produced as fast as the broker takes them, while the worker runs; the
clock goes from the first send to the commit of the last event in Redis. Worker CPU is user and system time of the
worker process over the same span, from /proc. Latency: events are sent one by one at their scheduled times, 500 a
second; it counts from the scheduled time of an event to its decision in the hands of a read-committed consumer.
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
from typing import Any

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
PARTITIONS = [0, 1]


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


async def produce(producer: Any, topic: str, events: list[tuple[bytes, bytes]]) -> None:
    """As fast as it goes, in batches built per partition."""
    batches = {p: producer.create_batch() for p in PARTITIONS}
    waits = []
    for key, value in events:
        partition = choose(key, PARTITIONS, PARTITIONS)
        if batches[partition].append(timestamp=None, key=key, value=value) is None:
            waits.append(await producer.send_batch(batches[partition], topic, partition=partition))
            batches[partition] = producer.create_batch()
            batches[partition].append(timestamp=None, key=key, value=value)
    for partition, batch in batches.items():
        waits.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*waits)


async def throughput(deployment: Deployment, worker: Worker, events: list[tuple[bytes, bytes]]) -> dict[str, float]:
    """Seconds and worker CPU for `events`, on top of what the worker has done before."""
    topic = deployment.settings.topics.events
    done = sum(max(0, head.offset) for head in (await deployment.heads()).values())
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=deployment.bootstrap, acks=1, max_batch_size=1 << 17)
    await producer.start()
    cpu, began = cpu_s(worker.process.pid), time.perf_counter()
    sending = asyncio.ensure_future(produce(producer, topic, events))
    await deployment.until(lambda heads: sum(head.offset for head in heads.values()) >= done + len(events), 300)
    seconds, used = time.perf_counter() - began, cpu_s(worker.process.pid) - cpu
    await sending
    await producer.stop()
    return {"events_per_second": len(events) / seconds, "worker_cpu_us_per_event": used / len(events) * 1e6}


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


async def measure(deployment: Deployment, worker: Worker, args: argparse.Namespace) -> dict[str, Any]:
    size = args.runs * (args.events + args.seconds * RATE) + args.warm_up_seconds * RATE + WARM_UP
    events = [(customer(value) or b"", value.rstrip()) for value in generate(size)]
    gc.collect()
    gc.freeze()
    taken = iter(events)

    def take(count: int) -> list[tuple[bytes, bytes]]:
        return [next(taken) for _ in range(count)]

    await throughput(deployment, worker, take(WARM_UP))
    runs = [await throughput(deployment, worker, take(args.events)) for _ in range(args.runs)]
    await latency(deployment, take(args.warm_up_seconds * RATE))  # the broker's Java needs it to get up to speed
    delays = [await latency(deployment, take(args.seconds * RATE)) for _ in range(args.runs)]
    result: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    result |= {f"latency_ms_p{p}": statistics.median(percentile(d, p / 100) for d in delays) for p in (50, 90, 99)}
    result["latency_ms_max"] = max(max(d) for d in delays)
    result |= {
        "latency_samples": [len(d) for d in delays],
        "throughput_runs": runs,
        "rate": RATE,
        "events": args.events,
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events of a throughput run")
    parser.add_argument("--seconds", type=int, default=20, help="length of a latency run")
    parser.add_argument("--warm-up-seconds", type=int, default=15, help="of the latency rate, before the first run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to save the figures as JSON")
    args = parser.parse_args()
    busy = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as directory,
        ApacheKafka() as kafka,
        RedisServer(installed_redis_binary(), append_only=True) as redis,
        Deployment("bench", Path(directory), kafka.start().url, redis.start().url) as deployment,
    ):
        first = deployment.start(STEWARD)  # compiles what has never been compiled here, and fills the kernels' cache
        first.wait_for("shard 1 starts", 300)
        first.terminate()
        began = time.perf_counter()
        worker = deployment.start(STEWARD)
        worker.wait_for("shard 1 starts", 180)
        cold_start_s = time.perf_counter() - began
        result = {
            "load_average_before": busy,
            "cold_start_seconds": cold_start_s,
            **asyncio.run(measure(deployment, worker, args)),
        }
        worker.terminate()
    for name in ("events_per_second", "worker_cpu_us_per_event", "latency_ms_p50", "latency_ms_p90", "latency_ms_p99"):
        print(f"{name:<28}{result[name]:>12,.1f}")
    print(f"{'cold_start_seconds':<28}{cold_start_s:>12,.1f}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
