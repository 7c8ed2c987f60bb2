"""Offers and coupons that are used, in the partition: the same whatever the batches and restarts, and it adds up."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from engine.core.campaign_state import HEAD_BUDGETS, budgets_of
from engine.core.customers import customer_key
from engine.core.effects import Output
from engine.engagement.ledger.verify import verify
from engine.ruleset.ruleset import RuleSet
from engine.service.customers.balances import stored
from tests.core.campaign_world import CAMPAIGNS, campaigns, history, rewards, run
from tests.core.rig import HOUR

MORE = """
  - id: voucher
    on: payment.settled
    when: amount >= 20
    then: {offer: coupon, value: "4.00", currency: EUR, expires: 20d}
    consent: marketing
    caps: [{times: 3, per: week}]
    budget: {amount: "60.00", currency: EUR}
    reversal: R2
  - id: coupons
    on: payment.settled
    when: amount >= 100
    then: {reward: coupon, value: "8.00", currency: EUR}
    hold: 1h
    caps: [{times: 4, per: week}]
    reversal: R2
    threshold: 100
"""
NAMES = [f"c{number}" for number in range(12)]


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return campaigns(CAMPAIGNS + MORE)


def used(ruleset: RuleSet, records: list[bytes], seed: int) -> list[bytes]:
    """The same history in which some of what it brings is used, at times twice, on any payment of the customer."""
    draw, found = random.Random(seed), dict[str, tuple[str, int]]()
    for one in run(ruleset, records, 10_000)[0]:
        body = json.loads(one.data)
        if one.kind == "offer" and body["status"] == "issued" and not body["holdout"]:
            found[body["offer_id"]] = body["customer_id"], one.time_ms
        elif one.kind == "reward" and body["kind"] == "coupon":
            found[body["lot_id"]] = body["customer_id"], one.time_ms
    bodies: list[dict[str, Any]] = [json.loads(record) for record in records]
    paid = [body for body in bodies if body["type"] == "payment.settled"]
    for number, (name, (customer, time_ms)) in enumerate(sorted(found.items())):
        mine = [body["payment_id"] for body in paid if body["customer_id"] == customer]
        for again in range(draw.choice([0, 1, 1, 2])):
            when = time_ms + draw.randrange(1, 60) * HOUR
            event = {"event_id": f"use{number}-{again}", "type": "offer.redeemed", "customer_id": customer,
                     "event_time": when, "offer_id": name}  # fmt: skip
            if mine and draw.random() < 0.8:
                event["payment_id"] = draw.choice(mine)
            at = next((place for place, body in enumerate(bodies) if body["event_time"] > when), len(bodies))
            bodies.insert(at, event)
            back = {**event, "event_id": f"back{number}", "type": "payment.refunded", "amount": 25.0, "currency": "EUR"}
            if "payment_id" in event and draw.random() < 0.5:
                bodies.insert(at + draw.choice([0, 1]), {key: back[key] for key in back if key != "offer_id"})
    return [json.dumps(body).encode() for body in bodies]


@pytest.mark.parametrize("seed", [21, 23])
def test_what_is_used_is_the_same_whatever_the_batches_and_restarts(ruleset: RuleSet, seed: int) -> None:
    records = used(ruleset, history(seed, 160), seed)
    expected, _, _ = run(ruleset, records, 10_000)
    assert kinds(expected)["debt"] >= 2
    for size, restart_every, customers_max in ((3, 3, 1), (31, 2, 5)):
        found, store, _ = run(ruleset, records, size, restart_every=restart_every, customers_max=customers_max)
        assert found == expected
    assert store is not None
    found_in = {name: stored(None, store.get(customer_key(name))) for name in NAMES}
    held = {(name, *purse): sums for name, purses in found_in.items() for purse, sums in purses.items()}
    assert verify(rewards(expected), held).faults == []
    for budget in budgets_of({HEAD_BUDGETS: store[HEAD_BUDGETS]}).of.values():
        assert 0 <= budget.reserved + budget.spent <= budget.lease


def kinds(outputs: list[Output]) -> Counter[str]:
    """Entries by what they are: of what was used and is owed, of cashback in euros or coupons."""
    return Counter(one.bucket for one in rewards(outputs) if one.campaign_id in ("voucher", "coupons"))
