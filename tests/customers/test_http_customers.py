"""The routes about customers, over a real shard without a log."""

import re
from typing import Any

import orjson
import pytest

from engine.config import ApiKey
from engine.domain.hashing import hash64
from tests.adapters import test_http_desk as desk

NOW_MS = desk.NOW_MS
RULES = """
features:
  - {name: paid_7d, agg: sum, of: amount, by: customer, window: 7d, where: "type == 'payment.settled'"}
  - {name: decisions_1h, agg: count, by: customer, window: 1h}
  - {name: known_for, agg: age, by: customer}
  - {name: shops_7d, agg: distinct, of: merchant_id, by: customer, window: 7d}
  - {name: by_card, agg: count, by: card, window: 1h}
  - {name: new_shop, agg: is_new, of: merchant_id, by: customer, window: 7d}
"""


@pytest.fixture(autouse=True)
def with_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench's rules have features by customer."""
    monkeypatch.setitem(desk.RULES, "b.yaml", RULES)


def event(kind: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"{kind}-{number}", "type": f"payment.{kind}", "event_time": NOW_MS + number * 60_000,
        "customer_id": "c/1 ü", "payment_id": f"p{number}", "amount": "12.50", "currency": "EUR",
        "merchant_id": f"m{number}", **more,
    }  # fmt: skip


WHERE = "/v1/customers/c%2F1%20%C3%BC"


async def history(made: desk.Bench) -> None:
    for number in (1, 2, 3):
        assert (await made.call("POST", "/v1/decisions", event("requested", number)))[0] == 200
        assert (await made.call("POST", "/v1/decisions", event("settled", number, amount=str(number))))[0] == 202


def test_a_customer_is_shown():
    async def body(made: desk.Bench) -> None:
        await history(made)
        status, told = await made.call("GET", WHERE)
        assert status == 200
        assert told["customer_id"] == "c/1 ü"
        assert told["latest_event_at"] == "2027-01-15T08:03:00.000Z"
        assert told["balances"] == [{"kind": "points", "currency": None, "pending": "6", "active": "0", "debt": "0"}]
        assert set(told["states"]) == {"lifecycle", "value_tier", "activity", "membership"}
        status, told = await made.call("GET", f"{WHERE}/features")
        assert (status, told["at"], told["ruleset"]) == (200, "2027-01-15T08:03:00.000Z", made.library.first.hash)
        found = told["features"]
        declared = {"paid_7d": 6.0, "decisions_1h": 3, "known_for": 120.0, "shops_7d": 3}
        assert {name: found.get(name) for name in declared} == declared
        assert not {"by_card", "new_shop"} & set(found), "these are not of the customer alone"
        assert found["count(by=customer, window='7d')"] == 3, "inline aggregates and inputs of models, too"
        later = NOW_MS + 7 * 86_400_000 + 150_000
        status, told = await made.call("GET", f"{WHERE}/features?at={later}")
        assert told["features"]["paid_7d"] == 3.0
        assert told["features"]["decisions_1h"] == 0
        again = (await made.call("GET", f"{WHERE}/features"))[1]
        assert again["features"]["decisions_1h"] == 3, "to ask changes nothing"

    desk.on_bench(body)


def test_ledger_payments_and_export():
    async def body(made: desk.Bench) -> None:
        await history(made)
        ledger = (await made.call("GET", f"{WHERE}/ledger"))[1]
        assert [one["kept"] for one in sorted(ledger["base_earn"], key=lambda one: one["kept"])] == [1, 2, 3]
        payments = (await made.call("GET", f"{WHERE}/payments"))[1]
        assert payments["base_currency"] == "EUR"
        async with made.client.get(f"{WHERE}/export") as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert "attachment" in response.headers["Content-Disposition"]
            export = orjson.loads(await response.read())
        assert export["ledger"] == ledger
        assert export["payments"] == payments
        assert export["features"]["features"]["paid_7d"] == 6.0
        assert len(export["events_remembered_at"]) == 6

    desk.on_bench(body)


def test_who_is_not_known():
    async def body(made: desk.Bench) -> None:
        await history(made)
        for path in ("", "/features", "/ledger", "/payments", "/export"):
            assert (await made.call("GET", f"/v1/customers/nobody{path}"))[0] == 404
        assert (await made.call("DELETE", "/v1/customers/nobody"))[0] == 404
        assert (await made.call("GET", f"/v1/customers/{'x' * 129}"))[0] == 404
        assert (await made.call("GET", "/v1/customers/a%00b"))[0] == 404
        for at in ("-1", "now", "9" * 20, "٣"):
            assert (await made.call("GET", f"{WHERE}/features?at={at}"))[0] == 422

    desk.on_bench(body)


def test_an_erasure_is_an_event_of_the_customer():
    async def body(made: desk.Bench) -> None:
        await history(made)
        before = made.owner.shard.next_offset
        status, told = await made.call("DELETE", WHERE)
        assert status == 202
        assert re.fullmatch("erasure-[0-9a-f]{32}", told["event_id"])
        assert made.owner.shard.next_offset == before + 1
        admission = (await made.store.load(0, [b"a" + hash64("c/1 ü").to_bytes(8, "little")]))[0]
        assert hash64(told["event_id"]).to_bytes(8, "little") in admission, "it was taken as the customer's"

    desk.on_bench(body)


def test_roles():
    keys = tuple(ApiKey(role, role * 3) for role in ("gateway", "analyst", "admin"))

    async def body(made: desk.Bench) -> None:
        async def status(method: str, role: str | None) -> int:
            headers = {"X-API-Key": role * 3} if role else {}
            return (await made.call(method, "/v1/customers/nobody", **headers))[0]

        assert [await status("GET", role) for role in (None, "gateway", "analyst", "admin")] == [401, 403, 404, 404]
        assert [await status("DELETE", role) for role in (None, "gateway", "analyst", "admin")] == [401, 403, 403, 404]

    desk.on_bench(body, keys=keys)


def test_the_description_has_what_is_answered():
    async def body(made: desk.Bench) -> None:
        await history(made)
        async with made.client.get("/openapi.json") as response:
            document = orjson.loads(await response.read())
        for path, name in (("", "Customer"), ("/features", "CustomerFeatures"), ("/ledger", "CustomerLedger"),
                           ("/payments", "CustomerPayments")):  # fmt: skip
            assert set(document["paths"][f"/v1/customers/{{customer}}{path}"]) >= {"get"}
            described = set(document["components"]["schemas"][name]["properties"])
            answered = set((await made.call("GET", WHERE + path))[1])
            assert described <= answered, name

    desk.on_bench(body)
