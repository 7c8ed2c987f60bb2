"""The archive of fraud models: one suite in memory and over Redis and a cluster; what only Redis does after it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis as redis_client

from engine.adapters.memory_models import MemoryModels
from engine.adapters.redis_models import MODELS_TTL_S, NAMED_TTL_S, RedisModels
from engine.ports.models import ELSEWHERE, ModelNote
from engine.ports.store import StoreUnavailable
from tests.adapters.stores import Backend

ONE, TWO, THREE = ("a" * 32, "b" * 32, "p" * 32)


def note(model: str, shard: int = 0, boundary_ms: int = 5, **fields: Any) -> ModelNote:
    values = {"version": "gbt1-00000000", "known": 2.5, "frauds": 3, "inputs": 66, "archived_ms": 7, **fields}
    return ModelNote(model=model, shard=shard, boundary_ms=boundary_ms, **values)


def archive(backend: Backend, **options: Any) -> RedisModels | MemoryModels:
    return MemoryModels() if backend.url is None else RedisModels(backend.url, prefix=backend.prefix, **options)


def check(made: RedisModels | MemoryModels, body: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        try:
            await body(made)
        finally:
            if isinstance(made, RedisModels):
                await made.close()

    asyncio.run(run())


def test_a_snapshot_comes_back_as_it_was_put_and_never_changes(backend):
    async def body(models):
        assert await models.get(ONE) is None and await models.notes() == []
        await models.put(note(ONE), b"one\x00")
        await models.put(note(ONE), b"another")
        await models.put(note(TWO), bytes(300_000))
        assert await models.get(ONE) == b"one\x00"
        assert await models.get(TWO) == bytes(300_000)
        await models.keep(ONE)
        await models.keep(THREE)  # of which it knows nothing
        assert await models.get(THREE) is None

    check(archive(backend), body)


def test_notes_are_by_shard_and_in_order(backend):
    async def body(models):
        later, first = note(ONE, 1, 9), note(ONE, ELSEWHERE, 3)
        for one in (later, note(TWO, 0, 8), first, note(THREE, 1, 8, archived_ms=9)):
            await models.put(one, b"x")
        await models.put(note(ONE, 1, 9, archived_ms=100), b"x")  # the first note of a shard stays
        assert await models.notes() == [first, note(TWO, 0, 8), note(THREE, 1, 8, archived_ms=9), later]

    check(archive(backend), body)


def test_orders_wait_until_they_are_done(backend):
    async def body(models):
        assert list(await models.orders()) == []
        for record in (b"a", b"b", b"a"):
            await models.order(record)
        assert list(await models.orders()) == [b"a", b"b", b"a"]
        await models.done(b"a")
        await models.done(b"c")
        assert list(await models.orders()) == [b"b", b"a"]

    check(archive(backend), body)


def test_an_archive_that_is_away_says_so():
    async def body(models):
        for call in (
            models.put(note(ONE), b"x"), models.get(ONE), models.keep(ONE), models.notes(), models.order(b"x"),
            models.orders(), models.done(b"x"),
        ):  # fmt: skip
            with pytest.raises(StoreUnavailable):
                await call

    check(RedisModels("redis://127.0.0.1:1", prefix="t"), body)
    memory = MemoryModels()
    memory.failures = 7
    check(memory, body)


def test_what_is_named_is_kept_longer_and_what_is_forgotten_leaves_no_note(installed_redis):
    backend = Backend(installed_redis)

    async def body(models):
        await models.put(note(ONE), b"one")
        await models.put(note(TWO), b"two")
        await models.put(note(THREE), b"three")
        with redis_client.Redis.from_url(installed_redis.url) as client:
            left = {name: lambda name=name: client.ttl(f"{backend.prefix}:models:{name}") for name in (ONE, TWO)}
            assert 0 <= MODELS_TTL_S - left[ONE]() < 100
            await models.keep(ONE)
            assert 0 <= NAMED_TTL_S - left[ONE]() < 100
            await models.put(note(ONE, 5), b"one")
            assert 0 <= NAMED_TTL_S - left[ONE]() < 100  # and not shorter again
            client.expire(f"{backend.prefix}:models:{TWO}", 50)
            await models.put(note(TWO), b"two")
            assert left[TWO]() > 50
            client.delete(f"{backend.prefix}:models:{TWO}")
            client.hset(f"{backend.prefix}:models", "9:damaged", b"{")
            assert [found.model for found in await models.notes()] == [ONE, THREE, ONE]
            assert client.hlen(f"{backend.prefix}:models") == 3

    check(archive(backend), body)


def test_notes_of_forgotten_snapshots_do_not_pile_up(installed_redis):
    backend = Backend(installed_redis)

    async def body(models):
        with redis_client.Redis.from_url(installed_redis.url) as client:
            for number in range(30):
                name = f"{number:032d}".translate(str.maketrans("0123456789", "abcdefghij"))
                await models.put(note(name, boundary_ms=number), b"x")
                client.delete(f"{backend.prefix}:models:{name}")
                assert client.hlen(f"{backend.prefix}:models") <= 10

    check(archive(backend, notes_max=10), body)
