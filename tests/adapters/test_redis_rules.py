"""The archive of rule sets and the registry of workers, each in memory and over Redis and a cluster."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_client

from engine.adapters.memory_rules import MemoryRules
from engine.adapters.memory_workers import MemoryWorkers
from engine.adapters.redis_rules import RULES_TTL_S, RedisRules
from engine.adapters.redis_workers import RedisWorkers
from engine.ports.store import StoreUnavailable
from engine.ports.workers import Worker
from tests.adapters.stores import Backend

FILES = {"a.yaml": "rules: []\n", "lists/übel.txt": "ÿ\n\n# 漢字\n"}


def with_closing(make: Callable[[], Any], body: Callable[[Any], Any]) -> None:
    async def run() -> None:
        made = make()
        try:
            await body(made)
        finally:
            if hasattr(made, "close"):
                await made.close()

    asyncio.run(run())


def archive(backend: Backend) -> RedisRules | MemoryRules:
    return MemoryRules() if backend.url is None else RedisRules(backend.url, prefix=backend.prefix)


def registry(backend: Backend, **options: Any) -> RedisWorkers | MemoryWorkers:
    return MemoryWorkers() if backend.url is None else RedisWorkers(backend.url, prefix=backend.prefix, **options)


def worker(name: str, **fields: Any) -> Worker:
    return Worker(worker=name, version="1", started_ms=5, shards={0: "ab" * 8, 12: "cd" * 8}, **fields)


def test_a_rule_set_comes_back_as_it_was_put(backend):
    async def body(rules):
        assert await rules.get("0" * 16) is None
        await rules.put("0" * 16, FILES)
        await rules.put("1" * 16, {"a.yaml": "rules: [] # other\n"})
        await rules.put("0" * 16, FILES)
        assert await rules.get("0" * 16) == FILES

    with_closing(lambda: archive(backend), body)


def test_an_archived_rule_set_is_forgotten_long_after_its_last_use(installed_redis):
    backend = Backend(installed_redis)

    async def body(rules):
        await rules.put("0" * 16, FILES)
        with redis_client.Redis.from_url(installed_redis.url) as client:
            key = f"{backend.prefix}:rules:{'0' * 16}"
            assert 0 <= RULES_TTL_S - client.ttl(key) < 100
            client.expire(key, 50)
            assert await rules.get("0" * 16) == FILES
            assert client.ttl(key) > 50

    with_closing(lambda: archive(backend), body)


def test_an_archive_that_is_away_says_so():
    async def body(rules):
        with pytest.raises(StoreUnavailable):
            await rules.put("0" * 16, FILES)
        with pytest.raises(StoreUnavailable):
            await rules.get("0" * 16)

    with_closing(lambda: RedisRules("redis://127.0.0.1:1", prefix="t"), body)


def test_workers_sign_in_and_out(backend):
    async def body(workers):
        assert await workers.workers() == []
        await workers.sign_in(worker("b"))
        await workers.sign_in(worker("a", errors=("x.yaml:1:2: no",)))
        await workers.sign_in(worker("b", directory="ef" * 8))
        assert await workers.workers() == [worker("a", errors=("x.yaml:1:2: no",)), worker("b", directory="ef" * 8)]
        await workers.sign_out("a")
        await workers.sign_out("never there")
        assert await workers.workers() == [worker("b", directory="ef" * 8)]

    with_closing(lambda: registry(backend), body)


def test_a_worker_that_fell_silent_is_forgotten(installed_redis):
    backend = Backend(installed_redis)

    async def body(workers):
        await workers.sign_in(worker("a"))
        end = time.monotonic() + 10
        while await workers.workers():
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        with redis_client.Redis.from_url(installed_redis.url) as client:
            assert client.keys(f"{backend.prefix}:*") == []  # nothing of it is left behind

    with_closing(lambda: registry(backend, ttl_s=1), body)
