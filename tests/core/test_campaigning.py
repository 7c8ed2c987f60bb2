"""Campaigns in the partition: the same whatever the batches and restarts, budgets and sums that hold at each commit."""

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.core.campaign_state import HEAD_BUDGETS
from engine.core.customers import WAKES, customer_key, is_customer
from engine.core.engagement import HEAD_ENGAGED
from engine.core.partition import Partition
from engine.core.settings import CampaignSettings, CoreSettings
from engine.core.stretches import STRETCH_MS
from engine.core.timers import unpack
from engine.domain.ops import KEY_CUSTOMER, KEY_TIMER
from engine.domain.outputs import Reward
from engine.engagement.customer.codec import load
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.lots import CASHBACK, POINTS
from engine.engagement.ledger.verify import BUCKETS, Account, verify
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.ruleset import RuleSet
from tests.core.campaign_world import START, campaigns, history, rewards, run
from tests.core.rig import DAY, HOUR
from tests.core.stored import Store, step


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return campaigns()


def event(number: int, kind: str, time_ms: int, customer: str = "c1", **fields: Any) -> bytes:
    body = {"event_id": f"e{number}", "type": kind, "event_time": time_ms, "customer_id": customer, **fields}
    if kind.startswith("payment."):
        body = {"payment_id": f"p{number}", "amount": 100, "currency": "EUR", "merchant_category": "5411", **body}
    return json.dumps(body).encode()


def tick(time_ms: int) -> bytes:
    return json.dumps({"event_id": f"t{time_ms}", "type": "control.tick", "event_time": time_ms}).encode()


def customers_in(store: Store) -> dict[bytes, Customer]:
    return {key: load(value)[0] for key, value in store.items() if key[:1] == KEY_CUSTOMER and is_customer(key)}


def balances(store: Store, names: Sequence[str]) -> dict[Account, dict[str, Decimal]]:
    found: dict[Account, dict[str, Decimal]] = {}
    for name in names:
        customer = load(store.get(customer_key(name), b""))[0]
        customer.ledger.check()
        for kind, (place, currency, scale) in {
            "points": (POINTS, "", "1"),
            "cashback": (CASHBACK, "EUR", "0.01"),
        }.items():
            sums = customer.ledger.balance((place, currency))
            found[name, kind, currency] = {b: Decimal(s) * Decimal(scale) for b, s in zip(BUCKETS, sums, strict=True)}
    return found


@pytest.mark.parametrize("seed", range(4))
def test_batches_restarts_and_what_is_in_memory_make_no_difference(ruleset: RuleSet, seed: int) -> None:
    records = history(seed, 250)
    expected = run(ruleset, records, 10_000)[0]
    assert {output.kind for output in expected} >= {"reward", "offer", "lifecycle", "alert"}
    assert len({output.id for output in expected}) == len(expected)
    for size, restart_every, customers_max in ((3, 4, 1), (17, 2, 5), (64, 3, 1_000_000)):
        found, _, _ = run(ruleset, records, size, restart_every=restart_every, customers_max=customers_max)
        assert found == expected
    assert run(ruleset, records, 29)[0] == expected


def test_over_years_it_makes_no_difference_when_what_is_over_is_forgotten(ruleset: RuleSet) -> None:
    """A payment is forgotten when its customer is next stored whole, half a year after it, which batches decide."""
    records = history(0, 260, customers=4, step_ms=6 * DAY)
    expected = run(ruleset, records, 10_000)[0]
    for size, restart_every in ((40, 1), (5, 1_000)):
        assert run(ruleset, records, size, restart_every=restart_every)[0] == expected


@pytest.mark.parametrize("seed", range(10, 13))
def test_entries_add_up_to_what_is_stored_and_budgets_hold_at_every_commit(ruleset: RuleSet, seed: int) -> None:
    store, entries = Store(), list[Reward]()
    partition = Partition(ruleset, CoreSettings())
    records, names = history(seed, 250), [f"c{number}" for number in range(12)]
    granted: Counter[str] = Counter()
    first = 0
    while first < len(records):
        size = 1 if b"control." in records[first] else 20
        stop = next((i for i in range(first + 1, len(records)) if b"control." in records[i]), len(records))
        batch = records[first : min(first + size, stop)]
        made = rewards(step(partition, store, batch, first).outputs)
        first += len(batch)
        entries += made
        for entry in made:
            if entry.available_at:
                granted[entry.campaign_id] += 1
        if first % 3 == 0 or first == len(records):
            proof = verify(entries, balances(store, names))
            assert proof.faults == []
        budgets = msgspec.msgpack.decode(store.get(HEAD_BUDGETS, b"\x80"))
        for lease, reserved, spent, _ in budgets.values():
            assert reserved + spent <= lease
            assert min(reserved, spent) >= 0
    assert set(granted) >= {"base", "welcome", "money_back"}
    pending = {"welcome": 0, "money_back": 0}
    for customer in customers_in(store).values():
        for lot in customer.ledger.lots.values():
            if lot.terms.campaign in pending:
                pending[lot.terms.campaign] += lot.pending
    held = {key.split(":")[0]: reserved for key, (_, reserved, *_) in budgets.items()}
    assert held == pending


