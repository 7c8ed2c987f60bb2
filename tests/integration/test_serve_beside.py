"""`steward serve` beside a worker, through a real Apache Kafka: the API routes, the worker decides."""

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
            worker.stop()
            assert call(port, "/v1/decisions", payments(9)[8])[0] == 504
