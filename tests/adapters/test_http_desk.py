"""The routes of analysts, over a real shard without a log: rules, lists, snoozes, backtests."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from engine.adapters.backtest_process import BacktestProcess
from engine.adapters.clocks import SystemClock
from engine.adapters.http_api import application
from engine.adapters.memory_rules import MemoryRules
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.adapters.memory_workers import MemoryWorkers
from engine.config import ApiKey, load
from engine.core.partition import Partition
from engine.partitions import core_settings
from engine.ports.desk import BacktestOrder, Unusable
from engine.ports.workers import Worker
from engine.ruleset import compile
from engine.service.batching import BatchLimits
from engine.service.campaigns.results import StoredResults
from engine.service.customers.desk import StoredCustomers
from engine.service.desk import ShardDesk
from engine.service.rule_sets import RuleLibrary
from engine.telemetry.metrics import Metrics
from tests.support.owners import sole_owner

NOW_MS = 1_800_000_000_000
RULES = {
    "a.yaml": """
lists:
  blocked: {values: [evil, worse]}
  codes: {values: [5411, 6051]}
  nets: {values: [203.0.113.0/24]}
  later: {values: []}
rules:
  - id: big
    description: a big payment
    owner: risk
    when: amount > 100
    then: {decision: review, score: 10, reason: BIG}
    tests: [{given: {amount: 500}, expect: hit}]
  - id: blocked_merchant
    when: merchant_id in lists.blocked
    then: {decision: decline, reason: BLOCKED}
    mode: live
    valid_from: 2020-01-01T00:00:00Z
  - {id: later_merchant, when: merchant_id in lists.later, then: {decision: step_up, reason: LATER}, mode: shadow}
