"""The watch of a rules directory: what it announces, and what no content of that directory can make it do."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_rules import MemoryRules
from engine.ports.log import LogUnavailable
from engine.resources import rules_directory
from engine.ruleset import RuleErrors, compile, files
from engine.ruleset.compiler import content_hash
from engine.service.outage import Outage
from engine.service.reload import REFRESH_S, REPEAT_S, Reloader
from engine.service.rule_sets import COMPILED_MAX, RuleLibrary, compile_aside

GOOD = "rules: [{{id: big, when: amount > {}, then: {{decision: review, reason: BIG}}}}]\n"


def rules(limit: int) -> str:
    return GOOD.format(limit)


class Announced:
    """Takes announcements; adopts a `control.rules` at once while `adopting`."""

    def __init__(self, in_force: dict[int, str]) -> None:
        self.in_force = in_force
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.adopting = True
        self.failures = 0

    async def announce(self, shard: int, record: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("the test asked for a failure")
        event = msgspec.json.decode(record)
        self.events.append((shard, event))
        if event["type"] == "control.rules" and self.adopting:
            self.in_force[shard] = event["ruleset"]

    def of(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        return [(shard, event) for shard, event in self.events if event["type"] == kind]


class Watch:
    """A rules directory, a reloader over it and two shards."""

    def __init__(self, directory: Path, **library: Any) -> None:
        self.file = directory / "a.yaml"
        self.file.write_text(rules(1))
        self.archive = MemoryRules()
        first = compile(files.read(directory))
        self.library = RuleLibrary(self.archive, first, **library)
        self.first = first.hash
        self.told = Announced({0: self.first, 1: self.first})
        self.clock = ManualClock()
        self.results: list[str] = []
        self.now_ms = 1_800_000_000_000
        self.reloader = Reloader(
            lambda: files.read(directory),
            self.library,
            lambda: self.told.in_force,
            self.told,
            clock=self.clock,
            outage=Outage("the rules", self.clock),
            every_s=2.0,
            now_ms=lambda: self.now_ms,
            on_result=self.results.append,
        )

    def poll(self, times: int = 1) -> None:
        async def run() -> None:
            for _ in range(times):
                await self.reloader.poll()
                await self.clock.sleep(2.0)

        asyncio.run(run())


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_what_is_in_force_already_is_not_announced(watch):
    watch.poll(5)
    assert watch.told.events == []
    assert watch.results == []
    assert list(watch.archive.held) == [watch.first]  # archived all the same: a shard that opens later may need it


def test_a_change_is_announced_to_every_shard_once(watch):
    watch.poll(2)
    watch.file.write_text(rules(2))
    watch.poll(1)
    assert watch.told.events == []  # seen once: it may be half written
    watch.poll(5)
    wanted = compile({"a.yaml": rules(2)}).hash
    assert [(shard, event["ruleset"]) for shard, event in watch.told.events] == [(0, wanted), (1, wanted)]
    assert len({event["event_id"] for _, event in watch.told.events}) == 2
    assert watch.archive.held[wanted] == {"a.yaml": rules(2)}
    assert watch.results == ["loaded"]


def test_a_shard_that_comes_later_is_told_what_the_directory_holds(watch):
    watch.poll(2)
    watch.told.in_force[7] = "0" * 16  # another worker left it under other rules
    watch.poll(2)
    assert [(shard, event["ruleset"]) for shard, event in watch.told.events] == [(7, watch.first)]


def test_a_file_that_keeps_changing_is_not_taken(watch):
    for cut in range(2, 12):
        watch.file.write_text(rules(2)[: 3 * cut])  # as a slow writer leaves it, longer each time
        watch.poll()
    assert watch.told.events == []
    assert watch.results == []
    watch.file.write_text(rules(2))
    watch.poll(2)
    assert watch.results == ["loaded"]


def test_bad_rules_change_nothing_and_are_reported_once(watch):
    watch.poll(2)
    watch.file.write_text("rules: [{id: big, when: amunt > 3, then: {decision: review, reason: BIG}}]\n")
    watch.poll(10)
    ((shard, event),) = watch.told.events
    assert (shard, event["type"]) == (0, "control.rules_refused")
    assert event["errors"] == ["a.yaml:1:25: unknown name 'amunt' (did you mean 'amount'?)"]
    assert watch.told.in_force == {0: watch.first, 1: watch.first}
    assert watch.reloader.status.errors == tuple(event["errors"])
    watch.file.write_text(rules(3))
    watch.poll(3)
    assert len(watch.told.of("control.rules")) == 2
    assert watch.reloader.status.errors == ()
    assert watch.results == ["refused", "loaded"]


def test_mended_to_what_it_was(watch):
    watch.poll(2)
    watch.file.write_text("rules: [")
    watch.poll(3)
    watch.file.write_text(rules(1))
    watch.poll(3)
    assert watch.told.of("control.rules") == []
    assert watch.reloader.status.errors == ()
    watch.file.write_text("rules: [")
    watch.poll(3)
    one, two = watch.told.of("control.rules_refused")
    assert one[1]["event_id"] == two[1]["event_id"]  # one alert, however often the same fault comes back


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"",
        b"rules: 3",
        b"a: &a [*a]",
        b"rules: [{id: " + b"[" * 5_000,
        b"lists: {a: {file: ../../etc/passwd.txt}}",
        b"rules: [{id: b, when: '" + b"(" * 3_000 + b"', then: {decision: review, reason: B}}]",
        b"\x00" * 100,
        b"features: [{name: f, agg: sum, of: amount, by: customer, window: 999999999999d}]",
    ],
)
def test_nothing_written_into_a_file_gets_further_than_a_refusal(watch, content):
    watch.poll(2)
    watch.file.write_bytes(content)
    watch.poll(3)
    assert len(watch.told.of("control.rules_refused")) == 1
    assert watch.told.of("control.rules") == []
    ((_, event),) = watch.told.events
    assert 0 < len(event["errors"]) <= 10
    assert all(0 < len(line) <= 512 for line in event["errors"])


def test_a_directory_that_is_gone_or_full_of_faults(watch, tmp_path):
    watch.poll(2)
    faults = "".join(f"  - {{id: r{n}, when: x{n} > 1, then: {{decision: review, reason: R}}}}\n" for n in range(40))
    watch.file.write_text("rules:\n" + faults)
    watch.poll(3)
    watch.file.rename(tmp_path / "a.txt")
    watch.poll(3)
    many, gone = (event for _, event in watch.told.events)
    assert len(many["errors"]) == 10
    assert gone["errors"] == [f"{tmp_path}: no .yaml or .yml file in the rules directory"]


def test_a_name_that_is_no_text(watch, tmp_path):
    (tmp_path / "b\udcff.yaml").write_text(rules(1))
    watch.poll(4)
    assert [event["type"] for _, event in watch.told.events] == ["control.rules_refused"]


def test_rules_that_fail_when_tried_are_refused(tmp_path):
    def trial(ruleset: Any) -> None:
        if ruleset.rules[0].id == "big" and "66" in ruleset.texts["a.yaml"]:
            raise ZeroDivisionError("made up")

    watch = Watch(tmp_path, trial=trial)
    watch.file.write_text(rules(66))
    watch.poll(4)
    ((_, event),) = watch.told.events
    assert event["errors"] == ["the rules cannot be compiled: ZeroDivisionError('made up')"]
    assert compile({"a.yaml": rules(66)}).hash not in watch.archive.held


def test_what_fails_for_now_is_done_later(watch):
    watch.poll(2)
    watch.file.write_text(rules(2))
    watch.poll(1)
    watch.archive.failures = 3
    watch.poll(3)
    assert watch.told.events == []
    watch.told.failures = 1
    watch.poll(1)
    assert watch.told.events == []
    watch.poll(1)
    assert [shard for shard, _ in watch.told.events] == [0, 1]
    assert watch.results == ["loaded"]


def test_a_refusal_waits_for_a_shard_and_for_the_log(watch):
    watch.told.in_force.clear()
    watch.file.write_text("rules: [")
    watch.poll(5)
    assert watch.told.events == []
    watch.told.in_force[3] = watch.first
    watch.told.failures = 2
    watch.poll(5)
    assert [shard for shard, _ in watch.told.events] == [3]


def test_a_shard_that_is_far_behind_is_told_again_after_a_while(watch):
    watch.poll(2)
    watch.told.adopting = False
    watch.file.write_text(rules(2))
    watch.poll(1 + int(REPEAT_S / 2))
    assert [shard for shard, _ in watch.told.events] == [0, 1]
    watch.poll(2)
    assert [shard for shard, _ in watch.told.events] == [0, 1, 0, 1]
    watch.poll(int(REPEAT_S) - 4)  # two seconds each: not quite twice as long
    assert len(watch.told.events) == 4
    watch.poll(5)
    assert len(watch.told.events) == 6


def test_the_archive_is_given_again_what_is_in_force(watch):
    watch.poll(2)
    watch.archive.held.clear()
    watch.poll(int(REFRESH_S / 2) + 1)
    assert list(watch.archive.held) == [watch.first]


def test_rule_sets_of_the_library(tmp_path):
    archive = MemoryRules()
    library = RuleLibrary(archive, compile({"a.yaml": rules(0)}))

    async def run() -> None:
        made = [await library.add({"a.yaml": rules(n)}) for n in range(1, COMPILED_MAX + 3)]
        assert library.get(made[-1].hash) is made[-1]
        assert library.get(made[0].hash) is None  # forgotten, not lost
        again = await library.fetch(made[0].hash)
        assert again is not None and again.texts == made[0].texts
        assert library.get(library.first.hash) is library.first
        assert await library.fetch("0" * 16) is None
        archive.held["0" * 16] = {"a.yaml": rules(5)}  # its content has another hash
        assert await library.fetch("0" * 16) is None
        with pytest.raises(RuleErrors):
            await library.add({"a.yaml": "rules: ["})
        assert len(archive.held) == COMPILED_MAX + 3

    asyncio.run(run())


def test_an_archived_rule_set_this_version_refuses_is_unknown():
    archive = MemoryRules()
    library = RuleLibrary(archive, compile({"a.yaml": rules(0)}))
    texts = {"a.yaml": "rules: [{id: of_a_later_version, whenever: 1}]\n"}
    archive.held[content_hash(texts)] = texts
    assert asyncio.run(library.fetch(content_hash(texts))) is None


def test_without_an_archive_a_rule_set_ends_with_the_process():
    library = RuleLibrary(None, compile({"a.yaml": rules(0)}))

    async def run() -> None:
        await library.start()
        made = await library.add({"a.yaml": rules(1)})
        assert await library.fetch(made.hash) is made
        assert await library.fetch("0" * 16) is None

    asyncio.run(run())


def test_a_rule_set_ends_with_its_last_user():
    """It holds no cycle: what is forgotten after a reload is freed at once, also with the collector kept away."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        made = compile_aside(files.read(rules_directory()))
        still = weakref.ref(made)
        del made
        assert still() is None
        assert not gc.isenabled()
    finally:
        if collecting:
            gc.enable()


def test_the_collector_works_again_after_good_and_bad_rules():
    gc.enable()
    compile_aside({"a.yaml": rules(1)})
    with pytest.raises(RuleErrors):
        compile_aside({"a.yaml": "rules: ["})
    assert gc.isenabled()
