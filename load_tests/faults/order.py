"""Items 18 to 21: duplicates, disorder, wrong clocks, batch sizes and hash seeds."""

import asyncio
import hashlib
import itertools
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.partitions import partition_factory
from load_tests.faults.meaning import meaning
from load_tests.faults.nursery import ROOT
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import LOCAL_RULES, Bench, stream

HOUR_MS = 3_600_000
YEARS_MS = {"1970": 86_400_000, "2100": 4_100_000_000_000}
SIZES = (1, 7, 500)
SEEDS = ("0", "1", "random")


@item(18, "a repeated event has no effect", "10 % duplicates, then the whole topic delivered again")
async def duplicates(bench: Bench) -> Result:
    count = bench.count(3_000, 50_000)
    result = Result()
    async with bench.stage("duplicates") as stage:
        events = stream(count, customers=500, duplicate_share=0.1, rate=20_000.0)
        await stage.pour(events)
        stage.fork()
        await stage.judge(result)
        once = await stage.found()
        await stage.pour(events)
        await stage.judge(result)
        twice = await stage.found()
    result.runs = count + (count - len({json.loads(event)["event_id"] for event in events}))
    result.expect(sorted(once.outputs) == sorted(twice.outputs), "the second delivery made outputs")
    before, after = meaning(once.state[0]), meaning(twice.state[0])
    changed = [key for key in {*before, *after} if before.get(key) != after.get(key)]
    result.expect(not changed, f"the second delivery changed {len(changed)} values, such as {changed[:3]}")
    result.remark = f"{result.runs:,} repeated events, state unchanged"
    return result


@item(19, "order within the allowed lateness does not matter; beyond it is counted", "events shuffled within an hour")
async def disorder(bench: Bench) -> Result:
    count = bench.count(1_500, 10_000)
    result = Result()
    settings = _settings()
    draw = random.Random(19)
    events = [json.loads(line) for line in stream(count, customers=300)]
    events.sort(key=lambda event: event["event_time"])
    times = [_ms(event) for event in events]
    # Events of one payment stay in order: an authorisation before its request is a decision of its own.
    delays = {event.get("payment_id", event["event_id"]): draw.random() * 0.99 * HOUR_MS for event in events}
    arrivals = [t + delays[e.get("payment_id", e["event_id"])] for t, e in zip(times, events, strict=True)]
    shuffled = [events[place] for place in sorted(range(len(events)), key=arrivals.__getitem__)]
    probes = [_probe(event["customer_id"], max(times) + 1_000) for event in _one_each(events)]
    in_order = _features(settings, [*events, *probes], len(probes))
    out_of_order = _features(settings, [*shuffled, *probes], len(probes))
    differing = sum(not _close(a, b) for a, b in zip(in_order[0], out_of_order[0], strict=True))
    result.expect(differing == 0, f"{differing} of {len(probes)} customers have other features")
    result.expect(out_of_order[1] == 0, f"{out_of_order[1]} events within the hour were counted late")
    stale = [_probe(probe["customer_id"], max(times) - 2 * HOUR_MS, "stale") for probe in probes]
    late = _features(settings, [*events, *probes, *stale], 1)[1]
    result.expect(late == len(stale), f"{late} of {len(stale)} events beyond the hour were counted late")
    result.runs = count
    result.remark = (
        f"features of {len(probes)} customers equal to those of sorted input; {late} of {len(stale)} counted late"
    )
    return result


@item(20, "a future event drags no one else's time", "clocks wrong by an hour, and events of 1970 and 2100")
async def wrong_clocks(bench: Bench) -> Result:
    count = bench.count(2_000, 30_000)
    result = Result()
    draw = random.Random(20)
    honest = stream(count, customers=300)
    mixed: list[bytes] = []
    for number, line in enumerate(honest):
        if draw.random() < 0.05:
            mixed.append(_skewed(line, number, draw))
            result.runs += 1
        mixed.append(line)
    names = {json.loads(line)["event_id"] for line in honest}
    settings = _settings()
    alone, among = _late(settings, honest, names), _late(settings, mixed, names)
    result.expect(
        alone == among, f"{len(set(alone.items()) ^ set(among.items())) // 2} honest events changed their lateness"
    )
    async with bench.stage("clocks", STEWARD_RULES=str(LOCAL_RULES)) as stage:
        stage.fork()
        await stage.pour(mixed)
        await stage.judge(result)
    result.remark = f"{len(names):,} honest events as late as without the others: {sum(alone.values())}"
    return result


