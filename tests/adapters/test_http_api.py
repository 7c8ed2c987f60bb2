"""The API around the decisions: bulk events, keys, health, metrics, problems."""

import asyncio

import orjson
import pytest
from aiohttp import ClientSession

from engine.adapters.http_api import AddressUnusable, HttpServer, application
from engine.adapters.http_auth import KeyRing
from engine.adapters.http_problem import Problem
from engine.config import ApiKey
from engine.ports.sync import SyncResult
from engine.telemetry.metrics import Metrics
from tests.support.http import api, login, payment

PROBLEM = "application/problem+json"
LINES = {"Content-Type": "application/x-ndjson"}
KEYS = (ApiKey("gateway", "gateway-key"), ApiKey("analyst", "analyst-key"), ApiKey("admin", "admin-key"))


def ndjson(*events):
    return b"\n".join(orjson.dumps(event) for event in events)


@pytest.mark.parametrize("form", ["lines", "array"])
async def test_bulk_events_each_get_a_result_in_order(form):
    events = [payment(1), login(2), payment(1), {"event_id": "broken"}]
    body = ndjson(*events) if form == "lines" else orjson.dumps(events)
    headers = LINES if form == "lines" else {"Content-Type": "application/json"}
    async with api() as it, it.client.post("/v1/events", data=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == 200
    assert answer["events"] == 4
    assert answer["counts"] == {"decision": 1, "accepted": 1, "duplicate": 1, "rejected": 1}
    decision = {"event_id": "e1", "decision": "approve", "number": 1}
    rejection = {"reason": "not_json", "detail": "the record is not JSON"}
    assert answer["results"] == [
        {"event_id": "e1", "status": "decision", "decision": decision},
        {"event_id": "l2", "status": "accepted"},
        {"event_id": "e1", "status": "duplicate", "decision": decision},
        {"event_id": "broken", "status": "rejected", "rejection": rejection},
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[1,", 400), (b"[]", 400), (b"\n" * 5, 400), (b"{}\n" * 1_001, 413), (b"x" * 70_000, 413)],
)
async def test_unusable_bulk_bodies_are_refused_whole(body, status):
    async with api(bulk_bytes_max=65_536) as it:
        async with it.client.post("/v1/events", data=body, headers=LINES) as response:
            assert (response.status, response.content_type) == (status, PROBLEM)
        assert it.store.commits == []


async def test_more_than_the_queue_holds_is_refused_whole():
    async with api(queued_max=3) as it:
        body = ndjson(*(payment(n) for n in range(4)))
        async with it.client.post("/v1/events", data=body, headers=LINES) as response:
            assert response.status == 503
        assert it.owner.queued == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong-key"}, 401),
        ({"Authorization": "Basic gateway-key"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"X-API-Key": "gateway-kez"}, 401),
        ({"X-API-Key": "\xe9\xe9\xe9"}, 401),
        ({"X-API-Key": "analyst-key"}, 403),
        ({"X-API-Key": "gateway-key"}, 200),
        ({"Authorization": "Bearer gateway-key"}, 200),
        ({"Authorization": "bearer admin-key"}, 200),
    ],
)
async def test_keys_and_roles(headers, status):
    async with api(keys=KEYS) as it:
        found, _, kind = await it.post(payment(1), **headers)
        assert found == status
        assert kind == ("application/json" if status == 200 else PROBLEM)
        assert len(it.store.commits) == (status == 200)


async def test_health_and_metrics_need_no_key_and_an_unknown_path_under_v1_does():
    async with api(keys=KEYS) as it:
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/nothing", 401)):
            async with it.client.get(path) as response:
                assert response.status == status, path
        async with it.client.get("/v1/nothing", headers={"X-API-Key": "analyst-key"}) as response:
            assert response.status == 404


async def test_unknown_keys_have_no_role_and_order_does_not_matter():
    ring = KeyRing(KEYS)
    keys = ("admin-key", "gateway-key", "", "admin-ke")
    assert [ring.role_of(key) for key in keys] == ["admin", "gateway", None, None]


