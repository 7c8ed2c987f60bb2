"""`both: true`: whoever referred a customer gets the same, once for each, within the caps by referrer, in one shard."""

import json
from collections import Counter
from typing import Any

import pytest

from engine.core.settings import CoreSettings
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.rig import DAY, HOUR

RULES = """
campaigns:
  - id: referral
    on: payment.settled
    when: customer.referred and customer.payments >= 2
    then: {reward: points, amount: 300, both: true}
    occasion: customer
    hold: 2d
    caps: [{times: 1}, {by: referrer, times: 2, per: month}]
    budget: {points: 3000}
"""


def stream(friends: int, referrer: str = "r") -> list[bytes]:
    events: list[dict[str, Any]] = [{"type": "account.registered", "customer_id": "r", "event_time": START}]
    for friend in range(friends):
        at, who = START + friend * HOUR, {"customer_id": f"f{friend}"}
        events.append({**who, "type": "account.registered", "event_time": at, "referrer_id": referrer})
        for number in (1, 2, 3):
            paid = {"payment_id": f"p{friend}-{number}", "amount": 20, "currency": "EUR"}
            events.append({**who, **paid, "type": "payment.settled", "event_time": at + number * 60_000})
    events += [{"type": "payment.settled", "customer_id": "z", "payment_id": "z", "amount": 1, "currency": "EUR",
                "event_time": START + 5 * DAY}]  # fmt: skip
    return [json.dumps({"event_id": f"e{place}", **event}).encode() for place, event in enumerate(events)]


def granted(records: list[bytes], size: int = 100, **more: Any) -> Counter[str]:
    outputs, _, _ = run(campaigns(RULES), records, size, settings=CoreSettings(customers_max=2), **more)
    return Counter(one.customer_id for one in rewards(outputs) if one.bucket == "pending" and one.delta == "300")


def test_both_are_rewarded_within_the_cap_of_the_referrer() -> None:
    assert granted(stream(1)) == {"f0": 1, "r": 1}
    assert granted(stream(4)) == {"f0": 1, "f1": 1, "f2": 1, "f3": 1, "r": 2}


def test_who_is_not_known_here_or_referred_themselves_gets_nothing_of_it() -> None:
    assert granted(stream(2, "elsewhere")) == {"f0": 1, "f1": 1}
    assert granted(stream(1, "f0")) == {"f0": 1}


@pytest.mark.parametrize(("size", "restart_every"), [(1, 1), (1, 3), (3, 1), (100, 1)])
def test_batches_and_restarts_make_no_difference(size: int, restart_every: int) -> None:
    records = stream(6)
    plain, _, _ = run(campaigns(RULES), records, 7)
    again, store, _ = run(campaigns(RULES), records, size, restart_every=restart_every,
                          settings=CoreSettings(customers_max=2))  # fmt: skip
    assert [one.data for one in again] == [one.data for one in plain]
    assert store is not None
    assert any(one.customer_id == "r" and one.bucket == "active" for one in rewards(again)), (
        "the hold ends by its timer"
    )
