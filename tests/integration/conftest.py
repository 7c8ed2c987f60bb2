"""One Kafka and one Redis for the tests that only need some; tests that stop servers start their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from tests.support.deployment import Deployment
from tests.support.kafka import ApacheKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[ApacheKafka]:
    with ApacheKafka() as server:
        yield server.start()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary(), append_only=True) as server:
        yield server.start()


@pytest.fixture
def deploy(
    kafka: ApacheKafka, redis: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Deployment]]:
    """Make the test's own deployment on the shared servers; keyword arguments are environment variables."""
    made: list[Deployment] = []

    def make(**environment: str) -> Deployment:
        name = f"{request.node.name[:40].replace('[', '-').replace(']', '')}-{len(made)}".replace("_", "-")
        made.append(Deployment(name, tmp_path, kafka.url, redis.url, **environment))
        return made[-1]

    yield make
    for deployment in made:
        deployment.__exit__()