def test_each_customer_has_one_timer_that_counts_at_a_full_hour(ruleset: RuleSet) -> None:
    _, store, _ = run(ruleset, history(5, 200), 16, restart_every=5)
    assert store is not None
    timers = [timer for key, value in store.items() if key[:1] == KEY_TIMER for timer in unpack(value)]
    wakes = [timer for timer in timers if timer.kind == WAKES]
    counted = Counter((timer.owner, timer.due_ms) for timer in wakes)
    waiting = {key: customer.timer_ms for key, customer in customers_in(store).items() if customer.timer_ms < 2**62}
    assert len(waiting) >= 10
    for key, due_ms in waiting.items():
        assert counted[key, due_ms] >= 1
        assert due_ms % STRETCH_MS == 0
    assert all(customer_key(timer.payload.decode()) == timer.owner for timer in wakes)


def test_what_comes_due_within_a_batch_is_found_by_the_next_event_of_it() -> None:
    campaign = """campaigns:
  - {id: base, on: payment.settled, when: amount > 0, then: {reward: points, amount: 10}, hold: 2m, expires: 1 month,
     caps: [{amount: 900, per: day}]}"""
    found = compile_rules({"c.yaml": campaign}).launch()
    minutes = 60_000
    records = [
        event(1, "account.login", START + 125 * minutes, "c2"),  # the clock is an hour behind
        event(2, "payment.settled", START + 6 * minutes),
        event(3, "account.login", START + 130 * minutes, "c2"),
        event(4, "payment.settled", START + 130 * minutes),
    ]
    outputs = run(found, records, 10)[0]
    made = [(one.bucket, one.delta, one.cause_event_id) for one in rewards(outputs)]
    assert made == [
        ("pending", "10", "e2"),
        ("pending", "-10", "timer"),
        ("active", "10", "timer"),
        ("pending", "10", "e4"),
    ]
    assert outputs == run(found, records, 1)[0]


def test_time_alone_does_what_is_due_for_who_does_nothing(ruleset: RuleSet) -> None:
    records = [
        event(1, "payment.settled", START),
        event(2, "payment.settled", START + HOUR, "c2"),
        tick(START + 3 * DAY),
    ]
    settled, _, _ = run(ruleset, records[:2], 10)
    assert {entry.bucket for entry in rewards(settled)} == {"pending"}
    both = run(ruleset, records, 10)[0]
    later = rewards(both)[len(rewards(settled)) :]
    assert Counter((entry.campaign_id, entry.cause_event_id) for entry in later if entry.bucket == "active") == {
        ("money_back", "timer"): len({e.customer_id for e in rewards(settled) if e.campaign_id == "money_back"})
    }
    assert run(ruleset, [*records, tick(START + 3 * DAY + HOUR)], 1, restart_every=1)[0] != both
    assert run(ruleset, records, 1, restart_every=1)[0] == both


def test_a_decline_is_noted_of_a_customer_who_is_not_in_memory(ruleset: RuleSet) -> None:
    store, partition = Store(), Partition(ruleset, CoreSettings())
    step(partition, store, [event(1, "payment.requested", START, amount=485, payment_id="p")], 0)
    step(partition, store, [event(2, "payment.requested", START, amount=450, payment_id="q")], 1)
    assert partition._engagement._campaigning._customers.at_hand(customer_key("c1")) is None
    settled = [event(3, "payment.settled", START, payment_id="p", amount=485),
               event(4, "payment.settled", START, payment_id="q", amount=450)]  # fmt: skip
    made = rewards(step(partition, store, settled, 2).outputs)
    assert {entry.occasion for entry in made} == {"q"}
    (base,) = [entry for entry in made if entry.campaign_id == "base"]
    assert base.available_at == "2026-02-02T00:00:00.000Z"  # 28 days


def legacy(count: int) -> list[bytes]:
    return [
        event(number, "payment.settled", START + number * HOUR, payment_id=f"old{number}") for number in range(count)
    ]


