"""Items 1, 2 and 5: workers that are killed or told to stop, at any moment and at each step of a commit."""

import asyncio
import random
import time

from load_tests.faults.mortal import STEPS
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import Bench, Stage, spread, stream
from tests.support.deployment import STEWARD

BATCH: str = "100"
RESTART_S_MAX = 5.0
STOP_S_MAX = 10.0
STEP_BATCH = 20


@item(1, "every accepted event takes effect once", "kill -9 of the worker in mid-stream")
async def kills(bench: Bench) -> Result:
    kills, a_life = bench.count(6, 100), bench.count(2_000, 10_000)
    result = Result(runs=kills)
    async with bench.stage("kills") as stage:
        await stage.pour(stream((kills + 1) * a_life, customers=2_000, rate=20_000.0))
        resumed = await _kill_often(stage, kills, a_life, result)
        fresh = await _restart_from_scratch(stage, bench.count(1, 3), result)
        stage.fork()
        verdict = await stage.judge(result, seconds=900)
    result.expect(max(fresh) <= RESTART_S_MAX, f"a restart took {max(fresh):.1f} s")
    result.figures |= {"resumed_s": resumed, "restarted_s": fresh}
    done = f"{result.figures['events']:,} events, {verdict.outputs:,} outputs"
    result.remark = f"{done}; first commit of a new process after {spread(fresh)}"
    return result


async def _kill_often(stage: Stage, kills: int, a_life: int, result: Result) -> list[float]:
    draw = random.Random(1)
    resumed, after_work = [], 0
    for life in range(kills):
        done = stage.total()
        worker = stage.fork()
        resumed.append(await stage.passes(done, life=worker))
        await stage.passes(int((life + draw.random()) * a_life), life=worker)
        await asyncio.sleep(draw.random() * 0.02)
        worker.kill()
        after_work += worker.code != -9
    result.expect(after_work == 0, f"{after_work} workers ended before they were killed")
    return resumed


async def _restart_from_scratch(stage: Stage, times: int, result: Result) -> list[float]:
    """Seconds from the start of a process to its first commit, as an operator's restart takes."""
    taken = []
    for _ in range(times):
        done = stage.total()
        began = time.monotonic()
        worker = stage.start(STEWARD)
        await stage.passes(done)
        taken.append(time.monotonic() - began)
        worker.kill()
        result.runs += 1
    return taken


@item(2, "a commit is there as a whole or not at all", "the worker ends itself at each step of commit and relay")
async def steps(bench: Bench) -> Result:
    times = bench.count(1, 50)
    draw = random.Random(2)
    result = Result()
    async with bench.stage("steps", STEWARD_BATCH_EVENTS_MAX=str(STEP_BATCH)) as stage:
        await stage.pour(stream(2_000, customers=200))
        produced = 2_000
        for name in STEPS:
            for _ in range(times):
                if produced - stage.total() < 600:
                    await stage.pour(stream(produced + 2_000, customers=200)[produced:])
                    produced += 2_000
                # The relay sends many commits at once, and state is loaded most at first.
                few = 1 if "loaded" in name else 2 if "relay" in name else 11
                life = stage.fork(step=name, count=draw.randint(1, few))
                code = await asyncio.to_thread(life.wait, 120)
                result.runs += 1
                result.expect(code == -9, f"{name}: the worker ended with {code}")
        stage.fork()
        await stage.judge(result)
    result.remark = f"{len(STEPS)} steps, {times} times each"
    return result


@item(5, "a worker told to stop finishes what it has begun", "SIGTERM under load")
async def stops(bench: Bench) -> Result:
    times = bench.count(3, 50)
    draw = random.Random(5)
    result = Result(runs=times)
    taken = []
    async with bench.stage("stops", STEWARD_BATCH_EVENTS_MAX=BATCH) as stage:
        await stage.pour(stream(times * 6_000, customers=500))
        for _ in range(times):
            done = stage.total()
            worker = stage.fork()
            await stage.passes(done, life=worker)
            await asyncio.sleep(draw.random() * 0.1)
            code, seconds = await asyncio.to_thread(worker.terminate)
            taken.append(seconds)
            left = (await stage.heads())[0].outbox
            result.expect(code == 0, f"exit code {code}: {worker.log[-500:]}")
            result.expect(not left, f"{len(left)} entries of the outbox were not sent")
            result.expect("had been sent already" not in worker.log, "outputs were sent again after a clean stop")
        result.expect(max(taken) <= STOP_S_MAX, f"a stop took {max(taken):.1f} s")
        stage.fork()
        await stage.judge(result, seconds=600)
    result.figures["stopped_s"] = taken
    result.remark = f"stopped in {spread(taken)}"
    return result
