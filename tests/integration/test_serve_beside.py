"""`steward serve` beside a worker, through a real Apache Kafka: the API routes, the worker decides."""

import time

import orjson

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import free_port
from engine.demo.children import StewardProcess, answers
from tests.integration.http_calls import call
from tests.integration.test_serve import START_SECONDS, payments, until_200
from tests.support.kafka import ApacheKafka


def test_the_api_routes_and_the_worker_decides(kafka: ApacheKafka) -> None:
    with RedisServer(installed_redis_binary()).start() as redis:
        port, metrics = free_port(), free_port()
        environment = {
            "STEWARD_REDIS": redis.url,
            "STEWARD_KAFKA": kafka.url,
            "STEWARD_KAFKA_GROUP": "beside",
            "STEWARD_KAFKA_PARTITIONS": "3",
            "STEWARD_TOPICS_EVENTS": "beside.events",
            "STEWARD_TOPICS_DECISIONS": "beside.decisions",
            "STEWARD_HTTP": f"127.0.0.1:{port}",
            "STEWARD_HTTP_DEADLINE": "2s",
            "STEWARD_HTTP_DEGRADED": "false",
            "STEWARD_WORKER_METRICS_ADDRESS": f"127.0.0.1:{metrics}",
        }
        serve = StewardProcess("serve", ["serve"], environment, lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        worker = StewardProcess(
            "worker", ["worker"], environment, lambda: answers(f"http://127.0.0.1:{metrics}/metrics")
        )
        events = payments(8)
        with serve.start(START_SECONDS), worker:
            status, body = call(port, "/v1/decisions", events[0])
            assert (status, orjson.loads(body)["type"]) == (504, "urn:steward:problem:no-decision-in-time")
            worker.start(START_SECONDS)
            first = [until_200(port, event) for event in events]
            assert [answer["event_id"] for answer in first] == [orjson.loads(event)["event_id"] for event in events]
            assert [orjson.loads(call(port, "/v1/decisions", event)[1]) for event in events] == first
            assert call(port, "/v1/decisions", b"[]")[0] == 422
            analysts_are_answered(port)
            worker.stop()
            assert call(port, "/v1/decisions", payments(9)[8])[0] == 504


def analysts_are_answered(port: int) -> None:
    """What the worker has in force, a list changed in all its shards, and a decision explained through the log."""
    event = orjson.loads(payments(10)[9])
    event |= {"event_id": "explained", "payment_id": "explained"}
    status, body = call(port, "/v1/decisions?explain=true", orjson.dumps(event))
    explained = orjson.loads(body)
    assert (status, explained["event_id"], explained["explanation"] is None) == (200, "explained", False)
    deadline = time.monotonic() + 30
    while True:  # a worker says every few seconds what it owns
        shown = orjson.loads(call(port, "/v1/rules")[1])
        (worker,) = shown["workers"]
        if set(shown["shards"]) == set(worker["shards"]) == {"0", "1", "2"}:
            break
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    assert {hash_ for hash_ in shown["shards"].values() if hash_} == {explained["ruleset"]}
    assert set(worker["shards"].values()) == {explained["ruleset"]}
    assert len(shown["rule_sets"][0]["rules"]) > 10
    status, body = call(port, "/v1/lists/of_analysts", orjson.dumps({"add": ["a", "b"], "ttl": "1d"}))
    assert status == 202, body
    while len(orjson.loads(call(port, "/v1/lists/of_analysts")[1]).get("entries", ())) != 2:
        assert time.monotonic() < deadline, "the list did not change"
        time.sleep(0.05)
