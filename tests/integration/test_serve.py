"""`steward serve` alone as a real process over a real Redis: killed, starved of its store, and stopped."""

import signal
import time
from collections.abc import Iterator

import orjson
import pytest
import redis as redis_client

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import ServerFailed, free_port
from engine.demo.children import StewardProcess, answers
from engine.generator.stream import generate
from tests.integration.http_calls import call

START_SECONDS = 120.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary(), append_only=True) as server:
        yield server.start()


def serve(redis: RedisServer, **settings: str) -> tuple[StewardProcess, int]:
    port = free_port()
    environment = {
        "STEWARD_REDIS": redis.url,
        "STEWARD_KAFKA": "none",
        "STEWARD_HTTP": f"127.0.0.1:{port}",
        "STEWARD_HTTP_DEADLINE": "2s",
        "STEWARD_HTTP_DEGRADED": "false",  # tests/integration/test_degraded.py has it on
        **settings,
    }
    return StewardProcess("serve", ["serve"], environment, lambda: answers(f"http://127.0.0.1:{port}/readyz")), port


def payments(count: int) -> list[bytes]:
    found = (line.rstrip() for line in generate(40 * count) if b'"type":"payment.requested"' in line)
    return [next(found) for _ in range(count)]


def test_decisions_survive_a_kill_and_a_store_that_was_away(redis):
    events = payments(12)
    process, port = serve(redis)
    with process.start(START_SECONDS):
        first = [call(port, "/v1/decisions", event) for event in events[:6]]
        assert [status for status, _ in first] == [200] * 6
        assert call(port, "/v1/decisions", b'{"event_id":')[0] == 422
        process.kill()
    process, port = serve(redis)
    with process.start(START_SECONDS):
        assert [call(port, "/v1/decisions", event) for event in events[:6]] == first
        redis.kill()
        assert call(port, "/readyz")[0] == 503
        status, body = call(port, "/v1/decisions", events[6])
        assert status in (503, 504), body
        assert orjson.loads(body)["status"] == status
        redis.start()
        assert until_200(port, events[6])["event_id"] == orjson.loads(events[6])["event_id"]
        assert [call(port, "/v1/decisions", event) for event in events[:6]] == first
        process.signal(signal.SIGTERM)
        wait_for_end(process)
        assert "the API has stopped" in process.log.read_text()
    with redis_client.Redis(unix_socket_path=redis.url.removeprefix("unix://")) as outputs:
        # Sent at least once: what was sent and not yet acknowledged when it was killed comes again, under the same id.
        assert len(ids(outputs, "decision")) == 7
        assert len(ids(outputs, "dead_letter")) == 1


def ids(outputs: redis_client.Redis, kind: str) -> set[str]:
    return {orjson.loads(fields[b"event"])["id"] for _, fields in outputs.xrange(f"steward:out:{kind}")}


def test_a_second_owner_ends_the_first_and_a_taken_port_is_said(redis):
    events = payments(3)
    one, port = serve(redis)
    with one.start(START_SECONDS):
        assert call(port, "/v1/decisions", events[0])[0] == 200
        two, other_port = serve(redis)
        with two.start(START_SECONDS):
            assert call(other_port, "/v1/decisions", events[1])[0] == 200
            assert call(port, "/v1/decisions", events[2])[0] == 503
            wait_for_end(one)
            assert "another process writes to this store" in one.log.read_text()
            third, _ = serve(redis, STEWARD_HTTP=f"127.0.0.1:{other_port}")
            with third, pytest.raises(ServerFailed, match="is taken"):
                # What answers on the port is the other one, so this probe is never satisfied.
                third._ready = lambda: False
                third.start(START_SECONDS)


def until_200(port: int, event: bytes) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, body = call(port, "/v1/decisions", event)
        if status == 200:
            found: dict[str, object] = orjson.loads(body)
            return found
        time.sleep(0.1)
    raise AssertionError("no decision after the store came back")


def wait_for_end(process: StewardProcess) -> None:
    deadline = time.monotonic() + 20
    while process.alive():
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.05)
