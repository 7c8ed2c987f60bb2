"""`POST /v1/decisions`: every answer it can give, and what is stored and sent for it."""

import asyncio

import orjson
import pytest

from engine.service import journal
from tests.support.http import FlakyStore, api, login, payment, until

PROBLEM = "application/problem+json"


async def test_a_payment_gets_its_decision_after_the_commit():
    async with api() as it:
        status, body, kind = await it.post(payment(1))
        assert (status, kind) == (200, "application/json")
        assert orjson.loads(body) == {"event_id": "e1", "decision": "approve", "number": 1}
        assert len(it.store.commits) == 1


async def test_a_repeat_gets_the_first_answer_byte_for_byte():
    async with api() as it:
        _, first, _ = await it.post(payment(1))
        await it.post(payment(2))
        status, again, _ = await it.post({**payment(1), "amount": "77.00"})
        assert (status, again) == (200, first)


async def test_repeats_within_one_batch_get_the_first_answer():
    async with api() as it:
        it.store.gate.clear()
        calls = [asyncio.create_task(it.post(payment(0)))]
        await until(lambda: it.store.held)
        calls += [asyncio.create_task(it.post(payment(1))) for _ in range(6)]
        await until(lambda: it.owner.queued >= 6)
        it.store.gate.set()
        answers = await asyncio.gather(*calls)
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, body, _ in answers[1:]}) == 1
        assert [commit.next_offset for commit in it.store.commits] == [1, 7]


async def test_a_repeat_after_a_restart_gets_the_first_answer():
    store = FlakyStore()
    async with api(store=store) as it:
        _, first, _ = await it.post(payment(1))
    async with api(store=store) as it:
        status, again, _ = await it.post(payment(1))
        assert (status, again) == (200, first)
        assert it.owner.shard.next_offset == 2


async def test_an_event_without_a_decision_is_acknowledged_and_so_is_its_repeat():
    async with api() as it:
        status, body, kind = await it.post(login(1))
        assert (status, kind) == (202, "application/json")
        assert orjson.loads(body) == {"event_id": "l1", "status": "accepted"}
        assert await it.post(login(1)) == (202, body, kind)


async def test_a_refused_event_is_answered_with_its_reason_and_dead_lettered():
    async with api() as it:
        status, body, kind = await it.post(b'{"event_id": 7')
        problem = orjson.loads(body)
        assert (status, kind, problem["status"]) == (422, PROBLEM, 422)
        assert problem["reason"] == "not_json"
        assert problem["detail"] == "the record is not JSON"
        await it.post(payment(1))
        await it.owner.drain(5.0)
        assert [output.kind for _, _, output in it.sink.sent] == ["dead_letter", "decision"]


async def test_what_was_taken_is_journalled_with_its_effects_and_refused_bytes_are_not():
    async with api() as it:
        await it.post(payment(1))
        await it.post(b"4111111111111111")
        kept = [record for _, entry in it.store.journal(0) for record in journal.decode(entry)]
        assert [record.kind for record in kept] == [journal.ACCEPTED, journal.REFUSED]
        assert orjson.loads(kept[0].value) == payment(1)
        assert b"4111111111111111" not in kept[1].value


async def test_a_body_over_the_limit_is_refused_unread():
    async with api() as it:
        status, body, kind = await it.post(b"x" * 65_537)
        assert (status, kind) == (413, PROBLEM)
        assert orjson.loads(body)["bytes_max"] == 65_536
        assert it.store.commits == []


async def test_a_body_over_the_limit_without_a_length_is_refused():
    async def parts():
        for _ in range(9):
            yield b"x" * 8_192

    async with (
        api() as it,
        it.client.post("/v1/decisions", data=parts(), headers={"Content-Type": "application/json"}) as response,
    ):
        assert response.status == 413


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
async def test_what_the_body_calls_itself_does_not_matter(kind):
    async with api() as it:
        status, _, content_type = await it.post(b"{}", **{"Content-Type": kind})
        assert (status, content_type) == (422, PROBLEM)


async def test_a_full_queue_answers_busy_and_takes_nothing():
    async with api(queued_max=3) as it:
        it.store.gate.clear()
        first = asyncio.create_task(it.post(payment(0)))
        await until(lambda: it.store.held)
        waiting = [asyncio.create_task(it.post(payment(n))) for n in (1, 2, 3)]
        await until(lambda: it.owner.queued >= 3)
        async with it.client.post("/v1/decisions", json=payment(4)) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert response.content_type == PROBLEM
        it.store.gate.set()
        assert [status for status, _, _ in await asyncio.gather(first, *waiting)] == [200] * 4
        assert it.owner.shard.next_offset == 4


async def test_no_decision_in_time_is_said_and_a_repeat_gets_it():
    async with api(seconds=0.1) as it:
        it.store.gate.clear()
        status, body, kind = await it.post(payment(1))
        assert (status, kind) == (504, PROBLEM)
        assert "again" in orjson.loads(body)["detail"]
        it.store.gate.set()
        status, body, _ = await it.post(payment(1))
        assert (status, orjson.loads(body)["number"]) == (200, 1)


async def test_a_store_that_goes_and_comes_back_costs_answers_but_no_events():
    async with api(seconds=0.2) as it:
        await it.post(payment(1))
        it.store.down = True
        status, _, _ = await it.post(payment(2))
        assert status == 504
        async with it.client.get("/readyz") as response:
            assert response.status == 503
            assert "store" in (await response.json(content_type=None))["reasons"][0]
        it.store.down = False
        status, body, _ = await it.post(payment(2))
        assert (status, orjson.loads(body)["number"]) == (200, 2)
        async with it.client.get("/readyz") as response:
            assert response.status == 200


async def test_another_owner_ends_this_one():
    store = FlakyStore()
    async with api(store=store) as one, api(store=store) as two:
        await one.post(payment(1))
        await two.owner.shard.open()
        assert (await two.post(payment(2)))[0] == 200
        status, _, kind = await one.post(payment(3))
        assert (status, kind) == (503, PROBLEM)
        assert "another process" in str(one.fatal[0])
        async with one.client.get("/readyz") as response:
            assert response.status == 503


async def test_a_store_that_lost_its_last_commits_is_followed():
    store = FlakyStore()
    async with api(store=store) as it:
        await it.post(payment(1))
        store._shards.clear()
        status, body, _ = await it.post(payment(1))
        assert (status, orjson.loads(body)["number"]) == (200, 1)
        assert it.fatal == []


async def test_draining_finishes_what_waits_and_takes_nothing_more():
    async with api() as it:
        it.store.gate.clear()
        calls = [asyncio.create_task(it.post(payment(n))) for n in range(20)]
        await until(lambda: it.owner.queued >= 10)
        draining = asyncio.create_task(it.owner.drain(5.0))
        await asyncio.sleep(0)
        late, _, _ = await it.post(payment(99))
        it.store.gate.set()
        assert await draining
        assert late == 503
        assert {status for status, _, _ in await asyncio.gather(*calls)} == {200}
        assert len(it.sink.ids()) == 20
