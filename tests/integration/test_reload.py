"""Rules changed in running processes: `steward serve` over a real Redis, `steward worker` over a real Kafka too."""

import asyncio
import signal
import threading
import time
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
from engine.ruleset import compile
from engine.service import journal
from tests.integration.http_calls import call
from tests.support.deployment import STEWARD, Deployment

START_SECONDS = 120.0
SOON = 30.0  # a machine under load gets more time; the poll itself takes a fraction of a second
ERROR = "rules: [{id: big, when: amunt > 3, then: {decision: review, reason: BIG}}]\n"


def rules(limit: int) -> str:
    return f"rules: [{{id: big, when: amount > {limit}, then: {{decision: review, reason: BIG}}}}]\n"


def hash_of(text: str) -> str:
    return compile({"a.yaml": text}).hash


def payment(number: int) -> bytes:
    return orjson.dumps(
        {
            "event_id": f"e{number}", "type": "payment.requested", "event_time": 1_800_000_000_000 + 1_000 * number,
            "customer_id": f"c{number % 11}", "payment_id": f"p{number}", "currency": "EUR", "amount": 100,
        }
    )  # fmt: skip


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary(), append_only=True) as server:
        yield server.start()


def serve(redis: RedisServer, directory: Path) -> tuple[StewardProcess, int]:
    port = free_port()
    environment = {
        "STEWARD_REDIS": redis.url,
        "STEWARD_KAFKA": "none",
        "STEWARD_HTTP": f"127.0.0.1:{port}",
        "STEWARD_HTTP_DEADLINE": "10s",
        "STEWARD_RULES": str(directory),
        "STEWARD_RULES_RELOAD": "100ms",
    }
    return StewardProcess("serve", ["serve"], environment, lambda: answers(f"http://127.0.0.1:{port}/readyz")), port


class Load:
    """Payments one after the other, from a thread; every answer is kept."""

    def __init__(self, port: int, first: int) -> None:
        self.decisions: list[dict[str, Any]] = []
        self.failures: list[tuple[int, bytes]] = []
        self._port = port
        self._next = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pour)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _pour(self) -> None:
        while not self._stop.is_set():
            status, body = call(self._port, "/v1/decisions", payment(self._next))
            self._next += 1
            if status == 200:
                self.decisions.append(orjson.loads(body))
            else:
                self.failures.append((status, body))

    def until_under(self, ruleset: str) -> None:
        until(lambda: bool(self.decisions) and self.decisions[-1]["ruleset"] == ruleset, f"rule set {ruleset}")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


