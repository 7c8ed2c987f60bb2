"""What campaigns gave and did: added up over shards, priced, told on the command line and over HTTP."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.memory_store import MemoryStore
from engine.cli import main
from engine.core.campaign_state import HEAD_BUDGETS, HEAD_EFFECTS
from engine.core.settings import CoreSettings
from engine.core.small_state import HEAD_RATES
from engine.domain.ops import SET, Op, pack
from engine.domain.outputs import Reward
from engine.domain.rates import Rates
from engine.engagement.ledger.verify import verify
from engine.engagement.marketing.budgets import Budget, Budgets, Exchange
from engine.engagement.marketing.effects import Closed, Effects, Tally
from engine.generator.stream import generate
from engine.ports.store import Commit
from engine.ruleset import compile
from engine.service.campaigns.results import StoredResults
from engine.service.campaigns.view import render
from engine.service.customers.erasing import pseudonym
from engine.service.deadline import Deadline
from engine.service.rule_sets import RuleLibrary
from tests.adapters import test_http_desk as desk

RULES = {
    "a.yaml": """
campaigns:
  - id: thanks
    description: points for a first payment
    owner: marketing
    on: payment.settled
    when: customer.payments == 1
    then: {reward: points, amount: 200}
    caps: [{by: customer, times: 1}]
    budget: {points: 1000}
    holdout: 10%
