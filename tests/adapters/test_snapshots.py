"""Copies taken while commits go on: each is what the store held at one offset, whole, and comes back as it was."""

import asyncio
import gzip
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer
from engine.adapters.memory_store import MemoryStore
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_copies import CUT_KEYS_MAX, RedisCopies
from engine.adapters.redis_rules import RedisRules
from engine.adapters.redis_store import RedisStore
from engine.adapters.snapshot_files import SnapshotDirectory
from engine.domain.ops import APPEND, DELETE, SET, Op, pack
from engine.ports.copies import CopyLost, DamagedSnapshot, Manifest, Piece, ShardThere
from engine.ports.store import Commit, Delivery, Head, StoreMisconfigured
from engine.service import marks
from engine.service.snapshots import NothingStored, restore, take
from tests.adapters.stores import Backend

SHARDS = 3
KEYS = 900
PRESENT = [b"c%d" % n for n in range(KEYS)]
ANSWERS = [b"e%d" % n for n in range(40)]


class World:
    """Commits over some shards, and the same again in memory up to any offset."""

    def __init__(self, backend: Backend, seed: int) -> None:
        assert backend.url is not None
        self.url, self.prefix = backend.url, backend.prefix
        self.store = RedisStore(self.url, prefix=self.prefix)
        self.copies = RedisCopies(self.url, prefix=self.prefix, rest=0.0)
        self.draw = random.Random(seed)
        self.commits: list[list[Commit]] = [[] for _ in range(SHARDS)]
        self.deliveries = 0

    async def begin(self) -> None:
        await self.store.start()
        for shard in range(SHARDS):
            ops = [marks.birth(SHARDS), *(pack(Op(SET, key, key, 48)) for key in PRESENT)]
            await self._commit(Commit(shard, -1, 1, b"".join(ops), b"first"))

    async def go_on(self) -> None:
        """One more commit of a shard."""
        shard, draw = self.draw.randrange(SHARDS), self.draw
        expected = len(self.commits[shard])
        ops = [
            pack(
                Op(
                    draw.choice([APPEND, APPEND, SET, DELETE]),
                    draw.choice(PRESENT),
                    b"%d," % expected,
                    draw.choice([0, 48]),
                )
            )
            for _ in range(draw.randrange(60))
        ]
        ops += [pack(Op(APPEND, b"hlearned", b"x"))] * draw.randrange(2)
        answers = [(draw.choice(ANSWERS), b"%d" % expected, 3600)] * draw.randrange(2)
        await self._commit(
            Commit(
                shard, expected, expected + 1, b"".join(ops), b"o%d" % expected, draw.randrange(expected), b"", answers
            )
        )

    async def _commit(self, commit: Commit) -> None:
        await self.store.commit(commit)
        self.commits[commit.shard].append(commit)

    async def held(self, store: RedisStore | MemoryStore, shard: int) -> tuple[Head, list[bytes | None]]:
        head = await store.open(shard)
        answers = [await store.answer(shard, key) for key in ANSWERS]
        return head, [*await store.load(shard, PRESENT), *answers]

    async def expected(self, shard: int, offset: int) -> tuple[Head, list[bytes | None]]:
        store = MemoryStore()
        for commit in self.commits[shard][:offset]:
            await store.commit(commit)
        return await self.held(store, shard)

    async def close(self) -> None:
        await self.store.close()
        await self.copies.close()


@pytest.fixture(params=["redis", "embedded", "cluster"])
def server(request: pytest.FixtureRequest) -> Backend:
    name = {"redis": "installed_redis", "embedded": "embedded_redis", "cluster": "redis_cluster"}[request.param]
    return Backend(request.getfixturevalue(name))


