"""`both: true` in one shard: whoever referred a customer gets the same, once for each, within the caps by referrer."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from engine.core.settings import CoreSettings
from engine.domain.outputs import Alert
from engine.engagement.marketing.abuse import MARKS, MARKS_KEPT, Suspected, marks_of
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.neighbours import Shards
from tests.core.rig import DAY, HOUR
from tests.support.referral import referral

RULES = referral(budget=3_000, by_referrer=2)


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


def test_who_is_not_known_here_gets_nothing_of_it() -> None:
    assert granted(stream(2, "elsewhere")) == {"f0": 1, "f1": 1}


def test_nobody_refers_themselves() -> None:
    assert granted(stream(1, "f0")) == {}


def given_back(payments: list[str], size: int = 100, restart_every: int = 0) -> dict[str, Counter[str]]:
    """A referral asks for 30.00 in all, which two payments of 20.00 are; an hour later some are refunded."""
    text = RULES.replace("customer.payments >= 2", "customer.payments >= 2 and customer.spend_12m >= 30")
    records = stream(1)[:-1]
    for number, payment in enumerate(payments):
        paid = {"payment_id": payment, "amount": 20, "currency": "EUR", "customer_id": "f0"}
        refund = {**paid, "type": "payment.refunded", "event_time": START + HOUR + number, "event_id": f"r{number}"}
        records.append(json.dumps(refund).encode())
    records.append(stream(1)[-1])
    outputs, _, _ = run(campaigns(text), records, size, restart_every=restart_every)
    points = {"f0": Counter[str](), "r": Counter[str]()}
    for one in rewards(outputs):
        points[one.customer_id][one.bucket] += int(one.delta)
    return points


@pytest.mark.parametrize(("size", "restart_every"), [(100, 0), (1, 1)])
def test_a_refund_of_an_earlier_payment_takes_both_rewards(size: int, restart_every: int) -> None:
    assert given_back(["p0-1"], size, restart_every) == {who: Counter(active=300) for who in ("f0", "r")}
    for gone in (["p0-1", "p0-3"], ["p0-3", "p0-1"]):
        back = given_back(gone, size, restart_every)
        assert {who: sum(counts.values()) for who, counts in back.items()} == {"f0": 0, "r": 0}


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


OF_ONE = RULES.replace(
    "caps:", "abuse: {accounts_per_device: off, accounts_per_card: off, new_account: off}\n    caps:"
)


def pair(**seen: tuple[str, str]) -> list[bytes]:
    """A referrer and a friend, each seen with something, and the friend's reward; then twenty days."""
    mine, theirs = ({name: pair[place] for name, pair in seen.items()} for place in (0, 1))
    events: list[dict[str, Any]] = [
        {"type": "account.registered", "customer_id": "r", "event_time": START, **mine},
        {"type": "account.registered", "customer_id": "f", "event_time": START + HOUR, "referrer_id": "r"},
    ]
    for number in (1, 2):
        paid = {"payment_id": f"p{number}", "amount": 20, "currency": "EUR"}
        events.append({"type": "payment.settled", "customer_id": "f", "event_time": START + number * 3 * HOUR, **paid,
                       **theirs})  # fmt: skip
    events.append({"type": "control.tick", "event_time": START + 20 * DAY})
    return [json.dumps({"event_id": f"e{place}", **event}).encode() for place, event in enumerate(events)]


def outcome(records: list[bytes], rules: str = OF_ONE, **more: Any) -> tuple[dict[str, str], list[str]]:
    """Of both, the last bucket that points came into; and what alerts say."""
    outputs, _, _ = run(campaigns(rules), records, 2, **more)
    buckets = {one.customer_id: one.bucket for one in rewards(outputs) if not one.delta.startswith("-")}
    alerts = [msgspec.json.decode(one.data, type=Alert) for one in outputs if one.kind == "alert"]
    assert {one.kind for one in alerts} <= {"abuse"}
    return buckets, [
        f"{one.customer_id}: {one.reasons[0].code} {one.reasons[0].detail.split(';')[0]}" for one in alerts
    ]


@pytest.mark.parametrize(
    ("field", "what"),
    [("device_id", "a device"), ("card_id", "a card"), ("shipping_hash", "an address"), ("email_hash", "an e-mail")],
)
def test_who_refers_themselves_has_both_rewards_frozen(field: str, what: str) -> None:
    says = f"SELF_REFERRAL referrer and customer share {what}"
    for more in ({}, {"restart_every": 1}):
        buckets, alerts = outcome(pair(**{field: ("same", "same")}), **more)
        assert buckets == {"f": "pending", "r": "pending"}
        assert alerts == [f"r: {says}", f"f: {says}"]
    assert outcome(pair(**{field: ("one", "other")})) == ({"f": "active", "r": "active"}, [])
    off = OF_ONE.replace("new_account: off}", "new_account: off, self_referral: off}")
    assert outcome(pair(**{field: ("same", "same")}), off) == ({"f": "active", "r": "active"}, [])


def test_the_same_value_of_different_fields_is_nothing_shared() -> None:
    records = pair(device_id=("x", "y"), card_id=("y", "x"))
    assert outcome(records) == ({"f": "active", "r": "active"}, [])


def test_who_pays_the_same_payee_is_not_the_same_but_who_pays_the_other_is_suspected() -> None:
    assert outcome(pair(counterparty_id=("landlord", "landlord")))[1] == []
    assert outcome(pair(counterparty_id=("bank", "r")))[1] == [
        "r: SELF_REFERRAL referrer and customer share payments",
        "f: SELF_REFERRAL referrer and customer share payments",
    ]


def test_of_each_kind_the_latest_are_remembered() -> None:
    suspected = Suspected()
    for value in range(5):
        suspected.see(marks_of([1 << 40 + value] * len(MARKS)))
    assert len(suspected.marks) == len(MARKS) * MARKS_KEPT
    assert {mark >> 8 for mark in suspected.marks} == {8, 16}
    assert Suspected.load(suspected.dump()) == suspected


@pytest.mark.parametrize(("device", "bucket"), [("same", "pending"), ("other", "active")])
def test_a_referrer_in_another_shard_is_compared_by_the_letter(device: str, bucket: str) -> None:
    shards = Shards(campaigns(OF_ONE), 2)
    referrer = next(name for name in map(str, range(99)) if shards.of(name) != shards.of("f"))
    shards.write({"event_id": "r", "type": "account.registered", "customer_id": referrer, "event_time": START,
                  "device_id": "same"})  # fmt: skip
    shards.run()
    for record in pair(device_id=("", device)):
        event = json.loads(record)
        if event["event_id"] == "e1":
            event["referrer_id"] = referrer
        if event.get("customer_id") == "f":
            shards.write(event)
            shards.run()
    shards.tell({"event_id": "t", "type": "control.tick", "event_time": START + 20 * DAY})
    shards.run()
    entries = rewards([one for outputs in shards.outputs for one in outputs])
    buckets = {one.customer_id: one.bucket for one in entries if not one.delta.startswith("-")}
    assert buckets == {"f": "active", referrer: bucket}
    alerts = [one.key.decode() for outputs in shards.outputs for one in outputs if one.kind == "alert"]
    assert alerts == ([referrer] if bucket == "pending" else [])
