"""What the request of a payment showed of a crowd counts when it settles, where the settlement names no device."""

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from engine.core.customers import customer_key
from engine.engagement.customer.codec import load, unread_crowd
from engine.engagement.marketing.abuse import CROWDS_MAX, Suspected
from engine.ruleset.campaigns.suspecting import COUNTED_MAX, Crowds
from tests.core.campaign_world import START, campaigns, run
from tests.core.rig import DAY, HOUR
from tests.core.test_abuse import RULES, alerts, asked_for, event, shared, tick, world


def silent(events: list[dict[str, Any]], lag: int = 0) -> list[dict[str, Any]]:
    """Payments asked for, and settlements so much later that name no device, as they do in life."""
    records = []
    for one in asked_for(events):
        if one["type"] == "payment.settled":
            one = {**one, "event_time": one["event_time"] + lag}
            del one["device_id"]
        records.append(one)
    return sorted(records, key=lambda one: one["event_time"])


def test_what_the_request_showed_counts_where_the_settlement_names_no_device() -> None:
    records = [json.dumps(one).encode() for one in silent(shared(5), 3 * DAY)]
    outputs = run(campaigns(RULES), records, 100)[0]
    found = [(one.customer_id, one.event_id, one.reasons[0].detail) for one in alerts(outputs)]
    assert [(who, event_id) for who, event_id, _ in found] == [("c2", "e2"), ("c3", "e3"), ("c4", "e4")]
    assert found[-1][2].startswith("5 customers on this device within 7 days, more than 2; frozen: ")


ONCE = """
campaigns:
  - id: third
    on: payment.settled
    when: customer.payments == 3
    then: {reward: points, amount: 300}
    occasion: customer
    caps: [{times: 1}]
    abuse: {accounts_per_device: 2, new_account: off}
"""


@pytest.mark.parametrize(("apart", "codes"), [(5, ["SHARED_DEVICE_CLUSTER"]), (40, [])])
def test_what_is_given_once_is_looked_at_for_all_payments_of_a_month(apart: int, codes: list[str]) -> None:
    """The third payment earns it; the first showed the crowd."""
    own = [event(9 + n, START + (apart + n) * DAY, "c2", device_id="own") for n in range(2)]
    time = [tick(START + (apart - 1) * DAY), tick(START + (apart + 2) * DAY)]
    records = [json.dumps(one).encode() for one in silent([*shared(3), *own, *time], DAY)]
    for size, restart_every in ((100, 0), (1, 1)):
        outputs = run(campaigns(ONCE), records, size, restart_every=restart_every)[0]
        assert [reason.code for one in alerts(outputs) for reason in one.reasons] == codes


def test_only_the_payment_that_showed_a_crowd_is_frozen() -> None:
    alone = event(9, START + 4 * HOUR, "c2", device_id="own")
    outputs, _, _ = run(campaigns(RULES), [json.dumps(one).encode() for one in silent([*shared(3), alone], DAY)], 100)
    assert [(one.customer_id, one.event_id) for one in alerts(outputs)] == [("c2", "e2")]


def test_a_request_within_every_limit_leaves_nothing_and_the_rest_is_bounded() -> None:
    suspected = Suspected()
    for payment in range(CROWDS_MAX + 5):
        suspected.ask(payment, payment, (4, 0, 2))
    suspected.ask(CROWDS_MAX, 9, (1, 3, 0))
    assert len(suspected.crowds) == CROWDS_MAX
    assert suspected.shown(CROWDS_MAX, False, 0) == (4, 3, 2)
    assert suspected.shown(4, False, 0) == ()
    assert Suspected.load(suspected.dump()) == suspected
    records = [json.dumps(one).encode() for one in asked_for(shared(2))[:3]]
    partition = run(campaigns(RULES), records, 100)[2]
    held = partition._engagement._campaigning._customers.at_hand(customer_key("c1"))
    assert held is None, "two on a device are no crowd"


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_gives_the_same_where_settlements_name_no_device(seed: int) -> None:
    records = [json.dumps(one).encode() for one in silent([one for one in world(seed) if "device_id" in one], 2 * DAY)]
    plain, _, _ = run(campaigns(RULES), records, 9)
    assert len(alerts(plain)) > 2
    assert [(one.customer_id, one.event_id) for one in alerts(plain)] == crowded(records)
    for size, restart_every in ((1, 0), (1, 1), (4, 1), (50, 2)):
        again, _, _ = run(campaigns(RULES), records, size, restart_every=restart_every)
        assert [one.data for one in again] == [one.data for one in plain]


def crowded(records: list[bytes]) -> list[tuple[str, str]]:
    """Who has an alert of which settlement, found out naively: the first of the day of those whose request was on a
    device of more than two customers within a week."""
    used: dict[str, list[tuple[int, str]]] = defaultdict(list)
    crowds: set[str] = set()
    found, told = [], set[tuple[str, int]]()
    for one in map(json.loads, records):
        at, who, payment = one["event_time"], one["customer_id"], one["payment_id"]
        if one["type"] == "payment.requested":
            used[one["device_id"]].append((at, who))
            crowds |= (
                {payment} if len({name for when, name in used[one["device_id"]] if when > at - 7 * DAY}) > 2 else set()
            )
        elif payment in crowds and (who, at // DAY) not in told:
            told.add((who, at // DAY))
            found.append((who, one["event_id"]))
    return found


def test_crowds_are_found_as_one_by_one() -> None:
    ruleset = campaigns(
        RULES
        + """
  - id: strict
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: 1}
    caps: [{times: 1}]
    abuse: {accounts_per_device: 1, accounts_per_card: 4, accounts_per_address: 2}
"""
    )
    rows = {name: row for row, name in enumerate(ruleset.rows)}
    device, card, address = (
        next(row for name, row in rows.items() if f"by={by}" in name) for by in ("device", "card", "shipping")
    )
    matrix = np.zeros((len(rows), 7))
    matrix[device] = [1, 2, np.nan, 1, 9e9, np.nan, 0]
    matrix[card] = [3, 1, 5, 4, 0, np.nan, 3]
    matrix[address] = [2, np.nan, 0, 3, 1, np.nan, 2]
    # Of `base` and `strict`, one on a device, four with a card and two with an address pass everywhere.
    assert ruleset.crowds.of(matrix) == {1: (2, 1, 0), 2: (0, 5, 0), 3: (1, 4, 3), 4: (COUNTED_MAX, 0, 1)}
    assert Crowds(rows, []).of(matrix) == {}


def test_what_was_appended_unread_is_there_when_the_customer_is_read() -> None:
    value = unread_crowd(7, 1, (4, 0, 2)) + unread_crowd(9, 1, (0, 3, 0)) + unread_crowd(7, 2, (1, 5, 0))
    customer, stored = load(value)
    assert customer.suspected.crowds == {9: (1, 0, 3, 0), 7: (2, 4, 5, 2)}
    whole, replaces = stored.write(customer, START)
    assert replaces
    assert load(whole)[0].suspected == customer.suspected