"""
}


class Bench:
    """An API over one shard, its partition a real one."""

    def __init__(self, keys: tuple[ApiKey, ...], histories: Path | None) -> None:
        core, metrics = core_settings(load({})), Metrics()
        self.store, self.sink, self.registry = MemoryStore(), MemorySink(), MemoryWorkers()
        self.library = RuleLibrary(MemoryRules(), compile(RULES))
        self.fatal: list[BaseException] = []
        machine = Partition(self.library.first, core, rulesets=self.library.get)
        self.owner = sole_owner(
            machine, self.store, self.sink, self.fatal, clock=SystemClock(), limits=BatchLimits(),
            on_batch=metrics.batch, shard={"rule_sets": self.library},
        )  # fmt: skip
        desk = ShardDesk(
            self.store,
            self.library,
            self.registry,
            self.owner,
            BacktestProcess({}, histories, seconds=120.0, events_max=500),
            shards=lambda: 1,
            now_ms=lambda: NOW_MS,
        )
        customers = StoredCustomers(self.store, self.library, core, "EUR", lambda: 1, self.tell, lambda: NOW_MS)
        campaigns = StoredResults(self.store, self.library, core, lambda: 1)
        self.app = application(self.owner, metrics, keys=keys, desk=desk, customers=customers, campaigns=campaigns)
        self.client: TestClient[Any, Any]

    async def tell(self, customer_id: str, record: bytes) -> None:
        await self.owner.announce(0, record)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        given = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with self.client.request(method, path, headers=headers, **given) as response:
            if response.status >= 400:
                assert response.content_type == "application/problem+json"
            return response.status, orjson.loads(await response.read())

    async def pay(self, number: int, merchant: str, *, amount: int = 5, at_ms: int = NOW_MS) -> dict[str, Any]:
        event = {
            "event_id": f"e{number}",
            "type": "payment.requested",
            "event_time": at_ms,
            "customer_id": "c1",
            "payment_id": f"p{number}",
            "amount": amount,
            "currency": "EUR",
            "merchant_id": merchant,
        }
        status, decision = await self.call("POST", "/v1/decisions", event)
        assert status == 200, decision
        return decision


@asynccontextmanager
async def bench(keys: tuple[ApiKey, ...] = (), histories: Path | None = None) -> AsyncIterator[Bench]:
    made = Bench(keys, histories)
    async with TestClient(TestServer(made.app)) as client:
        made.client = client
        made.owner.start()
        yield made
        await made.owner.drain(5.0)
        assert made.fatal == []


def on_bench(body: Callable[[Bench], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run() -> None:
        async with bench(**options) as made:
            await body(made)

    asyncio.run(run())


def test_the_rules_in_force():
    async def body(made: Bench) -> None:
        assert (await made.call("GET", "/v1/rules"))[1]["shards"] == {"0": None}  # nothing was ever committed
        await made.registry.sign_in(
            Worker(worker="host:1", version="9", started_ms=0, shards={0: "ab" * 8}, errors=("a.yaml:1:1: no",))
        )
        await made.pay(1, "shop")
        status, found = await made.call("GET", "/v1/rules")
        ruleset = made.library.first.hash
        assert status == 200
        assert found["ruleset"] == ruleset
        assert found["shards"] == {"0": ruleset}
        (worker,) = found["workers"]
        assert worker["errors"] == ["a.yaml:1:1: no"]
        assert worker["started_at"] == "1970-01-01T00:00:00.000Z"
        (shown,) = found["rule_sets"]
        assert shown["lists"] == {"blocked": 2, "codes": 2, "later": 0, "nets": 1}
        rules = {rule["id"]: rule for rule in shown["rules"]}
        assert list(rules) == ["big", "blocked_merchant", "later_merchant"]
        assert rules["big"] == {
            "id": "big", "description": "a big payment", "owner": "risk", "tags": [], "mode": "live", "share": 1.0,
            "reason": "BIG", "file": "a.yaml", "line": 8, "valid_from": None, "valid_to": None, "tests": 1,
            "decision": "review", "score": 10.0, "allow": False, "hard": False, "on_degraded": "skip",
        }  # fmt: skip
        assert rules["blocked_merchant"]["valid_from"] == "2020-01-01T00:00:00.000Z"
        assert rules["later_merchant"]["mode"] == "shadow"

    on_bench(body)


def test_a_list_changes_decisions_until_its_entry_expires():
    async def body(made: Bench) -> None:
        assert (await made.pay(1, "shop"))["rules"] == []
        status, told = await made.call("POST", "/v1/lists/blocked", {"add": ["shop"], "ttl": "7d"})
        assert (status, len(told["event_ids"])) == (202, 1)
        assert (await made.pay(2, "shop"))["rules"] == ["blocked_merchant"]
        assert (await made.pay(3, "shop", at_ms=NOW_MS + 7 * 86_400_000))["rules"] == []
        status, shown = await made.call("GET", "/v1/lists/blocked")
        assert (status, shown["kind"], shown["declared"], shown["changed"]) == (200, "text", True, True)
        assert shown["entries"] == [
            {"value": "evil", "expires_at": None},
            {"value": "shop", "expires_at": "2027-01-22T08:00:00.000Z"},
            {"value": "worse", "expires_at": None},
        ]
        assert (await made.call("POST", "/v1/lists/blocked", {"remove": ["evil", "shop"]}))[0] == 202
        assert (await made.pay(4, "evil"))["rules"] == (await made.pay(5, "shop"))["rules"] == []
        assert (await made.call("POST", "/v1/lists/blocked", {"values": ["only"], "add": ["and"]}))[0] == 202
        shown = (await made.call("GET", "/v1/lists/blocked"))[1]
        assert [entry["value"] for entry in shown["entries"]] == ["and", "only"]
        assert (await made.pay(6, "worse"))["rules"] == []
        assert (await made.pay(7, "only"))["rules"] == ["blocked_merchant"]

    on_bench(body)


def test_all_lists_and_a_page_at_a_time():
    async def body(made: Bench) -> None:
        assert (await made.call("POST", "/v1/lists/of_no_rule", {"add": ["x"]}))[0] == 202
        listed = {shown["name"]: shown for shown in (await made.call("GET", "/v1/lists"))[1]["lists"]}
        assert {name: (shown["kind"], shown["values"]) for name, shown in listed.items()} == {
            "blocked": ("text", 2), "codes": ("number", 2), "later": ("text", 0), "nets": ("network", 1),
            "of_no_rule": ("text", 1),
        }  # fmt: skip
        assert listed["of_no_rule"]["declared"] is False
        values = [f"v{n:05}" for n in range(9_000)]  # more than one record holds
        status, told = await made.call("POST", "/v1/lists/later", {"values": values, "add": ["last"]})
        assert status == 202
        assert len(told["event_ids"]) > 1
        seen, after = [], ""
        while after is not None:
            page = (await made.call("GET", f"/v1/lists/later?limit=4000&after={after}"))[1]
            seen += [entry["value"] for entry in page["entries"]]
            after = page["next"]
        assert seen == ["last", *values]

    on_bench(body)


def test_a_snooze_and_its_end():
    async def body(made: Bench) -> None:
        assert (await made.pay(1, "shop", amount=500))["rules"] == ["big"]
        snooze = {"entity": "merchant", "value": "shop", "for": "1h"}
        assert (await made.call("POST", "/v1/rules/big/snooze", snooze))[0] == 202
        decision = await made.pay(2, "shop", amount=500)
        assert (decision["rules"], decision["shadow"]) == ([], ["big"])
        assert (await made.pay(3, "other", amount=500))["rules"] == ["big"]
        snoozed = (await made.call("GET", "/v1/rules"))[1]["snoozes"]
        assert snoozed == [{"rule": "big", "entity": "merchant", "value": "shop", "until": "2027-01-15T09:00:00.000Z"}]
        assert (await made.call("DELETE", "/v1/rules/big/snooze?entity=merchant&value=shop"))[0] == 202
        assert (await made.pay(4, "shop", amount=500))["rules"] == ["big"]
        assert (await made.call("GET", "/v1/rules"))[1]["snoozes"] == []

    on_bench(body)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/lists/blocked", b"{", 400),
        ("POST", "/v1/lists/blocked", b"\xff", 400),
        ("POST", "/v1/lists/blocked", {}, 422),
        ("POST", "/v1/lists/blocked", {"add": "x"}, 422),
        ("POST", "/v1/lists/blocked", {"add": [""]}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"] * 10_001}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x" * 1_001]}, 422),
        ("POST", "/v1/lists/blocked", {"added": ["x"]}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "ttl": "soon"}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "ttl": "0s"}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "ttl": "999999999999w"}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "expires_at": "2027-13-01T00:00:00Z"}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "expires_at": "2020-01-01T00:00:00Z"}, 422),
        ("POST", "/v1/lists/blocked", {"add": ["x"], "ttl": "1d", "expires_at": "2029-01-01T00:00:00Z"}, 422),
        ("POST", "/v1/lists/codes", {"add": ["12", "twelve"]}, 422),
        ("POST", "/v1/lists/no-name", {"add": ["x"]}, 404),
        ("GET", "/v1/lists/unheard_of", None, 404),
        ("GET", "/v1/lists/blocked?limit=0", None, 422),
        ("GET", "/v1/lists/blocked?limit=99999999999999999999", None, 422),
        ("PUT", "/v1/lists/blocked", {"add": ["x"]}, 405),
        ("POST", "/v1/rules/no_rule/snooze", {"entity": "card", "value": "x", "for": "1h"}, 404),
        ("POST", "/v1/rules/big/snooze", {"entity": "planet", "value": "x", "for": "1h"}, 422),
        ("POST", "/v1/rules/big/snooze", {"entity": "card", "value": "x"}, 422),
        ("POST", "/v1/rules/big/snooze", {"entity": "card", "value": "", "for": "1h"}, 422),
        ("POST", "/v1/rules/big/snooze", {"entity": "card", "value": "x", "until": "2020-01-01T00:00:00Z"}, 422),
        ("DELETE", "/v1/rules/big/snooze?entity=card", None, 422),
        ("DELETE", "/v1/rules/big/snooze?value=x", None, 422),
    ],
)
def test_what_cannot_be_done_changes_nothing(method, path, body, status):
    async def run(made: Bench) -> None:
        found, problem = await made.call(method, path, body)
        assert found == status, problem
        assert problem["detail"]
        assert made.owner.shard.next_offset == -1  # nothing reached the shard

    on_bench(run)


@pytest.mark.parametrize("kind", ["control.rules", "control.list", "control.rates", r"\u0063ontrol.snooze"])
def test_a_gateway_cannot_send_control_events(kind):
    event = f'{{"event_id": "x", "event_time": 5, "type": "{kind}", "name": "blocked", "values": []}}'.encode()

    async def run(made: Bench) -> None:
        status, problem = await made.call("POST", "/v1/decisions", event)
        assert (status, problem["reason"]) == (422, "unknown_type")
        assert (await made.pay(1, "evil"))["rules"] == ["blocked_merchant"]
        assert made.owner.shard.next_offset == 1

    on_bench(run)


def test_only_analysts_and_admins_are_let_in():
    keys = (ApiKey("gateway", "g" * 8), ApiKey("analyst", "a" * 8), ApiKey("admin", "r" * 8))
    body = {"add": ["x"]}

    async def run(made: Bench) -> None:
        for method, path, sent in [
            ("GET", "/v1/rules", None), ("GET", "/v1/lists", None), ("GET", "/v1/lists/blocked", None),
            ("POST", "/v1/lists/blocked", body), ("POST", "/v1/rules/backtest", {}),
            ("POST", "/v1/rules/big/snooze", {}), ("DELETE", "/v1/rules/big/snooze", None),
            ("POST", "/v1/alerts/a/resolve", {}),
        ]:  # fmt: skip
            assert (await made.call(method, path, sent))[0] == 401
            assert (await made.call(method, path, sent, **{"X-API-Key": "g" * 8}))[0] == 403
            for key in ("a" * 8, "r" * 8):
                assert (await made.call(method, path, sent, **{"X-API-Key": key}))[0] in (200, 202, 422)
        status, _ = await made.call("POST", "/v1/decisions", {}, **{"X-API-Key": "a" * 8})
        assert status == 403

    on_bench(run, keys=keys)


def test_a_decision_with_its_explanation():
    event = {"event_id": "e1", "type": "payment.requested", "event_time": NOW_MS, "customer_id": "c1"}
    event |= {"payment_id": "p1", "amount": 500, "currency": "EUR", "merchant_id": "shop"}

    async def run(made: Bench) -> None:
        status, decision = await made.call("POST", "/v1/decisions?explain=true", event)
        assert status == 200
        explanation = decision.pop("explanation")
        assert "big" in orjson.dumps(explanation).decode()
        assert orjson.loads(made.sink.sent[0][2].data) == decision  # nobody else is told it
        metrics = await (await made.client.get("/metrics")).text()
        assert 'steward_rule_hits_total{mode="live",rule="big"} 1.0' in metrics
        status, again = await made.call("POST", "/v1/decisions?explain=true", event)
        assert (status, again) == (200, {**decision, "explanation": None})
        assert (await made.call("POST", "/v1/decisions?explain=false", event))[1] == decision
        assert (await made.call("POST", "/v1/decisions?explain=maybe", event))[0] == 422

    on_bench(run)


def history(count: int) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"e{n}", "type": "payment.requested", "event_time": NOW_MS + 60_000 * n, "customer_id": f"c{n}",
            "payment_id": f"p{n}", "amount": 90 + n, "currency": "EUR", "merchant_id": "shop",
        }
        for n in range(count)
    ]  # fmt: skip


CANDIDATE = {"a.yaml": RULES["a.yaml"].replace("amount > 100", "amount > 95")}


def test_a_backtest_against_the_rules_in_force(tmp_path):
    (tmp_path / "month.ndjson").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in history(20)))

    async def run(made: Bench) -> None:
        order = {"events": history(20), "candidate": CANDIDATE, "sweep": ["big:#1=92..98:3"]}
        first = asyncio.ensure_future(made.call("POST", "/v1/rules/backtest", order))
        await asyncio.sleep(0.05)
        assert (await made.call("POST", "/v1/rules/backtest", order))[0] == 429
        status, report = await first
        assert status == 200, report
        assert report["baseline"]["ruleset"] == made.library.first.hash
        assert report["candidate"]["ruleset"] == compile(CANDIDATE).hash
        named = {**order, "source": "month.ndjson"}
        del named["events"], named["sweep"]
        status, other = await made.call("POST", "/v1/rules/backtest", named)
        assert status == 200, other
        assert other["candidate"]["totals"] == report["candidate"]["totals"]
        assert await made.pay(1, "shop")

    on_bench(run, histories=tmp_path)


def test_a_backtest_that_cannot_be(tmp_path):
    broken = {"sub/b.yaml": "rules: [{id: big, when: amunt > 3, then: {decision: review, reason: B}}]"}
    events = history(3)
    (tmp_path / "long.ndjson").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in history(501)))

    async def run(made: Bench) -> None:
        status, problem = await made.call("POST", "/v1/rules/backtest", {"events": events, "candidate": broken})
        assert status == 422
        (error,) = problem["errors"]
        assert (error["side"], error["file"], error["line"], error["column"]) == ("candidate", "sub/b.yaml", 1, 25)
        assert (error["message"], error["hint"]) == ("unknown name 'amunt'", "did you mean 'amount'?")
        for wrong, told in [
            ({"candidate": CANDIDATE}, "a history is needed"),
            ({"candidate": CANDIDATE, "events": events, "source": "x"}, "a history is needed"),
            ({"candidate": {}, "events": events}, "length"),
            ({"candidate": CANDIDATE, "source": "../secret.ndjson"}, "is no name of a file"),
            ({"candidate": CANDIDATE, "source": "absent.ndjson"}, "there is no history"),
            ({"candidate": CANDIDATE, "source": "long.ndjson"}, "longer than --max-events 500"),
            ({"candidate": CANDIDATE, "events": history(501)}, "at most 500"),
            ({"candidate": {"../../x.yaml": RULES["a.yaml"]}, "events": events}, "is no name of a file"),
            ({"candidate": CANDIDATE, "events": events, "sweep": ["nothing"]}, "--sweep"),
            ({"candidate": CANDIDATE, "events": events, "sweep": ["--json=/tmp/x"]}, "--sweep"),
        ]:
            status, problem = await made.call("POST", "/v1/rules/backtest", wrong)
            assert (status, told in problem["detail"]) == (422, True), problem
            assert str(tmp_path) not in problem["detail"] or "long" in problem["detail"]

    on_bench(run, histories=tmp_path)


def test_a_backtest_that_takes_too_long_is_ended(tmp_path):
    async def run() -> None:
        process = BacktestProcess({}, tmp_path, seconds=0.05, events_max=10)
        with pytest.raises(Unusable, match=r"took longer than 0\.05 s"):
            await process.run(BacktestOrder([b"{}"], "", CANDIDATE, None, ()), RULES)

    asyncio.run(run())


def test_the_description_names_every_route_and_every_reference_in_it_exists():
    async def run(made: Bench) -> None:
        async with made.client.get("/openapi.json") as response:
            assert response.headers["Server"] == "steward"
            document = await response.json()
        routes = {(route.method.lower(), route.resource.canonical) for route in made.app.router.routes()}
        described = {(method, path) for path, methods in document["paths"].items() for method in methods}
        assert described == {route for route in routes if route[0] != "head"}
        names = set(re.findall(r"#/components/schemas/(\w+)", orjson.dumps(document).decode()))
        assert {"Event", "Decision", "PaymentRequested", "Problem", "Rule", "ListBody"} <= names
        assert names <= set(document["components"]["schemas"])
        shown = (await made.call("GET", "/v1/rules"))[1]
        assert set(shown) == set(document["components"]["schemas"]["Rules"]["properties"])
        await made.pay(1, "shop")
        (ruleset,) = (await made.call("GET", "/v1/rules"))[1]["rule_sets"]
        described_rule = document["components"]["schemas"]["Rule"]["properties"]
        assert all(set(rule) == set(described_rule) for rule in ruleset["rules"])
        page = (await made.call("GET", "/v1/lists/blocked"))[1]
        assert set(page) == set(document["components"]["schemas"]["ListPage"]["properties"])

    on_bench(run)


FREEZES = """
campaigns:
  - id: gift
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: 100}
    hold: none
    caps: [{times: 1, per: day}]
    abuse: {accounts_per_device: 1, accounts_per_card: off, new_account: off}
