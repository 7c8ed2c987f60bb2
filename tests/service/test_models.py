"""The life of fraud models around a shard: archived as they are published, rolled back, followed, taken by order."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.adapters.clocks import ManualClock, SystemClock
from engine.adapters.memory_models import MemoryModels
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.core.controls import stretches
from engine.core.effects import Output
from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.times import DAY_MS
from engine.ports.log import LogUnavailable
from engine.ports.models import ELSEWHERE
from engine.ports.store import Commit, StoreUnavailable
from engine.ruleset import compile
from engine.scoring.fraud_model import LearnerSettings
from engine.scoring.fraud_storage import HEAD_BEFORE, HEAD_SNAPSHOT
from engine.scoring.snapshot import describe, model_hash
from engine.service import journal
from engine.service.batching import BatchLimits
from engine.service.model_desk import FOLLOW, PIN, START, ModelDesk, NoSuchModel
from engine.service.model_files import ModelFiles, ModelFilesError
from engine.service.model_library import HELD_MAX, ModelLibrary, note_of
from engine.service.model_orders import Orders
from engine.service.outage import Outage
from engine.service.sole import SoleOwner
from tests.support.learned import GAP_MS, history, rules
from tests.support.owners import sole_owner

ONE = compile({"rules.yaml": rules()})
CORE = CoreSettings(labels=LabelSettings(maturity_ms=DAY_MS), learning=LearnerSettings(known_min=200.0))
RECORDS = history(payments=1_000, gap_ms=3 * GAP_MS)
NOWHERE = "p" * 32


class Torn(MemoryStore):
    """Refuses the commit that publishes for the `refuse`th time: the process ends there."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse = -1
        self.refused = b""

    async def commit(self, commit: Commit) -> None:
        if b"SFM2" in commit.ops:
            self.refuse -= 1
            if not self.refuse:
                self.refused = commit.ops
                raise RuntimeError("the power went")
        await super().commit(commit)


class Process:
    """A sole owner over what outlives it."""

    def __init__(self, store: MemoryStore, archive: MemoryModels) -> None:
        self.sink, self.fatal = MemorySink(), []
        self.library = ModelLibrary(archive, lambda: 5)
        self.machine = Partition(ONE, CORE, models=self.library.get)
        self.archive = archive
        self.owner: SoleOwner = sole_owner(
            self.machine, store, self.sink, self.fatal, clock=SystemClock(), limits=BatchLimits(events_max=60),
            shard={"models": self.library},
        )  # fmt: skip
        self.desk = ModelDesk(store, archive, self.owner, 1, lambda: 1_800_000_000_000)

    async def decide(self, records: list[bytes]) -> list[str]:
        """Versions that the decisions name."""
        results = await self.owner.decide(records, 60.0)
        decisions = [json.loads(result.body) for result in results if result.status == "decision"]
        return [decision["model"].rpartition("+")[2] for decision in decisions]


def living(body: Callable[[Process], Awaitable[None]], store: MemoryStore, archive: MemoryModels) -> Process:
    async def run() -> Process:
        process = Process(store, archive)
        process.owner.start()
        try:
            await body(process)
        finally:
            await process.owner.drain(5.0)
        return process

    return asyncio.run(run())


def test_a_rollback_takes_the_version_before_and_the_journal_replays_to_it() -> None:
    store, archive = MemoryStore(), MemoryModels()
    versions: list[str] = []

    async def body(process: Process) -> None:
        desk, place = process.desk, 900
        versions.extend(await process.decide(RECORDS[:place]))
        published = list(dict.fromkeys(version for version in versions if version != "log1-none"))
        notes = await desk.notes()
        assert [note.version for note in notes][: len(published)] == published and len(published) > 5
        for back in (2, 3):  # once more goes one further back
            before = await desk.before([0])
            assert before == {0: notes[-back].model}
            assert await desk.tell(PIN, dict(before), 5.0) == []
            (serving,) = await desk.serving()
            assert serving.pinned is not None and serving.pinned.model == notes[-back].model
            place += 30
            told = await process.decide(RECORDS[place - 30 : place])
            assert set(told) == {notes[-back].version}
            versions.extend(told)
        assert await desk.tell(FOLLOW, {0: None}, 5.0) == []
        (serving,) = await desk.serving()
        assert serving.pinned is None and serving.model is not None and serving.learned is not None
        assert serving.model.boundary_ms > notes[-1].boundary_ms  # what was learned behind the pin serves
        versions.extend(await process.decide(RECORDS[place:]))
        assert await desk.tell(START, {0: await desk.find(notes[2].version)}, 5.0) == []
        assert archive.kept >= {notes[-2].model, notes[-3].model, notes[2].model}

    process = living(body, store, archive)
    assert not process.fatal
    kept = [kept.value for _, entry in store.journal(0) for kept in journal.decode(entry)]
    again = Partition(ONE, CORE, backed=False, models=archive.held.get)
    outputs: list[Output] = []
    for start, end in stretches(kept, 250):
        outputs += again.apply(
            again.decode(kept[start:end]), lambda index, start=start: {"offset": start + index}
        ).outputs
    sent = [(output.kind, output.id, output.data) for _, _, output in process.sink.sent]
    assert [(output.kind, output.id, output.data) for output in outputs] == sent
    assert again.models.version == process.machine.models.version


