"""A thousand changes of rules while events pour in: each decision under one rule set, none lost, all replayable."""

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import orjson

from engine.adapters.clocks import ManualClock, SystemClock
from engine.adapters.memory_rules import MemoryRules
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.config import load
from engine.core.controls import stretches
from engine.core.partition import Partition
from engine.partitions import core_settings
from engine.ports.sync import SyncResult
from engine.ruleset import compile, files
from engine.ruleset.compiler import content_hash
from engine.ruleset.errors import RuleErrors
from engine.service import journal
from engine.service.batching import BatchLimits
from engine.service.outage import Outage
from engine.service.reload import Reloader
from engine.service.rule_sets import RuleLibrary
from tests.support.owners import sole_owner

NOW_MS = 1_800_000_000_000
RELOADS = 1_000
CORE = core_settings(load({}))
BROKEN = ("rules: [", "", "rules: [{id: x, when: nothing_known > 1, then: {decision: review, reason: X}}]", "\x00")


def text(limit: int) -> str:
    """Rules, features and a detector, differing with `limit` in each."""
    return f"""
features:
  - {{name: seen_{limit % 7}, agg: count, by: customer, window: {1 + limit % 5}h}}
models:
  anomaly: {{detector: half_space_trees, trees: 2, height: 3, window: {10 + limit % 3}, inputs: [seen_{limit % 7}]}}
rules:
  - {{id: big, when: amount > {limit}, then: {{decision: review, reason: BIG}}}}
  - {{id: often_{limit % 3}, when: seen_{limit % 7} > 3, then: {{score: 5, reason: OFTEN}}, mode: shadow}}
"""


def payment(number: int) -> bytes:
    return orjson.dumps(
        {
            "event_id": f"e{number}", "type": "payment.requested", "event_time": NOW_MS + 1_000 * number,
            "customer_id": f"c{number % 5}", "payment_id": f"p{number}", "currency": "EUR",
            "amount": 1 + number % 1_200,
        }
    )  # fmt: skip


class Running:
    """One shard without a log under a watched directory, all in this process."""

    def __init__(self, directory: Path) -> None:
        clock, self.fatal = SystemClock(), []
        self.store, self.sink, self.archive = MemoryStore(), MemorySink(), MemoryRules()
        self.library = RuleLibrary(self.archive, compile(files.read(directory)))
        self.owner = sole_owner(
            Partition(self.library.first, CORE, rulesets=self.library.get), self.store, self.sink, self.fatal,
            clock=clock, limits=BatchLimits(events_max=16), shard={"rule_sets": self.library},
        )  # fmt: skip
        self.reloader = Reloader(
            lambda: files.read(directory),
            self.library,
            lambda: self.owner.rulesets,
            self.owner,
            clock=ManualClock(),
            outage=Outage("rules", clock),
            every_s=1.0,
            now_ms=lambda: NOW_MS,
        )


def test_a_thousand_reloads_under_load(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(text(0))
    rng = random.Random(26)
    good: list[str] = [content_hash({"a.yaml": text(0)})]
    refused = 0
    answers: list[tuple[int, dict[str, Any]]] = []

    async def run() -> Running:
        nonlocal refused
        running = Running(tmp_path)
        await running.library.start()
        running.owner.start()
        stop = asyncio.Event()

        async def load_it() -> None:
            number, sizes = 0, random.Random(1)
            while not stop.is_set():
                batch = list(range(number, number + sizes.randint(1, 8)))
                number = batch[-1] + 1
                results: list[SyncResult] = await running.owner.decide([payment(n) for n in batch], 60.0)
                assert [result.status for result in results] == ["decision"] * len(batch)
                await asyncio.sleep(0.004)  # a gap, or the load would take most of this test's time
                answers.extend((n, orjson.loads(result.body)) for n, result in zip(batch, results, strict=True))

        while not running.owner.rulesets:  # noqa: ASYNC110 - it opens without telling anybody
            await asyncio.sleep(0)
        pouring = asyncio.create_task(load_it())
        for change in range(1, RELOADS + 1):
            broken = rng.random() < 0.1
            content = rng.choice(BROKEN) if broken else text(change)
            file.write_text(content)
            before = running.owner.rulesets[0]
            await running.reloader.poll()
            assert running.owner.rulesets[0] == before  # one look is not enough
            await running.reloader.poll()
            if broken:
                refused += running.reloader.status.errors != ()
                assert running.owner.rulesets[0] == good[-1]
            else:
                good.append(content_hash({"a.yaml": content}))
                assert running.owner.rulesets[0] == good[-1]
        stop.set()
        await pouring
        assert await running.owner.drain(10.0)
        assert running.fatal == []
        return running

    running = asyncio.run(run())
    assert len(good) + refused == RELOADS + 1 and refused > 50
    _, decisions = zip(*sorted(answers, key=lambda answer: answer[0]), strict=True)
    assert [decision["event_id"] for decision in decisions] == [f"e{n}" for n in range(len(decisions))]
    places = {ruleset: place for place, ruleset in enumerate(good)}
    order = [places[decision["ruleset"]] for decision in decisions]
    assert order == sorted(order)  # each names one of them, and never an older one than the event before it
    assert len(set(order)) > RELOADS // 3
    alerts = [output for output in sent(running) if output.kind == "alert"]
    operations = [output for output in alerts if orjson.loads(output.data)["kind"] == "operations"]
    assert 0 < len({output.id for output in operations}) <= refused
    assert replayed(running, [7, 100_000]) == [[(o.id, o.data) for o in sent(running)]] * 2


def sent(running: Running) -> list[Any]:
    return [output for _, _, output in running.sink.sent]


def replayed(running: Running, sizes: list[int]) -> list[list[tuple[str, bytes]]]:
    """The outputs of the journalled history, through one partition, cut into batches of other sizes."""
    values = [kept.value for _, entry in running.store.journal(0) for kept in journal.decode(entry)]
    held = {name: compile(texts) for name, texts in running.archive.held.items()}
    found = []
    for size in sizes:
        partition = Partition(running.library.first, CORE, backed=False, rulesets=held.get)
        outputs: list[tuple[str, bytes]] = []
        for start, end in stretches(values, size):
            effects = partition.apply(partition.decode(values[start:end]), lambda index: {"offset": index})
            outputs += [(output.id, output.data) for output in effects.outputs]
        found.append(outputs)
    return found


def test_a_rule_set_the_shard_cannot_take_is_a_dead_letter_and_nothing_else(tmp_path):
    (tmp_path / "a.yaml").write_text(text(0))

    async def run() -> None:
        running = Running(tmp_path)
        await running.library.start()
        running.owner.start()
        record = {"event_id": "x", "type": "control.rules", "event_time": NOW_MS, "ruleset": "0123456789abcdef"}
        await running.owner.announce(0, msgspec.json.encode(record))
        (result,) = await running.owner.decide([payment(1)], 60.0)
        assert orjson.loads(result.body)["ruleset"] == running.library.first.hash
        await running.owner.drain(10.0)
        assert running.fatal == []
        (letter,) = [output for output in sent(running) if output.kind == "dead_letter"]
        assert orjson.loads(letter.data)["reason"] == "unknown_ruleset"

    asyncio.run(run())


def test_every_refused_text_is_one_for_the_compiler_or_for_the_reloader():
    """The broken contents above are broken: otherwise the test above would prove less than it says."""
    for content in BROKEN:
        try:
            compile({"a.yaml": content})
        except RuleErrors:
            continue
        assert not content.strip()