async def test_what_is_not_there_or_not_allowed_is_a_problem():
    async with api() as it:
        async with it.client.get("/nothing") as response:
            assert (response.status, response.content_type) == (404, PROBLEM)
        async with it.client.get("/v1/decisions") as response:
            assert (response.status, response.content_type) == (405, PROBLEM)
            assert response.headers["Allow"] == "POST"
            assert (await response.json(content_type=None))["status"] == 405


class Broken:
    degraded_ready = False

    async def decide(self, events, seconds, *, explain=False):
        raise RuntimeError("card 4111111111111111")

    async def not_ready(self):
        return ["not open"]


async def test_a_fault_of_ours_is_a_problem_that_says_nothing(aiohttp_api, caplog):
    client = await aiohttp_api(Broken())
    async with client.post("/v1/decisions", json={}) as response:
        body = await response.read()
        assert (response.status, response.content_type) == (500, PROBLEM)
        assert b"4111" not in body
    assert "failed" in caplog.text


class WithoutState:
    degraded_ready = True

    async def decide(self, events, seconds, *, explain=False):
        return [SyncResult("degraded", b'{"decision":"approve","degraded":["state_unavailable"]}')]

    async def not_ready(self):
        return ["the store cannot be reached"]


async def test_who_answers_without_the_state_is_ready_and_says_so(aiohttp_api):
    client = await aiohttp_api(WithoutState())
    async with client.get("/readyz") as response:
        told = await response.json(content_type=None)
        assert (response.status, told) == (200, {"status": "degraded", "reasons": ["the store cannot be reached"]})
    async with client.post("/v1/decisions?explain=true", json={}) as response:
        answer = await response.json(content_type=None)
        assert (response.status, answer["decision"], answer["explanation"]) == (200, "approve", None)
    async with client.get("/metrics") as response:
        assert 'steward_sync_seconds_count{result="degraded"} 1.0' in await response.text()


async def test_readiness_gives_its_reasons(aiohttp_api):
    client = await aiohttp_api(Broken())
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json(content_type=None))["reasons"] == ["not open"]
    async with client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_a_lost_decision_is_called_a_duplicate(aiohttp_api):
    class Forgetful(Broken):
        async def decide(self, events, seconds, *, explain=False):
            return [SyncResult("duplicate", b"null")]

    client = await aiohttp_api(Forgetful())
    async with client.post("/v1/decisions", json=payment(1)) as response:
        assert (response.status, await response.json()) == (202, {"event_id": "e1", "status": "duplicate"})
    async with client.post("/v1/decisions", json=login(1)) as response:
        assert (response.status, await response.json()) == (202, {"event_id": "l1", "status": "accepted"})


@pytest.fixture
async def aiohttp_api():
    from aiohttp.test_utils import TestClient, TestServer

    clients = []

    async def make(decider):
        client = TestClient(TestServer(application(decider, Metrics())))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


async def test_metrics_count_the_calls():
    async with api() as it:
        await it.post(payment(1))
        await it.post(payment(1))
        await it.post(b"no")
        async with it.client.get("/metrics") as response:
            text = await response.text()
    for result in ("decided", "repeated", "rejected"):
        assert f'steward_sync_seconds_count{{result="{result}"}} 1.0' in text


async def test_a_server_listens_closes_and_says_when_its_port_is_taken():
    server = HttpServer(application(Broken(), Metrics()), "127.0.0.1:0")
    await server.start()
    try:
        async with ClientSession() as session, session.get(server.url + "/healthz") as response:
            assert response.status == 200
        other = HttpServer(application(Broken(), Metrics()), f"127.0.0.1:{server.port}")
        with pytest.raises(AddressUnusable, match="is taken"):
            await other.start()
    finally:
        await server.close_doors()
        await server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


def test_a_problem_without_a_name_is_about_blank():
    assert Problem(404).document() == {"type": "about:blank", "title": "Not Found", "status": 404}
