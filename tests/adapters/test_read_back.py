"""A shard without Kafka, rebuilt: the snapshot gives what was before it, its journal what came after."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer
from engine.adapters.memory_sink import MemorySink
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_copies import RedisCopies
from engine.adapters.redis_store import RedisStore
from engine.adapters.snapshot_files import SnapshotDirectory
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ports.copies import Manifest, Piece
from engine.ports.sync import SyncResult
from engine.ruleset import compile
from engine.service.batching import BatchLimits
from engine.service.snapshots import restore, take
from tests.adapters.stores import Backend
from tests.support.owners import sole_owner

RULES = """
models: {anomaly: {detector: half_space_trees, trees: 3, height: 3, window: 5, seed: 1, inputs: [part]}}
features:
  - {name: many, agg: count, by: customer, window: 24h}
  - {name: part, expr: "clamp(many / 10, 0, 1)"}
rules:
  - {id: many, description: d, when: many > 4, then: {decision: decline, reason: MANY}}
"""
RULESET = compile({"a.yaml": RULES})
AT = 1_767_268_800_000
BATCHES = {b"H", b"O", b"J"}


def payment(number: int, **fields: object) -> bytes:
    body = {"event_id": f"e{number}", "customer_id": f"c{number % 4}", "type": "payment.requested", "currency": "EUR"}
    more = {"event_time": AT + number * 1000, "payment_id": f"p{number}", "amount": number + 1}
    return msgspec.json.encode({**body, **more, **fields})


def events(first: int, count: int) -> list[bytes]:
    """Payments, some with a card number in the clear, some refused, some repeated."""
    found = []
    for n in range(first, first + count):
        kinds = (
            payment(n),
            payment(n, merchant_id="4111 1111 1111 1111"),
            payment(n, amount=-1),
            payment(max(0, n - 3)),
        )
        found.append(kinds[(0, 0, 1, 0, 2, 0, 3)[n % 7]])
    return found


class Life:
    """One run of a sole owner."""

    def __init__(self, backend: Backend) -> None:
        assert backend.url is not None
        self.store = RedisStore(backend.url, prefix=backend.prefix)
        self.copies = RedisCopies(backend.url, prefix=backend.prefix, rest=0.0)
        self.client = RedisClient(backend.url, RedisOptions())
        self.base = self.copies._keys.base(0)
        self.sink = MemorySink()
        self.fatal: list[BaseException] = []
        self.owner = sole_owner(
            Partition(RULESET, CoreSettings(snapshot_every=7)), self.store, self.sink, self.fatal, clock=SystemClock(),
            limits=BatchLimits(events_max=9), source=lambda offset: {"journal": "t", "shard": 0, "offset": offset},
            kept=self.store,
        )  # fmt: skip

    async def decide(self, records: list[bytes]) -> list[SyncResult]:
        return await self.owner.decide(records, 300.0)

    async def held(self) -> dict[bytes, object]:
        found: dict[bytes, object] = {}

        async def note(shard: int, pieces: list[Piece]) -> None:
            for piece in pieces:
                if piece.name not in BATCHES:
                    found[piece.name] = set(piece.value) if piece.kind == "set" else piece.value

        await self.copies.copy([0], note)  # type: ignore[arg-type]
        return found

    async def snapshot(self, directory: Path) -> Manifest:
        return await take(self.store, self.copies, SnapshotDirectory(directory), SystemClock(), lambda: AT)

    async def close(self) -> None:
        await self.owner.drain(5.0)
        for part in (self.store, self.copies, self.client):
            await part.close()


async def living(backend: Backend, body: Callable[[Life], Awaitable[None]]) -> Life:
    life = Life(backend)
    await life.store.start()
    life.owner.start()
    try:
        await body(life)
    finally:
        await life.close()
    return life


@pytest.mark.parametrize("again", [False, True])
def test_what_came_after_the_snapshot_is_read_back_from_the_journal(
    installed_redis: RedisServer, tmp_path: Path, again: bool
) -> None:
    backend, before = Backend(installed_redis), {}
    answers: list[SyncResult] = []

    async def first(life: Life) -> None:
        answers.extend(await life.decide(events(0, 60)))
        manifest = await life.snapshot(tmp_path)
        assert manifest.offsets == {0: 60}
        answers.extend(await life.decide(events(60, 55)))
        before.update(await life.held())

    async def damage(life: Life) -> None:
        copies, shelf = life.copies, SnapshotDirectory(tmp_path)
        await life.owner.drain(1.0)
        await life.client.call("DEL", life.base + next(key for key in before if key.startswith(b"c")))
        await restore(copies, shelf, SystemClock(), replace=True)
        if again:  # a rebuild that was interrupted is begun anew: the kept journal is still the whole one
            await life.store.kept_journal(0, 0)
            await restore(copies, shelf, SystemClock(), replace=True)
        assert (await life.store.open(0)).offset == 60

    async def second(life: Life) -> None:
        repeats = await life.decide(events(0, 115))
        assert not life.fatal
        assert [answer.body for answer in repeats if answer.status == "duplicate"] == [
            answer.body for answer in answers if answer.status in ("decision", "duplicate")
        ]

    async def compare(life: Life) -> None:
        await life.decide(events(114, 1))  # refused or a repeat: the shard is open
        assert await life.client.call("EXISTS", life.base + b"K") == 0
        held = await life.held()
        changed = [key for key in before | held if before.get(key) != held.get(key) and key != b"hservice/outputs"]
        assert changed == []
        entries = await life.client.call("XRANGE", life.base + b"J", "-", "+")
        assert int(entries[-1][0].partition(b"-")[0]) == 116

    async def whole() -> None:
        calm = await living(backend, first)
        await living(backend, damage)
        rebuilt = await living(backend, compare)
        sent, same = calm.sink.ids(0), rebuilt.sink.ids(0)
        assert set(same) >= set(sent[-40:])
        assert {o.id: o.data for _, _, o in calm.sink.sent if o.kind == "decision"}.items() >= {
            o.id: o.data for _, _, o in rebuilt.sink.sent if o.kind == "decision"
        }.items()
        await living(backend, second)

    assert (len(events(114, 1)), 114 % 7) == (1, 2)
    asyncio.run(whole())


def test_a_journal_that_begins_too_late_is_refused_unless_it_is_given_up(
    installed_redis: RedisServer, tmp_path: Path
) -> None:
    backend = Backend(installed_redis)

    async def first(life: Life) -> None:
        await life.decide(events(0, 20))
        await life.snapshot(tmp_path)
        for n in range(20, 30):
            await life.decide(events(n, 1))
        await life.client.call("XTRIM", life.base + b"J", "MINID", "26-0")

    async def rebuild(life: Life, *, journal: bool) -> None:
        await life.owner.drain(1.0)
        shelf = SnapshotDirectory(tmp_path)
        await restore(life.copies, shelf, SystemClock(), replace=True, journal=journal)

    async def refused(life: Life) -> None:
        async with asyncio.timeout(60):
            while not life.fatal:  # noqa: ASYNC110 - no event is set for it
                await asyncio.sleep(0.01)
        assert "the journal begins at offset 25, the snapshot ends at 20" in str(life.fatal[0])

    async def goes_on(life: Life) -> None:
        assert (await life.decide([payment(50)]))[0].status == "decision"
        assert (await life.store.open(0)).offset == 21

    async def whole() -> None:
        await living(backend, first)
        await living(backend, lambda life: rebuild(life, journal=True))
        await living(backend, refused)
        await living(backend, lambda life: rebuild(life, journal=False))
        await living(backend, goes_on)

    asyncio.run(whole())