def test_campaigns_begin_behind_the_built_in_base_earn_and_end_without_it(ruleset: RuleSet) -> None:
    plain = campaigns("rules:\n  - {id: dear, when: amount > 400, then: {decision: review}}\n")
    others = {plain.hash: plain, ruleset.hash: ruleset}

    def switch(number: int, to: RuleSet) -> bytes:
        body = {"event_id": f"s{number}", "type": "control.rules", "event_time": START, "ruleset": to.hash}
        return json.dumps(body).encode()

    records = [
        *legacy(2),
        switch(1, ruleset),
        event(10, "payment.settled", START + 3 * HOUR, payment_id="new"),
        event(11, "payment.refunded", START + 4 * HOUR, payment_id="old1"),
        switch(2, plain),
        event(12, "payment.settled", START + 5 * HOUR, payment_id="after"),
        event(13, "payment.refunded", START + 6 * HOUR, payment_id="new", amount=50),
        switch(3, ruleset),
        event(14, "payment.settled", START + 7 * HOUR, payment_id="again"),
    ]
    expected = run(plain, records, 50, others=others)[0]
    found = [(e.campaign_id, e.delta, e.occasion) for e in rewards(expected) if e.campaign_id != "money_back"]
    assert sorted(found) == sorted([
        ("base_earn", "100", "old0"), ("base_earn", "100", "old1"),
        ("base", "100", "new"), ("welcome", "200", "new"),
        ("base_earn", "-100", "old1"),
        ("base", "-50", "new"), ("welcome", "-100", "new"),
        ("base", "100", "again"),
    ])  # fmt: skip
    for size in (1, 3):
        assert run(plain, records, size, restart_every=2, others=others)[0] == expected
    _, store, _ = run(plain, records, 4, restart_every=100, others=others)
    assert store is not None and store[HEAD_ENGAGED] == b"l"
    lease, reserved, _, _ = msgspec.msgpack.decode(store[HEAD_BUDGETS])["welcome:1"]
    assert (lease, reserved) == (2000, 100)


def test_a_rule_set_without_campaigns_leaves_no_trace_of_them() -> None:
    plain = campaigns("rules:\n  - {id: dear, when: amount > 400, then: {decision: review}}\n")
    outputs, store, _ = run(plain, legacy(5), 2, restart_every=2)
    assert store is not None and {entry.campaign_id for entry in rewards(outputs)} == {"base_earn"}
    assert not [key for key in store if is_customer(key) or key in (HEAD_ENGAGED, HEAD_BUDGETS)]


def test_an_alert_found_to_be_wrong_reaches_the_customer_where_they_are_known(ruleset: RuleSet) -> None:
    def resolved(number: int, customer: str | None, resolution: str = "legitimate") -> bytes:
        body = {"event_id": f"x{number}", "type": "control.alert_resolved", "event_time": START + 2 * HOUR,
                "alert_id": "a1", "resolution": resolution, "customer_id": customer}  # fmt: skip
        return json.dumps({key: value for key, value in body.items() if value}).encode()

    before = [event(1, "payment.settled", START), event(2, "payment.settled", START + HOUR, "c2")]
    controls = [resolved(1, "c1", "fraud"), resolved(2, "c1"), resolved(3, "stranger"), resolved(4, None)]
    controls += [resolved(5, "c1")]  # again, under another event id
    for size, restart_every in ((50, 0), (1, 1)):
        outputs, _, _ = run(ruleset, [*before, *controls, tick(START + 4 * HOUR)], size, restart_every=restart_every)
        sorry = [(e.customer_id, e.bucket, e.delta) for e in rewards(outputs) if e.campaign_id == "sorry"]
        assert sorry == [("c1", "pending", "75"), ("c1", "pending", "-75"), ("c1", "active", "75")]


def test_an_erased_customer_is_gone_from_the_store_but_for_keys(ruleset: RuleSet) -> None:
    records = [
        event(1, "account.registered", START, birth_date="1990-02-02", timezone="Europe/Paris", country="FR"),
        event(2, "payment.settled", START + HOUR),
        event(3, "payment.settled", START + HOUR, "c2"),
        event(4, "account.erased", START + 2 * HOUR),
        event(5, "payment.settled", START + 3 * HOUR, payment_id="p2"),
    ]
    outputs, store, _ = run(ruleset, records, 1, restart_every=1)
    assert store is not None
    left = customers_in(store)[customer_key("c1")]
    assert (left.birth, left.country, left.history.payments, left.history.paid) == ("", "", 0, [])
    proof = verify(rewards(outputs), {**balances(store, ["c1", "c2"])})
    assert proof.faults == []
    assert proof.balances["c1", "points", ""]["pending"] == 0


def test_everybody_held_out_gets_nothing(ruleset: RuleSet) -> None:
    settings = CoreSettings(campaigns=CampaignSettings(holdout=1.0))
    outputs, _, _ = run(ruleset, history(1, 100), 50, settings=settings)
    assert not rewards(outputs)
    offers = [json.loads(one.data) for one in outputs if one.kind == "offer"]
    assert offers and all(offer["holdout"] for offer in offers)


def test_a_shard_has_its_part_of_each_budget(ruleset: RuleSet) -> None:
    leases = []
    for shard in range(3):
        store, partition = Store(), Partition(ruleset, CoreSettings(), shard=shard)
        partition.spread(3)
        partition.restore({})
        partition.take_layout(partition.layout_for(None, [], {}) or b"")
        step(partition, store, [event(1, "payment.settled", START)], 0)
        leases.append(msgspec.msgpack.decode(store[HEAD_BUDGETS])["welcome:1"][0])
    assert leases == [667, 667, 666]
