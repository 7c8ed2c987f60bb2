"""Items 28 to 30: bursts before a slow sink, a hot key, a soak."""

import asyncio
import json
import statistics
import time
from pathlib import Path

import aiokafka

from load_tests.faults import reading
from load_tests.faults.hostile import payment
from load_tests.faults.nursery import Life
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import Bench, Stage, stream

BASE_RATE = 200
BURST = 10
SLOW_SINK_S = 0.5
STALL_S = 6
OUTBOX_MAX = 16
STALLED_GROWN_MIB_MAX = 16
GROWN_MIB_MAX = 160
HOT_RATE = 300
HOT_FACTOR_MAX = 2.0
SOAK_GROWTH_MAX = 0.10


def resident_mib(life: Life) -> float:
    """Resident memory of a worker."""
    pages = int(Path(f"/proc/{life.pid}/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


@item(
    28,
    "memory is capped, the lag drains",
    "ten times the rate for a minute before a sink that takes 0.5 s a call; then one that takes nothing for a while",
)
async def burst(bench: Bench) -> Result:
    seconds = bench.count(4, 60)
    result = Result(runs=2)
    sizes: list[float] = []
    limits = {"STEWARD_BATCH_EVENTS_MAX": "20", "STEWARD_BATCH_OUTBOX_ENTRIES_MAX": str(OUTBOX_MAX)}
    async with bench.stage("burst", **limits) as stage:
        stalled = bench.directory / f"{stage.name}-stalled"
        worker = stage.fork(slow_sink_s=SLOW_SINK_S, stalled_while=str(stalled))
        events = stream(5 * BASE_RATE + (seconds + STALL_S) * BURST * BASE_RATE, customers=500)
        during = 5 * BASE_RATE + seconds * BURST * BASE_RATE
        await _pace(stage, events[: 5 * BASE_RATE], BASE_RATE)
        await stage.ends(lambda: stage.total() >= 5 * BASE_RATE, "the ordinary load")
        before = resident_mib(worker)
        watching = asyncio.ensure_future(_sample(worker, sizes))
        await _pace(stage, events[5 * BASE_RATE : during], BURST * BASE_RATE)
        lag = during - stage.total()
        drained = await stage.ends(lambda: stage.total() >= during, "the lag's end", 600)
        stall = await _stall(stage, worker, stalled, events[during:], result)
        watching.cancel()
        await stage.judge(result, seconds=600)
    grown = max(sizes) - before
    result.expect(lag > 0, "there was no lag")
    result.expect(grown <= GROWN_MIB_MAX, f"the worker grew by {grown:.0f} MiB")
    result.figures |= {"lag": lag, "drained_s": drained, "resident_mib": [before, max(sizes)], **stall}
    result.remark = (
        f"lag {lag:,} drained in {drained:.0f} s; worker {before:.0f} MiB before, {max(sizes):.0f} MiB at most; with a "
        f"sink that takes nothing the intake rested at {stall['outbox']} batches in the outbox of {OUTBOX_MAX}, with "
        f"{stall['stalled_lag']:,} records waiting the worker grew by {stall['stalled_grown_mib']:.1f} MiB"
    )
    return result


async def _stall(stage: Stage, worker: Life, stalled: Path, values: list[bytes], result: Result) -> dict[str, float]:
    """Let the sink stand still under load: the intake has to rest with a full outbox, and go on once the sink does."""
    stalled.touch()  # noqa: ASYNC240 - a name, no file to read
    await _pace(stage, values[: len(values) // 2], BURST * BASE_RATE)
    full = reading.outbox(stage.clients[0], stage.settings.redis.prefix, 0)
    rested, before = stage.total(), resident_mib(worker)
    await _pace(stage, values[len(values) // 2 :], BURST * BASE_RATE)
    held = reading.outbox(stage.clients[0], stage.settings.redis.prefix, 0)
    grown = resident_mib(worker) - before
    lag = sum((await stage.ends_of_log()).values()) - stage.total()
    result.expect(stage.total() == rested, f"the intake went on from {rested} to {stage.total()} before a stalled sink")
    result.expect(0 < full == held <= OUTBOX_MAX, f"{full}, then {held} batches in an outbox of {OUTBOX_MAX}")
    result.expect(grown <= STALLED_GROWN_MIB_MAX, f"the worker grew by {grown:.0f} MiB before a stalled sink")
    result.expect(worker.code is None, f"the worker ended with {worker.code}")
    stalled.unlink()  # noqa: ASYNC240 - as above
    went_on = await stage.passes(rested, life=worker)
    return {"outbox": held, "stalled_lag": lag, "stalled_grown_mib": grown, "went_on_s": went_on}


async def _sample(worker: Life, sizes: list[float]) -> None:
    while True:
        sizes.append(resident_mib(worker))
        await asyncio.sleep(0.2)


async def _pace(stage: Stage, values: list[bytes], rate: int) -> None:
    """Produce at a rate, as well as this machine can."""
    began = time.monotonic()
    for start in range(0, len(values), max(1, rate // 5)):
        await asyncio.sleep(max(0.0, began + start / rate - time.monotonic()))
        await stage.produce(values[start : start + max(1, rate // 5)])


@item(29, "others are decided as fast", "one customer is half of the traffic")
async def hot_key(bench: Bench) -> Result:
    rounds, seconds = bench.count(3, 7), 3 if bench.quick else 12
    result = Result(runs=rounds)
    even, hot = [], []
    async with bench.stage("hot", partitions=4) as stage:
        stage.fork()
        await _delays(stage, 2, "warm", hot=False)
        for turn in range(rounds):
            even.append(await _delays(stage, seconds, f"even{turn}", hot=False))
            hot.append(await _delays(stage, seconds, f"hot{turn}", hot=True))
        await stage.judge(result)
    calm, beside = statistics.median(even), statistics.median(hot)
    result.expect(
        beside <= HOT_FACTOR_MAX * calm, f"p99 of the others {beside:.1f} ms, without a hot key {calm:.1f} ms"
    )
    result.figures |= {"even_p99_ms": even, "hot_p99_ms": hot}
    result.remark = f"p99 of the others {beside:.1f} ms beside a hot key, {calm:.1f} ms without"
    return result


async def _delays(stage: Stage, seconds: int, name: str, *, hot: bool) -> float:
    """p99 in ms, from the time an event was due to be sent to its decision, of the customers that are not hot."""
    count = seconds * HOT_RATE
    topics = stage.settings.topics
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=stage.bootstrap, isolation_level="read_committed", fetch_max_wait_ms=5
    )
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=stage.bootstrap, linger_ms=0)
    await consumer.start()
    await producer.start()
    tps = [aiokafka.TopicPartition(topics.decisions, partition) for partition in stage.partitions]
    consumer.assign(tps)
    await consumer.seek_to_end(*tps)
    for tp in tps:
        await consumer.position(tp)
    due: dict[str, float] = {}
    found: dict[str, float] = {}
    reading_task = asyncio.ensure_future(_take(consumer, found))
    start = time.perf_counter() + 0.1
    for number in range(count):
        at = start + number / HOT_RATE
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        who = "hot" if hot and number % 2 else f"c{number % 211}"
        event = payment(number, customer_id=who, event_id=f"{name}-{number}", payment_id=f"{name}-{number}")
        if who != "hot":
            due[f"{name}-{number}"] = at
        await producer.send(topics.events, value=event, key=who.encode())
    await stage.ends(lambda: due.keys() <= found.keys(), "every decision", 60)
    reading_task.cancel()
    await asyncio.gather(reading_task, return_exceptions=True)
    await producer.stop()
    await consumer.stop()
    delays = sorted((found[event] - at) * 1000 for event, at in due.items())
    return delays[int(len(delays) * 0.99)]


async def _take(consumer: aiokafka.AIOKafkaConsumer, found: dict[str, float]) -> None:
    async for record in consumer:
        decision = json.loads(bytes(reading.decode_event(record.value).data))
        found.setdefault(decision["event_id"], time.perf_counter())


@item(30, "memory is flat", "a soak: the same customers for as long as the campaign can afford")
async def soak(bench: Bench) -> Result:
    events = bench.count(12_000, 1_000_000)
    result = Result(runs=1)
    sizes: list[float] = []
    async with bench.stage(
        "soak", STEWARD_STATE_CACHE_CUSTOMERS_MAX="1000", STEWARD_STATE_CACHE_ENTITIES_MAX="2000"
    ) as stage:
        worker = stage.fork()
        filling = asyncio.ensure_future(stage.pour(stream(events, customers=500, rate=20_000.0)))
        while stage.total() < events:
            sizes.append(resident_mib(worker))
            await asyncio.sleep(0.25)
        await filling
        if bench.quick:
            await stage.judge(result)
    third = len(sizes) // 3
    middle, last = statistics.median(sizes[third : 2 * third]), statistics.median(sizes[2 * third :])
    growth = last / middle - 1
    result.expect(bench.quick or growth <= SOAK_GROWTH_MAX, f"memory grew by {growth:.0%}")
    result.figures |= {"middle_mib": middle, "last_mib": last, "events": events}
    result.remark = f"{events:,} events: {middle:.0f} MiB in the middle third, {last:.0f} MiB in the last"
    return result