"""


@pytest.mark.parametrize(("resolution", "left"), [("legitimate", 100), ("fraud", 0), ("dismissed", 100)])
def test_an_alert_is_resolved_and_what_it_froze_goes_on(
    resolution: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "b.yaml", FREEZES)

    async def body(made: Bench) -> None:
        for number in (1, 2):
            paid = {
                "event_time": NOW_MS, "amount": 9, "currency": "EUR", "customer_id": f"c{number}",
                "payment_id": f"p{number}", "device_id": "d",
            }  # fmt: skip
            for kind, status in (("payment.requested", 200), ("payment.settled", 202)):
                event = {**paid, "event_id": f"{kind}{number}", "type": kind}
                assert (await made.call("POST", "/v1/decisions", event))[0] == status
        for _ in range(500):
            found = [orjson.loads(output.data) for _, _, output in made.sink.sent if output.kind == "alert"]
            if found:
                break
            await asyncio.sleep(0.01)
        [alert] = found
        assert (alert["kind"], alert["customer_id"]) == ("abuse", "c2")
        path, said = f"/v1/alerts/{alert['alert_id']}/resolve", {"resolution": resolution, "customer_id": "c2"}
        status, told = await made.call("POST", path, said)
        assert status == 202
        assert len(told["event_ids"]) == 1
        await made.pay(9, "m")  # after the announcement
        _, ledger = await made.call("GET", "/v1/customers/c2/ledger")
        held = [(lot["frozen"], int(lot["pending"]) + int(lot["active"])) for lot in ledger["lots"]]
        assert [one for one in held if one[1]] == [(resolution == "dismissed", left)] * (left > 0)
        for part in ({"resolution": "perhaps"}, {"customer_id": "a\n"}, {"customer_id": ""}, {"payment_id": 3}):
            wrong = {**said, **part}
            assert (await made.call("POST", path, wrong))[0] in (400, 422)
        assert (await made.call("POST", "/v1/alerts/%00/resolve", said))[0] == 404

    on_bench(body)