@item(21, "the same log gives the same bytes", "batch sizes 1, 7 and 500, PYTHONHASHSEED 0, 1 and random")
async def same_bytes(bench: Bench) -> Result:
    result = Result()
    history = bench.directory / "history.ndjson"
    lines = stream(bench.count(1_000, 20_000), customers=200, late_share=0.02)
    await asyncio.to_thread(history.write_bytes, b"\n".join(lines) + b"\n")
    runs = list(itertools.product(SIZES, SEEDS))
    if bench.quick:
        runs = list(zip(SIZES, SEEDS, strict=True))
    found = [await _replay(history, bench.directory / f"out-{size}-{seed}", size, seed) for size, seed in runs]
    result.runs = len(runs)
    result.expect(len(set(found)) == 1, f"{len(set(found))} different results")
    result.remark = f"{len(runs)} replays, one digest, every file equal"
    return result


async def _replay(history: Path, out: Path, size: int, seed: str) -> str:
    """Digest of the report, and of every file beside it."""
    command = ["-m", "engine.cli", "replay", str(history), "--out", str(out), "--batch-size", str(size), "--quiet"]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    await process.communicate()
    return await asyncio.to_thread(_sums, out)


def _sums(out: Path) -> str:
    files = sorted(out.glob("*.ndjson"))
    sums = "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return str(json.loads((out / "report.json").read_bytes())["digest"]) + sums


def _settings() -> Any:
    from engine.config import load

    return load({"STEWARD_RULES": str(LOCAL_RULES)})


def _ms(event: dict[str, Any]) -> int:
    from datetime import datetime

    moment = event["event_time"]
    return moment if isinstance(moment, int) else int(datetime.fromisoformat(moment).timestamp() * 1000)


def _one_each(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({event["customer_id"]: event for event in events}.values())


def _probe(customer: str, time_ms: int, name: str = "probe") -> dict[str, Any]:
    return {
        "event_id": f"{name}-{customer}", "type": "payment.requested", "event_time": time_ms, "customer_id": customer,
        "payment_id": f"{name}-{customer}", "amount": "10.00", "currency": "EUR",
    }  # fmt: skip


def _features(settings: Any, events: Sequence[dict[str, Any]], last: int) -> tuple[list[dict[str, Any]], int]:
    """Features of the last events of a run in memory, and how many of all events were late."""
    partition = partition_factory(settings, backed=False, features_out=True)(0)
    lines: list[bytes] = []
    late = 0
    for batch in _batches(events, 500):
        decoded = partition.decode([msgspec.json.encode(event) for event in batch])
        partition.missing(decoded)
        effects = partition.apply(decoded, lambda row: {"offset": row})
        lines += effects.features
        late += effects.late
    return [json.loads(line)["features"] for line in lines[-last:]], late


def _batches(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _close(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Equal but for the order in which numbers were added up."""
    return a.keys() == b.keys() and all(
        a[name] == b[name] or (isinstance(a[name], float) and abs(a[name] - b[name]) <= 1e-9 * max(1.0, abs(a[name])))
        for name in a
    )


def _skewed(line: bytes, number: int, draw: random.Random) -> bytes:
    """A copy of an event under a customer of its own, with a clock that is wrong."""
    event = json.loads(line)
    time_ms = _ms(event)
    kind = draw.choice(["+1h", "-1h", *YEARS_MS])
    event["event_time"] = YEARS_MS.get(kind) or time_ms + (HOUR_MS if kind == "+1h" else -HOUR_MS)
    event["customer_id"] = f"skewed-{number % 17}"
    event["event_id"] = f"skewed-{number}"
    return msgspec.json.encode(event)


def _late(settings: Any, lines: Sequence[bytes], names: set[str]) -> dict[str, bool]:
    """Whether the decisions of some events were late."""
    partition = partition_factory(settings, backed=False)(0)
    found: dict[str, bool] = {}
    for batch in _batches(lines, 500):
        decoded = partition.decode(list(batch))
        partition.missing(decoded)
        for _, body in partition.apply(decoded, lambda row: {"offset": row}).decisions:
            decision = json.loads(body)
            if decision["event_id"] in names:
                found[decision["event_id"]] = decision["late"]
    return found
