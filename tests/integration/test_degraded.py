"""Calls answered without the state, by real processes over a real Redis and a real Apache Kafka, frozen and dead."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import ServerProcess, free_port
from engine.demo.children import StewardProcess, answers
from engine.generator.stream import generate
from tests.integration.http_calls import call
from tests.support.kafka import ApacheKafka

START_SECONDS = 120.0
PATIENCE_S = 40.0
DEADLINE = "1s"
RULES = """
lists: {blocked: {values: [evil]}}
features: [{name: n, agg: count, by: customer, window: 30d}]
rules:
  - {id: blocked_merchant, when: merchant_id in lists.blocked, then: {decision: decline}}
  - {id: seen_before, when: n >= 4, then: {decision: review}}
  - {id: large, when: amount >= 1000000 and n >= 1, then: {decision: step_up}, on_degraded: hit}
models: {}
"""
Answer = tuple[int, dict[str, Any]]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary(), append_only=True) as server:
        yield server.start()


@pytest.fixture
def kafka() -> Iterator[ApacheKafka]:
    with ApacheKafka() as server:
        yield server.start()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(RULES)
    return tmp_path


def payments(count: int, merchant: str = "shop", first: int = 0) -> list[bytes]:
    """Payments of one shop, no two of them alike."""
    found = (orjson.loads(line) for line in generate(40 * (first + count)) if b'"type":"payment.requested"' in line)
    made = [next(found) for _ in range(first + count)][first:]
    return [orjson.dumps({**event, "merchant_id": merchant}) for event in made]


class Node:
    """A `steward serve` and its port."""

    def __init__(self, redis: RedisServer, rules: Path, **settings: str) -> None:
        self.port = free_port()
        environment = {
            "STEWARD_REDIS": redis.url,
            "STEWARD_KAFKA": "none",
            "STEWARD_RULES": str(rules),
            "STEWARD_HTTP": f"127.0.0.1:{self.port}",
            "STEWARD_HTTP_DEADLINE": DEADLINE,
            "STEWARD_REDIS_COMMAND_TIMEOUT": "2s",
            **settings,
        }
        ready = f"http://127.0.0.1:{self.port}/readyz"
        self.process = StewardProcess("serve", ["serve"], environment, lambda: answers(ready))

    def decide(self, event: bytes) -> Answer:
        status, body = call(self.port, "/v1/decisions", event)
        return status, orjson.loads(body)

    def ready(self) -> Answer:
        status, body = call(self.port, "/readyz")
        return status, orjson.loads(body)

    def counted(self, name: str) -> float:
        lines = call(self.port, "/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


def marks(answer: Answer) -> list[str]:
    """What a decision could not rely on, features that are warming left aside; what no decision is has a mark too."""
    return [mark for mark in answer[1].get("degraded", ["no_decision"]) if not mark.startswith("warming:")]


def decisions(redis: RedisServer) -> list[dict[str, Any]]:
    """What a `serve` alone has sent, once each."""
    import redis as client

    with client.Redis(unix_socket_path=redis.url.removeprefix("unix://")) as outputs:
        found = [orjson.loads(fields[b"event"]) for _, fields in outputs.xrange("steward:out:decision")]
    return [body["data"] for body in {body["id"]: body for body in found}.values()]


def away(server: ServerProcess, how: str) -> Callable[[], object]:
    """Take a server away; returns what brings it back."""
    if how == "frozen":
        server.signal(signal.SIGSTOP)
        return lambda: server.signal(signal.SIGCONT)
    server.kill()
    return server.start  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("how", ["frozen", "dead"])
def test_alone_without_its_store(redis: RedisServer, rules: Path, how: str) -> None:
    events, (evil,) = payments(6), payments(1, "evil", 10)
    node = Node(redis, rules, STEWARD_HTTP_QUEUED_MAX="5")
    with node.process.start(START_SECONDS):
        assert [node.decide(event)[1]["decision"] for event in events[:2]] == ["approve"] * 2
        until(lambda: call(node.port, "/v1/lists/blocked", b'{"add": ["shady"]}')[0] == 202)
        time.sleep(5.0)  # more than what is in force is read at
        back = away(redis, how)
        shady = orjson.dumps({**orjson.loads(events[2]), "merchant_id": "shady"})
        told = [node.decide(event) for event in (shady, evil, events[3])]
        assert [answer[1]["decision"] for answer in told] == ["decline", "decline", "approve"]
        assert all(marks(answer) == ["state_unavailable", "event_not_stored"] for answer in told)
        assert [node.decide(event) for event in (shady, evil, events[3])] == told
        status, ready = until(lambda: node.ready() if node.ready()[1]["status"] == "degraded" else None)
        assert (status, "store" in ready["reasons"][0]) == (200, True)
        assert [node.decide(event)[0] for event in payments(7, first=20)][-1] == 503  # no room for another one
        back()
        until(lambda: node.ready()[1]["status"] == "ready")
        until(lambda: node.counted("steward_degraded_settled_total") >= 3)
        assert [node.decide(event) for event in (shady, evil, events[3])] == told
        node.process.kill()
    later = Node(redis, rules)
    with later.process.start(START_SECONDS):
        assert [later.decide(event) for event in (shady, evil, events[3])] == told
    sent = {body["event_id"]: body for body in decisions(redis)}
    asked = [orjson.loads(event)["event_id"] for event in (*events[:2], shady, evil, events[3])]
    assert set(asked) <= set(sent)  # all of them were decided, with the state
    assert not any("state_unavailable" in body["degraded"] for body in sent.values())


@pytest.mark.parametrize("how", ["frozen", "dead"])
def test_beside_a_worker_without_the_store(redis: RedisServer, kafka: ApacheKafka, rules: Path, how: str) -> None:
    metrics = free_port()
    beside = {
        "STEWARD_KAFKA": kafka.url,
        "STEWARD_KAFKA_PARTITIONS": "2",
        "STEWARD_WORKER_METRICS_ADDRESS": f"127.0.0.1:{metrics}",
    }
    events = payments(8)
    one, two = Node(redis, rules, **beside), Node(redis, rules, **beside)
    environment = {**one.process._environment}
    worker = StewardProcess("worker", ["worker"], environment, lambda: answers(f"http://127.0.0.1:{metrics}/metrics"))
    with ExitStack() as stack:
        for process in (one.process, worker, two.process):
            stack.enter_context(process).start(START_SECONDS)
        until(lambda: marks(one.decide(events[0])) == [])
        until(lambda: marks(two.decide(events[1])) == [])
        back = away(redis, how)
        told = [one.decide(event) for event in events[2:5]]
        assert {(status, body["decision"]) for status, body in told} == {(200, "approve")}
        assert all(marks(answer) == ["state_unavailable"] for answer in told)
        # Another node evaluates the same rules over the same event: its answer is the same.
        assert [two.decide(event) for event in events[2:5]] == told
        assert until(lambda: one.ready() if one.ready()[1]["status"] == "degraded" else None)[0] == 200
        back()
        until(lambda: one.ready()[1]["status"] == "ready" and two.ready()[1]["status"] == "ready")
        until(lambda: one.counted("steward_degraded_settled_total") >= 3)
        assert [node.decide(event) for node in (one, two) for event in events[2:5]] == told * 2
        third = Node(redis, rules, **beside)
        stack.enter_context(third.process).start(START_SECONDS)
        assert [third.decide(event) for event in events[2:5]] == told


@pytest.mark.parametrize("how", ["frozen", "dead"])
def test_beside_a_worker_without_the_log_nothing_is_taken(
    redis: RedisServer, kafka: ApacheKafka, rules: Path, how: str
) -> None:
    node = Node(redis, rules, STEWARD_KAFKA=kafka.url, STEWARD_KAFKA_REQUEST_TIMEOUT="3s")
    events = payments(4)
    with node.process.start(START_SECONDS):
        until(lambda: node.decide(events[0])[0] == 200)  # no worker runs: answered without the state
        assert marks(node.decide(events[0])) == ["state_unavailable"]
        back = away(kafka, how)
        status, _ = node.decide(events[1])
        assert status in (503, 504)  # of the first nobody knows whether the log has it
        assert [node.decide(event)[0] for event in events[2:]] == [503, 503]
        assert node.ready()[0] == 503
        back()
        until(lambda: node.decide(events[1])[0] == 200)
        assert [node.decide(event)[0] for event in events[2:]] == [200, 200]


def test_switched_off_nothing_is_answered_without_the_state(redis: RedisServer, rules: Path) -> None:
    (event,) = payments(1)
    node = Node(redis, rules, STEWARD_HTTP_DEGRADED="false")
    with node.process.start(START_SECONDS):
        redis.signal(signal.SIGSTOP)
        assert node.decide(event)[0] == 504
        assert node.ready()[0] == 503
        redis.signal(signal.SIGCONT)
        assert until(lambda: node.decide(event) if node.decide(event)[0] == 200 else None)[1]["decision"] == "approve"