def put(file: Path, text: str) -> None:
    """Change a file that is watched at one stroke, for a busy machine may stop a writer for longer than two looks."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def alerts(redis: RedisServer) -> list[dict[str, Any]]:
    with redis_client.Redis.from_url(redis.url) as client:
        found = [orjson.loads(fields[b"event"])["data"] for _, fields in client.xrange("steward:out:alert")]
    return [alert for alert in found if alert["kind"] == "operations"]


def test_serve_takes_changed_rules_and_refuses_broken_ones(redis, tmp_path):
    directory, elsewhere = tmp_path / "rules", tmp_path / "elsewhere"
    directory.mkdir()
    elsewhere.mkdir()
    file = directory / "a.yaml"
    file.write_text(rules(1))
    (elsewhere / "a.yaml").write_text(rules(5_000))
    process, port = serve(redis, directory)
    with process.start(START_SECONDS), Load(port, 0) as load:
        load.until_under(hash_of(rules(1)))
        put(file, rules(200))
        load.until_under(hash_of(rules(200)))

        put(file, ERROR)
        until(lambda: bool(alerts(redis)), "the alert")
        shown = orjson.loads(call(port, "/v1/rules")[1])
        assert shown["ruleset"] == hash_of(rules(200))
        assert [rule["id"] for rule in shown["rule_sets"][0]["rules"]] == ["big"]

        put(file, rules(300))
        load.until_under(hash_of(rules(300)))
        put(file, rules(400))
        load.until_under(hash_of(rules(400)))
        metrics = call(port, "/metrics")[1].decode()
        assert 'steward_rules_reloads_total{result="loaded"}' in metrics
        until(lambda: f'ruleset="{hash_of(rules(400))}"' in call(port, "/metrics")[1].decode(), "the gauge")
        load.__exit__()
        process.signal(signal.SIGTERM)
        until(lambda: not process.alive(), "the end")
    process, port = serve(redis, elsewhere)
    with process.start(START_SECONDS), Load(port, load._next) as again:
        again.until_under(hash_of(rules(5_000)))
        again.__exit__()
    assert load.failures == again.failures == []
    decisions = load.decisions + again.decisions
    assert [decision["event_id"] for decision in decisions] == [f"e{n}" for n in range(len(decisions))]
    in_order = [hash_of(text) for text in (rules(1), rules(200), rules(300), rules(400), rules(5_000))]
    places = [in_order.index(decision["ruleset"]) for decision in decisions]
    assert places == sorted(places) and set(places) == set(range(5))
    (alert,) = {alert["alert_id"]: alert for alert in alerts(redis)}.values()
    assert [reason["code"] for reason in alert["reasons"]] == ["RULES_REFUSED"]
    assert "unknown name 'amunt'" in alert["reasons"][0]["detail"]
    replays_to(redis, decisions, directory, tmp_path)


def replays_to(redis: RedisServer, decisions: list[dict[str, Any]], first: Path, place: Path) -> None:
    """The journal of shard 0, replayed offline from the first rule set, gives the decisions that callers were given."""
    with redis_client.Redis.from_url(redis.url) as client:
        entries = [fields[b"r"] for _, fields in client.xrange(Keys("steward").base(0) + JOURNAL)]
    history = place / "journal.ndjson"
    history.write_bytes(b"".join(kept.value + b"\n" for entry in entries for kept in journal.decode(entry)))
    sets = place / "sets"
    for limit in (200, 300, 400, 5_000):
        (sets / str(limit)).mkdir(parents=True)
        (sets / str(limit) / "a.yaml").write_text(rules(limit))
    (first / "a.yaml").write_text(rules(1))
    out = place / "out"
    arguments = [str(history), "--rules", str(first), "--rule-sets", str(sets), "--out", str(out), "--quiet"]
    assert main(["replay", *arguments]) == 0
    replayed = [orjson.loads(line) for line in (out / "decisions.ndjson").read_bytes().splitlines()]
    assert replayed == decisions
    report = orjson.loads((out / "report.json").read_bytes())
    assert report["ruleset"] == hash_of(rules(5_000))


def test_a_worker_reloads_every_shard_it_owns(deploy: Callable[..., Deployment], tmp_path):
    directory = tmp_path / "rules"
    directory.mkdir()
    file = directory / "a.yaml"
    file.write_text(rules(1))
    deployment = deploy(STEWARD_RULES=str(directory), STEWARD_RULES_RELOAD="100ms")
    asyncio.run(deployment.create_topics())
    worker = deployment.start(STEWARD)
    sent = 0

    def send_until_under(ruleset: str) -> None:
        """Events until both shards decide under `ruleset`: customers are spread over both."""
        nonlocal sent
        deadline = time.monotonic() + 2 * SOON
        while True:
            asyncio.run(deployment.produce(payment(n) for n in range(sent, sent + 50)))
            sent += 50
            outputs = asyncio.run(deployment.outputs(ids=sent))
            latest: dict[int, str] = {}
            for output in outputs:
                if output.topic == deployment.settings.topics.decisions:
                    latest[output.partition] = output.event["data"]["ruleset"]
            if latest == {0: ruleset, 1: ruleset}:
                return
            assert time.monotonic() < deadline, worker.log

    send_until_under(hash_of(rules(1)))
    put(file, rules(200))
    send_until_under(hash_of(rules(200)))
    put(file, ERROR)
    worker.wait_for("the rules directory cannot be used")
    send_until_under(hash_of(rules(200)))
    put(file, rules(300))
    send_until_under(hash_of(rules(300)))
    code, _ = worker.terminate()
    assert code == 0, worker.log
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.yaml").write_text(rules(5_000))
    deployment.environment["STEWARD_RULES"] = str(elsewhere)
    worker = deployment.start(STEWARD)
    send_until_under(hash_of(rules(5_000)))
    outputs = asyncio.run(deployment.outputs(ids=sent))
    decided = {output.id: output for output in outputs if output.topic == deployment.settings.topics.decisions}
    assert sorted(output.event["data"]["event_id"] for output in decided.values()) == sorted(
        f"e{n}" for n in range(sent)
    )
    raised = {o.id: o.event["data"] for o in outputs if o.topic == deployment.settings.topics.alerts}
    (alert,) = [alert for alert in raised.values() if alert["kind"] == "operations"]
    assert [reason["code"] for reason in alert["reasons"]] == ["RULES_REFUSED"]
    in_order = [hash_of(text) for text in (rules(1), rules(200), rules(300), rules(5_000))]
    for partition in (0, 1):
        names = [o.event["data"]["ruleset"] for o in decided.values() if o.partition == partition]
        places = [in_order.index(name) for name in names]
        assert places == sorted(places)