def test_a_crash_between_publication_and_commit_publishes_the_same_again() -> None:
    whole_store, whole = MemoryStore(), MemoryModels()

    async def all_of_it(process: Process) -> None:
        await process.decide(RECORDS[:1_000])

    living(all_of_it, whole_store, whole)
    store, archive = Torn(), MemoryModels()
    for refuse in (1, 2, 3):
        store.refuse = refuse

        async def until_it_falls(process: Process) -> None:
            with pytest.raises(Exception, match="stopping"):
                await process.decide(RECORDS[:1_000])

        living(until_it_falls, store, archive)
        last = model_hash(archive.held[list(archive.held)[-1]])
        assert archive.held[last] in store.refused  # archived, and not committed
        stored = (asyncio.run(store.open(0))).state.get(HEAD_SNAPSHOT)
        assert stored is None or model_hash(stored) != last
    store.refuse = -1
    living(all_of_it, store, archive)
    assert archive.held == whole.held
    heads = [asyncio.run(one.open(0)).state for one in (store, whole_store)]
    assert heads[0][HEAD_SNAPSHOT] == heads[1][HEAD_SNAPSHOT]


def test_an_archive_that_lost_a_model_gets_it_again_and_one_that_is_away_is_waited_for() -> None:
    store, archive = MemoryStore(), MemoryModels()

    async def first(process: Process) -> None:
        await process.decide(RECORDS[:700])

    living(first, store, archive)
    stored, before = asyncio.run(store.load(0, [HEAD_SNAPSHOT, HEAD_BEFORE]))
    assert stored is not None and before is not None and archive.held[model_hash(stored)] == stored
    emptied = MemoryModels()
    emptied.failures = 3

    async def second(process: Process) -> None:
        await process.decide(RECORDS[700:701])

    assert not living(second, store, emptied).fatal
    assert emptied.held == {model_hash(data): data for data in (before, stored)}


@pytest.fixture(scope="module")
def archive() -> MemoryModels:
    made = MemoryModels()

    async def body(process: Process) -> None:
        await process.decide(RECORDS[:700])

    living(body, MemoryStore(), made)
    return made


def desk(archive: MemoryModels, store: MemoryStore | None = None, shards: int = 2) -> ModelDesk:
    class Nobody:
        async def announce(self, shard: int, record: bytes) -> None:
            assert json.loads(record)["type"] == "control.model"

    async def sleep(seconds: float) -> None:
        pass

    return ModelDesk(store or MemoryStore(), archive, Nobody(), shards, lambda: 7, sleep)


def test_models_are_found_by_version_hash_and_its_beginning(archive: MemoryModels) -> None:
    async def run() -> None:
        at, notes = desk(archive), await archive.notes()
        for note in notes:
            assert (
                await at.find(note.version) == await at.find(note.model) == await at.find(note.model[:20]) == note.model
            )
        assert describe(await at.read(notes[0].version)).version == notes[0].version
        for name, told in (("gbt1-00000000", "has no model"), ("", "has no model"), (notes[0].model + "a", "no model")):
            with pytest.raises(NoSuchModel, match=told):
                await at.find(name)
        first = {note.model[0] for note in notes}
        assert len(first) < len(notes)  # so that one letter is not enough for some
        with pytest.raises(NoSuchModel, match="several"):
            await at.find(next(letter for letter in first if sum(n.model[0] == letter for n in notes) > 1))
        with pytest.raises(NoSuchModel, match="shard 0 has no model"):
            await at.before([0])
        assert await at.tell(PIN, {0: notes[0].model, 1: notes[0].model}, 1.0) == [0, 1]  # nobody owns them

    asyncio.run(run())