"""
}
CORE = CoreSettings(rates=Rates("EUR", {"USD": "2"}))


def results(heads: Sequence[Mapping[bytes, bytes]], point_value: float = 0.01) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        store = MemoryStore()
        for shard, head in enumerate(heads):
            ops = b"".join(pack(Op(SET, key, value)) for key, value in head.items())
            await store.commit(Commit(shard, -1, 1, ops))
        found = StoredResults(store, RuleLibrary(None, compile(RULES)), CORE, lambda: len(heads))
        return await found.results(point_value)

    return asyncio.run(run())


def head(effects: Effects, budgets: Budgets | None = None) -> dict[bytes, bytes]:
    found = {HEAD_EFFECTS: msgspec.msgpack.encode(effects.dump())}
    return found if budgets is None else {**found, HEAD_BUDGETS: msgspec.msgpack.encode(budgets.dump())}


def tallied(**tallies: Tally) -> Effects:
    return Effects(2, {}, {f"{name}:1": tally for name, tally in tallies.items()})


def test_shards_are_added_up() -> None:
    parts = []
    for shard in range(3):
        effects = tallied(thanks=Tally("points", "", 0.0, grants=2, granted=400, taken=100, held=shard, reach=2))
        moved = (Exchange(gave={1: 90}), Exchange(got={0: 40}), None)[shard]  # 50 points are on their way
        lease = (310, 440, 400)[shard]
        parts.append(head(effects, Budgets({"thanks:1": Budget(lease, reserved=100, spent=50, exchange=moved)})))
    told = results(parts)
    (one,) = told["campaigns"]
    assert one["in_force"]
    assert one["owner"] == "marketing"
    assert (one["grants"], one["granted"], one["taken_back"]) == (6, "1200", "300")
    assert (one["held_out"], one["customers"]) == (3, 6)
    assert one["cost"] == pytest.approx(9.0)
    assert one["budget"] == {"currency": None, "amount": "1200", "reserved": "300", "spent": "150", "left": "750"}
    assert one["effect"] is None
    assert "thanks:1" in render(told)


def test_what_it_has_cost() -> None:
    effects = tallied(
        back=Tally("cashback", "USD", granted=1_000, taken=200, grants=1),
        yen=Tally("cashback", "JPY", granted=1_000, grants=1),
        voucher=Tally("coupon", "EUR", 5.0, granted=3, taken=1, grants=3),
        survey=Tally("offer", "EUR", offers=9, used=250),
        gold=Tally("tier", granted=4, grants=4),
    )
    told = {one["campaign_id"]: one for one in results([head(effects)])["campaigns"]}
    assert told["back"]["cost"] == pytest.approx(4.0), "8.00 USD at two for one"
    assert (told["back"]["granted"], told["back"]["taken_back"]) == ("10.00", "2.00")
    assert told["yen"]["cost"] is None, "no rate"
    assert told["yen"]["granted"] == "1000"
    assert told["voucher"]["cost"] == pytest.approx(10.0)
    assert told["survey"]["cost"] == pytest.approx(2.5)
    assert told["gold"]["cost"] == 0.0
    assert not told["gold"]["in_force"]
    assert told["gold"]["description"] is None
    render(results([head(effects)]))
    rates = json.dumps(Rates("EUR", {"USD": "4", "JPY": "100"}, 5).to_dict()).encode()
    told = {one["campaign_id"]: one for one in results([{**head(effects), HEAD_RATES: rates}])["campaigns"]}
    assert told["back"]["cost"] == pytest.approx(2.0), "the rates of events hold"
    assert told["yen"]["cost"] == pytest.approx(10.0)


def test_a_planted_effect_is_found() -> None:
    draw = random.Random(5)
    parts = [Effects() for _ in range(4)]
    for customer in range(40_000):
        before = draw.lognormvariate(4.0, 0.5)
        held = draw.random() < 0.2
        spent = before * draw.lognormvariate(0.0, 0.2) * (1.0 if held else 1.05)
        parts[customer % 4].observe([Closed("thanks:1", held, round(100 * spent), round(100 * before), 0)])
    for part in parts:
        given = {"granted": 100_000, "grants": 500, "taken": 10_000, "waiting": 50, "promised": 30_000}
        part.tallies["thanks:1"] = Tally("points", "", measured=60_000, **given)  # type: ignore[arg-type]
    (one,) = results([head(part) for part in parts], point_value=0.05)["campaigns"]
    assert sum(one["outcomes"].values()) == 40_000
    found = one["effect"]
    assert found["relative"]["low"] < 0.05 < found["relative"]["high"]
    assert found["difference"]["low"] > 0
    assert one["cost"] == pytest.approx(18_000), "of all that was given"
    assert (found["cost"], one["pending"]) == (pytest.approx(12_000), {"customers": 200, "cost": pytest.approx(6_000)})
    assert found["incremental"] == pytest.approx(found["difference"]["estimate"] * one["outcomes"]["treated"])
    assert found["roi"] == pytest.approx(found["incremental"] / 12_000 - 1)
    assert "%" in render(results([head(part) for part in parts]))


def test_nothing_has_happened_yet() -> None:
    (one,) = results([{}])["campaigns"]
    assert (one["grants"], one["budget"], one["effect"]) == (0, None, None)


@pytest.fixture(scope="module")
def redis() -> Any:
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


def test_the_report_of_a_state_and_its_proof(
    redis: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped campaigns over a generated history: the report says what the entries say; the ledger is proven."""
    (tmp_path / "events.ndjson").write_bytes(b"".join(generate(15_000)))
    out = tmp_path / "out"
    where = ["--redis", redis.url]
    assert main(["replay", str(tmp_path / "events.ndjson"), "--out", str(out), "--quiet", *where]) == 0
    entries = [json.loads(line) for line in (out / "rewards.ndjson").read_text().splitlines()]
    capsys.readouterr()
    assert main(["ledger", "verify", str(out), "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["compared_with_state"]
    assert main(["campaigns", "report", "--json", *where]) == 0
    told = {one["campaign_id"]: one for one in json.loads(capsys.readouterr().out)["campaigns"] if one["in_force"]}
    grants = dict.fromkeys(told, 0)
    for entry in entries:
        grants[entry["campaign_id"]] += entry["bucket"] == "pending" and float(entry["delta"]) > 0
    assert sum(grants.values()) > 50
    assert {name: one["grants"] for name, one in told.items()} == grants
    assert main(["campaigns", "report", *where]) == 0
    assert "base_earn:" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--redis", "redis://127.0.0.1:1/0"], ["--point-value", "-1"]])
def test_unusable(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaigns", "report", *more]) == 2
    assert capsys.readouterr().err.startswith("steward campaigns")


def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(desk.RULES, "b.yaml", RULES["a.yaml"])

    async def body(made: desk.Bench) -> None:
        paid = {
            "event_id": "e1", "type": "payment.settled", "event_time": desk.NOW_MS, "customer_id": "c1",
            "payment_id": "p1", "amount": "9.00", "currency": "EUR",
        }  # fmt: skip
        assert (await made.call("POST", "/v1/decisions", paid))[0] == 202
        status, told = await made.call("GET", "/v1/campaigns?point_value=0.5")
        assert status == 200
        assert (told["ruleset"], told["point_value"]) == (made.library.first.hash, 0.5)
        (one,) = told["campaigns"]
        assert one["grants"] + one["held_out"] == 1
        assert one["cost"] == 100.0 * one["grants"]
        described = (await made.call("GET", "/openapi.json"))[1]["components"]["schemas"]
        assert set(described["Campaigns"]["properties"]) == set(told)
        assert set(described["Campaign"]["properties"]) == set(one)
        for wrong in ("-1", "x", "nan", "1e9"):
            assert (await made.call("GET", f"/v1/campaigns?point_value={wrong}"))[0] == 422

    desk.on_bench(body)


def test_an_erased_customer_leaves_a_ledger_that_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(desk.RULES, "b.yaml", RULES["a.yaml"].replace("    holdout: 10%\n", ""))

    async def body(made: desk.Bench) -> None:
        common = {"customer_id": "anna", "event_time": desk.NOW_MS}
        account = {**common, "event_id": "e1", "type": "account.registered", "timezone": "Europe/Berlin"}
        paid = {
            **common,
            "event_id": "e2",
            "type": "payment.settled",
            "payment_id": "p1",
            "amount": "9",
            "currency": "EUR",
        }
        for event in (account, paid):
            assert (await made.call("POST", "/v1/decisions", event))[0] == 202
        told = (await made.call("GET", "/v1/customers/anna/export"))[1]
        assert told["profile"]["timezone"] == "Europe/Berlin"
        assert told["balances"][0]["pending"] == "200"
        assert (told["erased"], told["stays"], told["features"]["features"]["age(by=customer)"]) == (False, [], 0.0)
        status, erasing = await made.call("DELETE", "/v1/customers/anna")
        assert status == 202
        assert erasing["pseudonym"] == pseudonym("anna") != pseudonym("Anna")
        after = (await made.call("GET", "/v1/customers/anna/export"))[1]
        assert (after["erased"], after["stays"]) == (True, erasing["stays"])
        assert {one["what"]: one["until"] for one in after["stays"]}["hashes of event and payment ids"].startswith("7 ")
        assert after["profile"]["timezone"] is None
        assert after["balances"] == after["payments"]["payments"] == after["payments"]["months"] == []
        assert after["figures"]["payments"] == 0.0
        await made.owner.shard.relay.flush(Deadline(SystemClock(), 5.0))
        entries = [msgspec.json.decode(one.data, type=Reward) for _, _, one in made.sink.sent if one.kind == "reward"]
        proof = verify(entries, {})
        assert [fault.what for fault in proof.faults] == []
        assert proof.entries == 2, "granted, and taken back"
        again = {**common, "event_id": "e3", "type": "account.updated", "event_time": desk.NOW_MS + 60_000}
        assert (await made.call("POST", "/v1/decisions", again))[0] == 202
        assert (await made.call("GET", "/v1/customers/anna/export"))[1]["erased"] is False

    desk.on_bench(body)
