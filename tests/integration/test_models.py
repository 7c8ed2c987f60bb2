"""Fraud models of running processes: trained from history, published, rolled back by one command, replayed."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis as redis_client

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import free_port
from engine.adapters.redis_keys import JOURNAL, Keys
from engine.cli import main
from engine.demo.children import StewardProcess, answers
from engine.domain.times import DAY_MS
from engine.service import journal
from tests.integration.http_calls import call
from tests.support.deployment import STEWARD, Deployment
from tests.support.learned import DAYS, ENVIRONMENT, PAYMENTS, START_MS, history, payment, rules

START_SECONDS = 120.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary(), append_only=True) as server:
        yield server.start()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with rules and two histories; the settings that go with them in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STEWARD_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(rules())
    for seed in (1, 2):
        (tmp_path / f"{seed}.ndjson").write_bytes(b"\n".join(history(seed)) + b"\n")
    return tmp_path


def steward(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(list(arguments)) == code, capsys.readouterr()
    captured = capsys.readouterr()
    return captured.out + captured.err


def trained(capsys: pytest.CaptureFixture[str], seed: int, *more: str) -> str:
    """The version that a history gives."""
    said = steward(capsys, "train", f"{seed}.ndjson", "--rules", "rules", "--quiet", "--out", f"{seed}.model", *more)
    return said.split(":")[0]


def serve(redis: RedisServer, place: Path, port: int) -> StewardProcess:
    environment = {
        "STEWARD_REDIS": redis.url,
        "STEWARD_KAFKA": "none",
        "STEWARD_HTTP": f"127.0.0.1:{port}",
        "STEWARD_HTTP_DEADLINE": "10s",
        "STEWARD_RULES": str(place / "rules"),
        **ENVIRONMENT,
    }
    made = StewardProcess("serve", ["serve"], environment, lambda: answers(f"http://127.0.0.1:{port}/readyz"))
    return made.start(START_SECONDS)


def test_serve_takes_a_model_from_history_and_goes_back_by_one_command(redis, place, capsys, monkeypatch):
    monkeypatch.setenv("STEWARD_REDIS", redis.url)
    monkeypatch.setenv("STEWARD_KAFKA", "none")
    port, number = free_port(), PAYMENTS
    decisions: list[dict[str, Any]] = []

    def decide() -> str:
        """The model that a further payment's decision names."""
        nonlocal number
        status, body = call(port, "/v1/decisions", json.dumps(payment(number)).encode())
        number += 1
        assert status == 200, body
        decisions.append(orjson.loads(body))
        return str(decisions[-1]["model"]).rpartition("+")[2]

    with serve(redis, place, port) as process:
        assert decide() == "log1-none" and "fraud_not_ready" in decisions[-1]["degraded"]
        first = trained(capsys, 1, "--publish")
        assert decide() == first and decisions[-1]["scores"]["fraud"] is not None
        second = trained(capsys, 2)
        assert second != first
        assert "is in the archive" in steward(capsys, "models", "import", "2.model")
        assert f"serves {second}" in steward(capsys, "models", "start", second)
        assert decide() == second
        assert f"serves {first}, pinned" in steward(capsys, "models", "rollback")
        assert decide() == first
        shown = steward(capsys, "models", "list")
        assert "elsewhere" in shown and f"shard 0 serves {first}, pinned; learned meanwhile: {second}" in shown
        assert f"serves {second}" in steward(capsys, "models", "follow")
        assert decide() == second
        assert f"serves {first}" in steward(capsys, "models", "rollback", first, "--shard", "0")
        assert decide() == first
        assert "no model" in steward(capsys, "models", "rollback", "gbt1-00000000", code=2)
        assert "there is no shard 1" in steward(capsys, "models", "follow", "--shard", "1", code=2)
        steward(capsys, "models", "export", first, "again.model")
        assert Path("again.model").read_bytes() == Path("1.model").read_bytes()
        process.kill()
    with serve(redis, place, port) as process:
        assert decide() == first  # pinned still
        process.signal(signal.SIGTERM)
    replays_to(redis, decisions, capsys)


def replays_to(redis: RedisServer, decisions: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """The journal, replayed with the files of the models, gives the decisions that callers were given."""
    with redis_client.Redis.from_url(redis.url) as client:
        entries = [fields[b"r"] for _, fields in client.xrange(Keys("steward").base(0) + JOURNAL)]
    lines = b"".join(kept.value + b"\n" for entry in entries for kept in journal.decode(entry))
    Path("journal.ndjson").write_bytes(lines)
    steward(capsys, "replay", "journal.ndjson", "--rules", "rules", "--models", ".", "--out", "out", "--quiet")
    replayed = [orjson.loads(line) for line in Path("out/decisions.ndjson").read_bytes().splitlines()]
    assert replayed == decisions
    steward(capsys, "replay", "journal.ndjson", "--rules", "rules", "--out", "without", "--quiet")
    letters = [orjson.loads(line) for line in Path("without/dead_letters.ndjson").read_bytes().splitlines()]
    assert [letter["reason"] for letter in letters] == ["unknown_model"] * 4  # three pins and starts, and the first


def test_workers_over_kafka_follow_on_every_partition(
    deploy: Callable[..., Deployment], place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy(STEWARD_RULES=str(place / "rules"), **ENVIRONMENT)
    asyncio.run(deployment.create_topics())
    for name, value in deployment.environment.items():
        if name.startswith("STEWARD_"):
            monkeypatch.setenv(name, value)
    worker = deployment.start(STEWARD)
    sent = 0

    def models() -> set[str]:
        """What the decisions of further payments name, on both partitions."""
        nonlocal sent
        at_ms = START_MS + DAYS * DAY_MS + 60_000  # no hour passes, so that nothing is learned meanwhile
        numbers = range(sent, sent + 60)
        events = [json.dumps(payment(PAYMENTS + n, event_time=at_ms + n)).encode() for n in numbers]
        sent += 60
        asyncio.run(deployment.produce(events))
        outputs = asyncio.run(deployment.outputs(ids=sent))
        ours = {f"e{PAYMENTS + n}" for n in numbers}
        told = [output.event["data"] for output in outputs if output.topic == deployment.settings.topics.decisions]
        found = [one for one in told if one["event_id"] in ours]
        return {str(one["model"]).rpartition("+")[2] for one in found}

    assert models() == {"log1-none"}
    first, second = trained(capsys, 1, "--publish"), trained(capsys, 2)
    assert models() == {first}
    steward(capsys, "models", "import", "2.model")
    steward(capsys, "models", "rollback", second, "--shard", "1")
    assert models() == {first, second}
    shown = steward(capsys, "models", "list")
    assert f"shard 0 serves {first}\n" in shown and f"shard 1 serves {second}, pinned" in shown
    steward(capsys, "models", "follow")
    assert models() == {first}
    assert worker.terminate()[0] == 0