def run(backend: Backend, seed: int, body: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World(backend, seed)
        try:
            await world.begin()
            await body(world)
        finally:
            await world.close()

    asyncio.run(whole())


async def snapshot(world: World, directory: Path, *, busy: bool = True) -> Manifest:
    done = asyncio.Event()

    async def keep_on() -> None:
        while busy and not done.is_set():
            await world.go_on()

    going = asyncio.ensure_future(keep_on())
    try:
        return await take(
            world.store, world.copies, SnapshotDirectory(directory), SystemClock(), lambda: 1_800_000_000_123
        )
    finally:
        done.set()
        await going


@pytest.mark.parametrize("seed", range(3))
def test_a_snapshot_under_load_is_the_state_at_one_offset_of_each_shard(
    server: Backend, seed: int, tmp_path: Path
) -> None:
    async def body(world: World) -> None:
        rules = RedisRules(world.url, prefix=world.prefix)
        await rules.put("a" * 16, {"a.yaml": "rules: []"})
        await rules.close()
        manifest = await snapshot(world, tmp_path)
        assert manifest.name == "20270115T080000.123Z"
        assert sum(len(commits) for commits in world.commits) > sum(manifest.offsets.values()) > SHARDS
        other = RedisStore(world.url, prefix=f"{world.prefix}-back")
        copies = RedisCopies(world.url, prefix=f"{world.prefix}-back")
        found, _ = await restore(copies, SnapshotDirectory(tmp_path), SystemClock())
        assert found == manifest
        await other.start()
        for shard, offset in manifest.offsets.items():
            assert await world.held(other, shard) == await world.expected(shard, offset)
            await other.commit(Commit(shard, offset, offset + 1, b"", b"next"))
        rules = RedisRules(world.url, prefix=f"{world.prefix}-back")
        assert await rules.get("a" * 16) == {"a.yaml": "rules: []"}
        for part in (rules, copies, other):
            await part.close()
        client = RedisClient(world.url, RedisOptions())
        base = world.copies._keys.base(0)
        assert await client.call("EXISTS", base + b"X") == 0
        assert await client.call("HMGET", base + b"H", "copying", "copier") == [None, None]
        await client.close()

    run(server, seed, body)


def test_expiries_come_back_and_what_has_expired_does_not(installed_redis: RedisServer, tmp_path: Path) -> None:
    async def body(world: World) -> None:
        client = RedisClient(world.url, RedisOptions())
        base = world.copies._keys.base(0)
        before = await client.call("PTTL", base + PRESENT[0])
        await client.call("PEXPIRE", base + PRESENT[1], 50)
        manifest = await snapshot(world, tmp_path, busy=False)
        await asyncio.sleep(0.06)
        await restore(world.copies, SnapshotDirectory(tmp_path), SystemClock(), replace=True)
        after = await client.call("PTTL", base + PRESENT[0])
        assert before - 60_000 < after <= before
        assert await world.store.load(0, [PRESENT[1], PRESENT[2]]) == [None, PRESENT[2]]
        assert manifest.offsets == dict.fromkeys(range(SHARDS), 1)
        await client.close()

    run(Backend(installed_redis), 1, body)


def test_what_a_source_still_owes_a_home_that_was_copied_before_it_is_kept(installed_redis: RedisServer) -> None:
    """Delivered between two cuts: the home's copy lacks it, so the source's copy must hold it."""

    async def body(world: World) -> None:
        store, copied = world.store, {}
        touch = pack(Op(APPEND, b"f\x01", b"touch", 48))
        await store.commit(Commit(1, 1, 2, b"", touches=b"entry"))

        async def note(shard: int, pieces: list[Piece]) -> None:
            copied.setdefault(shard, {}).update({piece.name: piece for piece in pieces})
            if shard == 0 and any(piece.name == b"H" for piece in pieces):  # the home is copied, the source not yet
                await store.deliver(Delivery(0, 1, -1, 1, 2, bytes(4), touch))
                await store.commit(Commit(1, 2, 3, b"", delivered=1))

        assert await world.copies.copy([0, 1], note) == {0: 1, 1: 3}  # type: ignore[arg-type]
        assert b"f\x01" not in copied[0]
        assert copied[1][b"T"].value == [b"entry"]
        await store.commit(Commit(1, 3, 4, b"", delivered=1))
        assert not (await store.open(1)).touches

    run(Backend(installed_redis), 1, body)


def test_a_delivery_while_its_home_is_copied_is_in_the_copy(installed_redis: RedisServer) -> None:
    async def body(world: World) -> None:
        touch = pack(Op(APPEND, b"f\x01", b"touch", 48))
        copied: dict[bytes, Piece] = {}

        async def note(shard: int, pieces: list[Piece]) -> None:
            if not copied:
                await world.store.deliver(Delivery(0, 1, -1, 1, 2, bytes(4), touch))
            copied.update({piece.name: piece for piece in pieces})

        await world.copies.copy([0], note)  # type: ignore[arg-type]
        assert copied[b"f\x01"].value == b"touch"
        assert copied[b"D"].value[:2] == [b"1w", b"2"]

    run(Backend(installed_redis), 1, body)


def test_a_shard_that_is_there_is_not_replaced_unasked(installed_redis: RedisServer, tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await snapshot(world, tmp_path, busy=False)
        await world.go_on()
        before = [await world.held(world.store, shard) for shard in range(SHARDS)]
        with pytest.raises(ShardThere, match="shard 0 is there, at offset"):
            await restore(world.copies, SnapshotDirectory(tmp_path), SystemClock())
        assert [await world.held(world.store, shard) for shard in range(SHARDS)] == before
        await restore(world.copies, SnapshotDirectory(tmp_path), SystemClock(), replace=True)
        for shard in range(SHARDS):
            assert await world.held(world.store, shard) == await world.expected(shard, 1)

    run(Backend(installed_redis), 1, body)


def test_a_shard_that_is_half_put_back_cannot_be_opened_nor_committed_to(installed_redis: RedisServer) -> None:
    async def body(world: World) -> None:
        await world.copies.claim(0, 7, replace=True)
        await world.copies.put(0, [Piece(b"c1", "string", 0, b"x")])
        with pytest.raises(StoreMisconfigured, match="stopped half way"):
            await world.store.open(0)
        with pytest.raises(StoreMisconfigured, match="stopped half way"):
            await world.store.commit(Commit(0, -1, 1, b""))
        with pytest.raises(StoreMisconfigured, match="put an earlier copy back"):
            await world.copies.copy([0], _nothing)

    run(Backend(installed_redis), 1, body)


def test_a_copier_that_died_holds_nobody_up_and_one_that_lost_its_lease_stops(installed_redis: RedisServer) -> None:
    async def body(world: World) -> None:
        client = RedisClient(world.url, RedisOptions())
        head = world.copies._keys.base(0) + b"H"
        await world.copies._run("begin", 0, "somebody", 60_000)
        with pytest.raises(CopyLost, match="somebody else"):
            await world.copies.copy([0], _nothing)
        await client.call("HSET", head, "copying", "1")
        await world.store.commit(Commit(0, 1, 2, pack(Op(SET, b"c1", b"new"))))
        assert await client.call("HMGET", head, "copying", "copier") == [None, None]
        assert await client.call("EXISTS", head[:-1] + b"X") == 0

        async def lose(shard: int, pieces: list[Piece]) -> None:
            await client.call("HSET", head, "copying", "1")

        with pytest.raises(CopyLost, match="interrupted"):
            await world.copies.copy([0], lose)  # type: ignore[arg-type]
        await client.close()

    run(Backend(installed_redis), 1, body)


def test_more_changes_than_one_call_may_read_are_read_before_the_cut(installed_redis: RedisServer) -> None:
    async def body(world: World) -> None:
        copied: dict[bytes, Piece] = {}

        async def note(shard: int, pieces: list[Piece]) -> None:
            if not copied:
                ops = b"".join(pack(Op(APPEND, key, b"!", 48)) for key in PRESENT)
                await world.store.commit(Commit(0, 1, 2, ops))
                assert len(PRESENT) > 3 * CUT_KEYS_MAX
            copied.update({piece.name: piece for piece in pieces})

        assert await world.copies.copy([0], note) == {0: 2}  # type: ignore[arg-type]
        assert [copied[key].value for key in PRESENT] == [key + b"!" for key in PRESENT]

    run(Backend(installed_redis), 1, body)


def test_damaged_and_unfinished_snapshots_are_refused_before_anything_is_touched(
    installed_redis: RedisServer, tmp_path: Path
) -> None:
    async def body(world: World) -> None:
        shelf = SnapshotDirectory(tmp_path)
        with pytest.raises(NothingStored):
            await restore(world.copies, shelf, SystemClock())
        shelf.draft(1_900_000_000_000)
        manifest = await snapshot(world, tmp_path, busy=False)
        assert shelf.manifests() == [manifest]
        file = tmp_path / manifest.name / "shard-00001.gz"
        good = file.read_bytes()
        for bad in (good[:-9], good[:40] + bytes([good[40] ^ 1]) + good[41:], gzip.compress(b"")):
            file.write_bytes(bad)
            with pytest.raises(DamagedSnapshot, match="shard-00001"):
                await restore(world.copies, shelf, SystemClock(), replace=True)
            assert (await world.store.open(0)).offset == 1
        file.unlink()
        with pytest.raises(DamagedSnapshot):
            await restore(world.copies, shelf, SystemClock(), replace=True)

    run(Backend(installed_redis), 1, body)


def test_an_empty_store_has_no_snapshot_and_the_oldest_are_pruned(installed_redis: RedisServer, tmp_path: Path) -> None:
    async def body(world: World) -> None:
        shelf = SnapshotDirectory(tmp_path)
        empty = RedisStore(world.url, prefix="nobody")
        with pytest.raises(NothingStored, match="holds no shard"):
            await take(empty, world.copies, shelf, SystemClock(), lambda: 0)
        await empty.close()
        assert names(tmp_path) == []
        for second in range(3):
            await take(world.store, world.copies, shelf, SystemClock(), lambda s=second: 1_800_000_000_000 + s * 1000)
        shelf.prune(2)
        assert [m.created_ms for m in shelf.manifests()] == [1_800_000_001_000, 1_800_000_002_000]
        assert len(names(tmp_path)) == 2

    run(Backend(installed_redis), 1, body)


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def _nothing(shard: int, pieces: object) -> None:
    """Takes nothing."""
