"""Items 6 to 9: the broker is killed, upstream transactions abort, offsets have gaps, the log's start has moved."""

import asyncio
import random
from itertools import pairwise

import aiokafka
from aiokafka.admin import NewTopic

from load_tests.faults import reading
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import QUICK_GROUP, Bench, Stage, spread, stream
from tests.support.deployment import customer
from tests.support.kafka import ApacheKafka

ROUNDS_MAX = 60
COMPACT = {
    "cleanup.policy": "compact,delete",  # with compaction alone a beginning cannot be deleted
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
}


@item(6, "a dead broker is waited for", "kill -9 of the broker under load")
async def dead_broker(bench: Bench) -> Result:
    times = bench.count(1, 10)
    draw = random.Random(6)
    result = Result(runs=times)
    back = []
    with ApacheKafka() as kafka:
        kafka.start()
        async with bench.stage("broker", kafka=kafka, STEWARD_BATCH_EVENTS_MAX="20", **QUICK_GROUP) as stage:
            events = stream(times * 3_000, customers=200)
            worker = stage.fork()
            for turn in range(times):
                await stage.pour(events[turn * 3_000 : (turn + 1) * 3_000])
                await stage.passes(turn * 3_000 + 300, life=worker)
                await asyncio.sleep(draw.random() * 0.2)
                await asyncio.to_thread(kafka.kill)
                await asyncio.sleep(draw.random() * 2)
                await asyncio.to_thread(kafka.start)
                back.append(await stage.ends(lambda t=turn: stage.total() >= (t + 1) * 3_000, "the rest of a turn"))
            await stage.judge(result)
            result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    result.figures["caught_up_s"] = back
    result.remark = f"one worker throughout; caught up {spread(back)} after the broker was back"
    return result


@item(7, "what a producer took back is never seen", "aborted upstream transactions among the input")
async def aborted_input(bench: Bench) -> Result:
    times = bench.count(10, 200)
    result = Result()
    draw = random.Random(7)
    async with bench.stage("aborted", STEWARD_BATCH_EVENTS_MAX="20") as stage:
        stage.fork()
        events = stream(times * 60, customers=200)
        await _in_transactions(stage, events, draw, result)
        verdict = await stage.judge(result)
        topic = stage.settings.topics.events
        hidden = [r async for r in reading.read(stage.bootstrap, [topic], stage.partitions, committed=False)]
        result.expect(len(hidden) > result.figures["events"], "no record of an aborted transaction is on the log")
    result.remark = f"{len(hidden) - result.figures['events']:,} records taken back, {verdict.outputs:,} outputs"
    return result


async def _in_transactions(stage: Stage, events: list[bytes], draw: random.Random, result: Result) -> None:
    """Produce in transactions of 30; every other one is sent, aborted, and not sent again."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=stage.bootstrap, transactional_id=f"{stage.name}.upstream")
    await producer.start()
    topic = stage.settings.topics.events
    for start in range(0, len(events), 30):
        await producer.begin_transaction()
        await asyncio.gather(
            *[await producer.send(topic, value=v, key=customer(v)) for v in events[start : start + 30]]
        )
        if draw.random() < 0.5:
            await producer.abort_transaction()
            result.runs += 1
        else:
            await producer.commit_transaction()
    await producer.stop()


@item(8, "gaps between offsets stall and skip nothing", "compaction, transaction markers and a deleted beginning")
async def gaps(bench: Bench) -> Result:
    result = Result()
    with ApacheKafka(settings={"log.cleaner.backoff.ms": "200", "log.retention.check.interval.ms": "500"}) as kafka:
        kafka.start()
        async with bench.stage("gaps", kafka=kafka, STEWARD_BATCH_EVENTS_MAX="20") as stage:
            await _make_compacted(stage)
            events = stream(3_000, customers=300)
            draw = random.Random(8)
            await stage.pour(events[:1_000])
            await _in_transactions(stage, events[1_000:2_000], draw, result)
            await stage.forget_events(0, 50)
            await _until_compacted(stage)
            worker = stage.fork()
            await stage.passes(500, life=worker)
            worker.kill()
            stage.fork()
            await stage.pour(events[2_000:])
            await stage.judge(result)
            records = (await stage.records())[0]
    missing = records[-1].offset + 1 - len(records)
    result.runs = sum(1 for a, b in pairwise(records) if b.offset > a.offset + 1)
    result.expect(records[0].offset >= 50, "the beginning was not deleted")
    result.expect(result.runs > 0, "there were no gaps")
    result.remark = f"{missing:,} of {records[-1].offset + 1:,} offsets not there, in {result.runs} gaps"
    return result


async def _make_compacted(stage: Stage) -> None:
    """Make the input topic anew, with compaction."""
    topic = stage.settings.topics.events
    await stage.admin(lambda admin: admin.delete_topics([topic]))
    for _ in range(ROUNDS_MAX):
        await asyncio.sleep(0.3)
        answer = await stage.admin(lambda admin: admin.create_topics([NewTopic(topic, 1, 1, topic_configs=COMPACT)]))
        if all(error[1] == 0 for error in answer.topic_errors):
            return
    raise TimeoutError("the compacted topic was not made")


async def _until_compacted(stage: Stage) -> None:
    """Wait until the broker has compacted what there is, sending a little to close segments."""
    for turn in range(ROUNDS_MAX):
        await stage.produce([b'{"event_id":"x%d","customer_id":"closing"}' % turn])
        await asyncio.sleep(0.4)
        records = (await stage.records())[0]
        if len(records) < 0.7 * (records[-1].offset + 1 - records[0].offset):
            return
    raise TimeoutError("the broker did not compact the topic")


@item(
    9, "what is not on the log any more is never jumped over", "stored offset before the log's start, or past its end"
)
async def lost_log(bench: Bench) -> Result:
    result = Result(runs=2)
    async with bench.stage("beginning") as stage:
        await stage.pour(stream(400, customers=50))
        worker = stage.fork()
        await stage.settle()
        await asyncio.to_thread(worker.terminate)
        await stage.pour(stream(800, customers=50)[400:])
        await stage.forget_events(0, 700)
        await _refuses(stage, "what comes next has been deleted", result)
        await stage.admin(lambda admin: admin.delete_topics([stage.settings.topics.events]))
        await asyncio.sleep(1.0)
        await _refuses(stage, "which the log does not hold", result)
    result.remark = "refused with exit code 1 and one line that names both offsets"
    return result


async def _refuses(stage: Stage, reason: str, result: Result) -> None:
    done = stage.offsets()
    worker = stage.fork()
    code = await asyncio.to_thread(worker.wait, 60)
    result.expect(code == 1 and reason in worker.log, f"exit code {code}: {worker.log[-500:]}")
    result.expect("Traceback" not in worker.log, "a traceback instead of a line")
    result.expect(stage.offsets() == done, "the offset moved")