def test_the_version_before_is_that_of_the_shard(archive: MemoryModels) -> None:
    async def run() -> None:
        notes, mine = await archive.notes(), MemoryModels()
        snapshots = [archive.held[note.model] for note in notes[:4]]
        for number, data in enumerate(snapshots):
            await mine.put(note_of(data, number % 2, number), data)
        store = MemoryStore()
        at = desk(mine, store)
        brought = await at.bring(archive.held[notes[5].model])
        assert brought.shard == ELSEWHERE
        for shard, data in ((0, snapshots[2]), (1, archive.held[notes[5].model])):
            await store.commit(Commit(shard, -1, 0, packed(data)))
        assert await at.before([0, 1]) == {0: notes[0].model, 1: notes[3].model}
        assert await at.before([1]) == {1: notes[3].model}
        await store.commit(Commit(0, 0, 1, packed(snapshots[0])))
        with pytest.raises(NoSuchModel, match="nothing that shard 0 served before"):
            await at.before([0])

    asyncio.run(run())


def packed(data: bytes) -> bytes:
    from engine.domain.ops import SET, Op, pack

    return pack(Op(SET, HEAD_SNAPSHOT, data))


def test_a_library_checks_what_it_fetches_and_holds_few(archive: MemoryModels) -> None:
    async def run() -> None:
        model, data = next(iter(archive.held.items()))
        mine = MemoryModels()
        library = ModelLibrary(mine, lambda: 1)
        assert await ModelLibrary().fetch(model) is None
        assert await library.fetch(model) is None
        mine.held[NOWHERE] = data
        assert await library.fetch(NOWHERE) is None and library.get(NOWHERE) is None
        mine.failures = 1
        with pytest.raises(StoreUnavailable):
            await library.fetch(model)
        for name, held in archive.held.items():
            mine.held[name] = held
            assert await library.fetch(name) == held == library.get(name)
        assert len(archive.held) > HELD_MAX or library.get(model) == data
        assert mine.kept == set(archive.held)
        with pytest.raises(ValueError, match="damaged"):
            await library.add(0, [data[:-1]])

    asyncio.run(run())


def test_orders_are_taken_once_they_can_be(archive: MemoryModels) -> None:
    class Announced:
        def __init__(self) -> None:
            self.records: list[bytes] = []
            self.failures = 1

        async def announce(self, shard: int, record: bytes) -> None:
            if self.failures:
                self.failures -= 1
                raise LogUnavailable("the test asked for a failure")
            self.records.append(record)

    async def run() -> None:
        waiting, told, clock = MemoryModels(), Announced(), ManualClock()
        orders = Orders(waiting, told, clock=clock, outage=Outage("x", clock))
        for record in (b"1", b"2"):
            await waiting.order(record)
        with pytest.raises(LogUnavailable):
            await orders.poll()
        assert told.records == [] and list(await waiting.orders()) == [b"1", b"2"]
        await orders.poll()
        assert told.records == [b"1", b"2"] and list(await waiting.orders()) == []

    asyncio.run(run())


def test_files_are_an_archive_and_say_what_is_wrong(archive: MemoryModels, tmp_path: Any) -> None:
    async def run() -> None:
        (model, data), (other, held) = list(archive.held.items())[:2]
        (tmp_path / "any.model").write_bytes(data)
        behind = MemoryModels()
        await behind.put(note_of(held, 0, 1), held)
        files = ModelFiles([tmp_path], behind)
        assert await files.get(model) == data and await files.get(other) == held
        assert await files.get(NOWHERE) is None and await ModelFiles([]).get(model) is None
        await files.keep(model)
        await files.keep(other)
        assert behind.kept == {other}
        await files.put(note_of(data, 0, 1), data)
        assert {note.model for note in await files.notes()} == {model, other}
        (tmp_path / "any.model").write_bytes(data[:-1])
        with pytest.raises(ModelFilesError, match=r"any\.model: fraud model snapshot is damaged"):
            await files.get(model)
        for place in ([tmp_path], [tmp_path.parent / "none"]):
            with pytest.raises(ModelFilesError):
                ModelFiles(place)

    asyncio.run(run())
