"""Item 34: synchronous calls over HTTP, without a pause, while workers join, leave, are killed and come back."""

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from engine.adapters.processes import free_port
from engine.demo.children import answers
from load_tests.faults import reading
from load_tests.faults.hostile import payment
from load_tests.faults.nursery import Life
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import Bench, Stage, spread
from tests.support.deployment import STEWARD

PARTITIONS: Final = 8
RATE: Final = 50
CUSTOMERS: Final = 400
DEADLINE_S: Final = 0.5
DEADLINE_QUICK_S: Final = 2.0  # among other tests, on whatever machine
SLACK_S: Final = 0.25  # of the caller, who shares two cores with all that is measured
LIMIT_S: Final = 10.0
REST_S: Final = 4.0  # between two changes of the group
SESSION_S: Final = 6.0
RESUME_S_MAX: Final = 10.0
SERVE: Final = (*STEWARD[:-1], "serve")


@dataclass(slots=True)
class Calls:
    """What came of the calls.

    Attributes:
        sent: event ids, in the order of the calls.
        seconds: of each answer, in the same order; degraded: those that were made without the state.
        statuses: of all answers; 0 for a call without one.
        phase: what is being done to the group; by_phase: calls, degraded answers and the longest of a phase.
    """

    sent: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    phase: str = "quiet"
    by_phase: dict[str, list[float]] = field(default_factory=dict)

    def note(self, phase: str, event: str, status: int, body: bytes, seconds: float) -> None:
        """One answer."""
        self.statuses[status] += 1
        self.seconds.append(seconds)
        row = self.by_phase.setdefault(phase, [0, 0, 0.0])
        row[0] += 1
        row[2] = max(row[2], round(seconds, 3))
        if b"state_unavailable" in body:
            self.degraded.append(event)
            row[1] += 1


@item(
    34,
    "a call is answered within its deadline, its decision made once",
    "workers join, leave, are killed and restarted",
)
async def growth(bench: Bench) -> Result:
    rounds = bench.count(1, 8)
    result, calls = Result(), Calls()
    gaps: list[float] = []
    deadline_s = DEADLINE_QUICK_S if bench.quick else DEADLINE_S
    async with bench.stage(
        "growth", partitions=PARTITIONS, STEWARD_HTTP_DEADLINE=f"{deadline_s * 1000:.0f}ms"
    ) as stage:
        port = free_port()
        stage.environment["STEWARD_HTTP"] = f"127.0.0.1:{port}"
        members = [stage.fork(), stage.fork()]
        stage.start(SERVE)
        await stage.ends(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the API")
        calling = asyncio.ensure_future(_call(port, calls))
        await stage.ends(lambda: len(calls.seconds) - len(calls.degraded) > 2 * RATE, "the first decisions")
        for _ in range(rounds):
            gaps.append(await _round(stage, members, calls))
            result.runs += 4
        calls.phase = "quiet"
        await asyncio.sleep(REST_S)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await stage.judge(result)
        await _each_once(stage, calls, result)
        _report(calls, gaps, deadline_s, result, quick=bench.quick)
    return result


async def _round(stage: Stage, members: list[Life], calls: Calls) -> float:
    """A member joins, one leaves, one is killed and restarted, one is killed for good; seconds the restart took."""
    calls.phase = "join"
    members.append(await _taking_part(stage))
    await asyncio.sleep(REST_S)
    calls.phase = "leave"
    await asyncio.to_thread(members.pop(0).terminate)
    await asyncio.sleep(REST_S)
    calls.phase = "restart"
    members.pop(0).kill()
    before = stage.offsets()
    began = time.monotonic()
    members.append(stage.fork())
    await stage.ends(lambda: all(offset > before[shard] for shard, offset in stage.offsets().items()), "the restart")
    taken = time.monotonic() - began
    await asyncio.sleep(REST_S)
    calls.phase = "join"
    members.append(await _taking_part(stage))
    await asyncio.sleep(REST_S)
    calls.phase = "death"
    members.pop(0).kill()
    await asyncio.sleep(SESSION_S + REST_S)
    return taken


async def _taking_part(stage: Stage) -> Life:
    """Another member, once it has partitions."""
    life = stage.fork()
    await stage.ends(lambda: "starts at offset" in life.log, "the new member's first partition")
    return life


async def _call(port: int, calls: Calls) -> None:
    """Call at the rate, whatever becomes of earlier calls, until cancelled; then wait for what is under way."""
    waiting: set[asyncio.Task[None]] = set()
    limit = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=limit) as session:
        began = time.monotonic()
        try:
            while True:
                number = len(calls.sent)
                await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                name = f"call-{number}"
                calls.sent.append(name)
                event = payment(number, customer_id=f"c{number % CUSTOMERS}", event_id=name, payment_id=name)
                task = asyncio.ensure_future(_one(session, name, event, calls))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
        finally:
            await asyncio.gather(*waiting)


async def _one(session: aiohttp.ClientSession, name: str, event: bytes, calls: Calls) -> None:
    phase, began = calls.phase, time.monotonic()
    try:
        async with session.post("/v1/decisions", data=event) as response:
            calls.note(phase, name, response.status, await response.read(), time.monotonic() - began)
    except (aiohttp.ClientError, TimeoutError):
        calls.note(phase, name, 0, b"", time.monotonic() - began)


async def _each_once(stage: Stage, calls: Calls, result: Result) -> None:
    """Count the decisions on the topic by event."""
    topic, found = stage.settings.topics.decisions, Counter[str]()
    async for record in reading.read(stage.bootstrap, [topic], stage.partitions):
        found[json.loads(bytes(reading.decode_event(record.value).data))["event_id"]] += 1
    missing = [name for name in calls.sent if not found[name]]
    again = [name for name in calls.sent if found[name] > 1]
    result.expect(not missing, f"{len(missing)} calls without a decision on the topic: {missing[:3]}")
    result.expect(not again, f"{len(again)} calls with several decisions on the topic: {again[:3]}")


def _report(calls: Calls, gaps: list[float], deadline_s: float, result: Result, *, quick: bool) -> None:
    ordered = sorted(calls.seconds)
    late = sum(seconds > deadline_s + SLACK_S for seconds in ordered)
    p99, longest = ordered[int(len(ordered) * 0.99)], ordered[-1]
    unanswered = {status: count for status, count in calls.statuses.items() if status != 200}
    result.expect(not unanswered, f"answers that are none, by status: {unanswered}")
    # The short run shares its machine with other tests; that every call got a decision is told by the statuses.
    result.expect(
        quick or late == 0, f"{late} answers after more than {deadline_s + SLACK_S} s, the last after {longest:.2f} s"
    )
    result.expect(quick or max(gaps) <= RESUME_S_MAX, f"a restarted worker's partitions rested for {max(gaps):.1f} s")
    result.figures |= {
        "calls": len(ordered), "degraded": len(calls.degraded), "late": late, "p99_s": p99, "max_s": longest,
        "by_phase": calls.by_phase, "restarted_s": gaps, "cores": os.cpu_count(),
    }  # fmt: skip
    result.remark = (
        f"{len(ordered):,} calls answered within {longest * 1000:.0f} ms (deadline {deadline_s * 1000:.0f} ms), p99 "
        f"{p99 * 1000:.0f} ms; {len(calls.degraded)} of them without the state; all partitions go on {spread(gaps)} "
        "after a kill"
    )
