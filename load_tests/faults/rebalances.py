"""Items 3, 4 and 10: members that come and go, a zombie, and what the group thinks of offsets."""

import asyncio
import random
import signal
import time

import aiokafka
from aiokafka.errors import KafkaError

from load_tests.faults.nursery import Life
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import QUICK_GROUP, Bench, Stage, spread, stream

PARTITIONS = 4
MEMBERS_MAX = 3
MOVE_EVERY_S = 2.0
REBALANCE_S_MAX = 10.0
SESSION_S = 3.0
RATE = 400
GROUP_EMPTY_S = 20.0


@item(3, "partitions that move lose and double nothing", "members join and leave every 2 s, half of them killed")
async def comings_and_goings(bench: Bench) -> Result:
    seconds = bench.count(8, 600)
    draw = random.Random(3)
    result = Result()
    gaps: list[float] = []
    async with bench.stage("moves", partitions=PARTITIONS, **QUICK_GROUP) as stage:
        members = [stage.fork()]
        events = stream(seconds * RATE + 4_000, customers=500)
        await stage.pour(events[:2_000])
        await stage.passes(1_000)
        pouring = asyncio.ensure_future(_pour_slowly(stage, events[2_000:], RATE))
        watching = asyncio.ensure_future(_longest_gaps(stage, gaps))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(members) < MEMBERS_MAX and (len(members) < 2 or draw.random() < 0.5):
                members.append(stage.fork())
            else:
                await _leave(members.pop(draw.randrange(len(members))), draw.random() < 0.5)
            result.runs += 1
            await asyncio.sleep(MOVE_EVERY_S)
        await pouring
        watching.cancel()
        if not members:
            stage.fork()
        await stage.judge(result)
    # A shard rests for a session that has to time out, where a member was killed, and for the rebalance itself.
    longest = max(gaps)
    result.expect(longest <= SESSION_S + REBALANCE_S_MAX, f"a shard rested for {longest:.1f} s")
    result.figures["longest_rest_s"] = longest
    result.remark = (
        f"{result.figures['events']:,} events, {PARTITIONS} partitions; longest rest of a shard {longest:.1f} s"
    )
    return result


async def _leave(member: Life, killed: bool) -> None:
    if killed:
        member.kill()
    else:
        await asyncio.to_thread(member.terminate)


async def _pour_slowly(stage: Stage, values: list[bytes], rate: int) -> None:
    for start in range(0, len(values), rate // 4):
        await stage.produce(values[start : start + rate // 4])
        await asyncio.sleep(0.2)


async def _longest_gaps(stage: Stage, gaps: list[float]) -> None:
    """Note, over and over, the longest time for which an offset has not moved."""
    moved: dict[int, tuple[int, float]] = {}
    gaps.append(0.0)
    while True:
        now = time.monotonic()
        for shard, offset in stage.offsets().items():
            before = moved.setdefault(shard, (offset, now))
            if before[0] != offset:
                gaps.append(now - before[1])
                moved[shard] = (offset, now)
        await asyncio.sleep(0.02)


@item(4, "a stale commit is refused and counted, with no effect", "SIGSTOP for twice the session timeout, then SIGCONT")
async def zombies(bench: Bench) -> Result:
    times = bench.count(1, 20)
    result = Result(runs=times)
    refused, taken = 0, []
    async with bench.stage("zombies", partitions=2, STEWARD_BATCH_EVENTS_MAX="20", **QUICK_GROUP) as stage:
        produced = 0
        for _ in range(times):
            events = stream(produced + 24_000, customers=500)[produced:]
            produced += len(events)
            await stage.pour(events)
            zombie = stage.fork()
            await stage.passes(stage.total() + 200, life=zombie)
            zombie.signal(signal.SIGSTOP)
            stopped = stage.total()
            began = time.monotonic()
            successor = stage.fork()
            await stage.passes(stopped + 100, life=successor)
            taken.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, 2 * SESSION_S - taken[-1]))
            zombie.signal(signal.SIGCONT)
            before = stage.total()
            await asyncio.sleep(1.0)
            if before < produced:
                await stage.passes(before)
            await asyncio.sleep(1.0)
            refused += sum("its state is dropped and read again" in line for line in zombie.log.splitlines())
            result.expect(zombie.code in (None, 0), f"the zombie ended with {zombie.code}: {zombie.log[-600:]}")
            zombie.kill()
            successor.kill()
        stage.fork()
        await stage.judge(result)
    longest = max(taken)
    result.expect(longest <= SESSION_S + REBALANCE_S_MAX, f"a successor took {longest:.1f} s")
    result.figures |= {"refused": refused, "taken_over_s": taken}
    result.remark = f"{refused} stale commits refused; a successor commits after {spread(taken)} (session timeout 3 s)"
    return result


@item(10, "Redis knows the offset, not the group", "group offset ahead, behind or absent")
async def group_offsets(bench: Bench) -> Result:
    result = Result()
    leaving = {**QUICK_GROUP, "STEWARD_KAFKA_INSTANCE_ID": ""}  # a stopped member is gone at once
    async with bench.stage("group", STEWARD_BATCH_EVENTS_MAX="10", **leaving) as stage:
        await stage.pour(stream(6_000, customers=200))
        for wanted in (None, 0, 5_900, 10_000_000):
            if wanted is not None:
                await _commit_for_group(stage, wanted)
            done = stage.total()
            worker = stage.fork()
            await stage.passes(done, life=worker)
            await asyncio.to_thread(worker.terminate)
            result.runs += 1
        await _commit_for_group(stage, 0)
        stage.fork()
        await stage.judge(result)
    result.remark = "absent, 0, ahead, beyond the end"
    return result


async def _commit_for_group(stage: Stage, offset: int) -> None:
    """Set the group's offset, as a tool of operations can once no member is there."""
    settings = stage.settings
    tp = aiokafka.TopicPartition(settings.topics.events, 0)
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=stage.bootstrap, group_id=settings.kafka.group, enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([tp])
    end = time.monotonic() + GROUP_EMPTY_S
    while True:
        try:
            await consumer.commit({tp: offset})
            break
        except KafkaError:  # the killed member's session has not ended
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.3)
    await consumer.stop()
