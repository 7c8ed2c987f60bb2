"""Planted abuse of rewards is found by the shipped campaigns, kind by kind; in an honest world nothing is frozen."""

import functools
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from engine.generator import Settings
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
from load_tests.bench_abuse import AFTER, HONEST, Lot, Stream, figures, granted, planted

TYPES = ("payment.requested", "payment.authorised", "payment.settled", "payment.refunded", "account.registered",
         "control.list")  # fmt: skip
"""What abuse is seen in; the rest only costs time."""


def lots(stream: Stream) -> list[Lot]:
    """What the shipped campaigns grant, without the rules of risk, which would refuse much of it."""
    texts = {name: text for name, text in read(rules_directory()).items() if name.startswith("engagement/")}
    named = tuple(f'"type":"{name}"'.encode() for name in TYPES)
    records = [record for record in stream.records if any(one in record for one in named)]
    return granted(compile_rules(texts).launch(), records)


@functools.cache
def world(abuse: float) -> tuple[Stream, list[Lot]]:
    settings = Settings(seed=3, customers=150, rate=300.0, fraud_rate=0.0, world="engagement", abuse=abuse)
    stream = planted(16_000 if abuse else 8_000, settings)
    return stream, lots(stream)


def found(kind: str) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = figures(*world(0.3))["kinds"]
    return kinds[kind]


def test_of_a_farm_all_but_the_household_that_it_begins_as_is_frozen() -> None:
    farm = found("farm")
    assert farm["grants"] > 60
    assert farm["recall"] > 0.6
    assert farm["kept"]["points"] < 0.4 * farm["given"]["points"]


def test_self_referrals_are_frozen_whether_device_card_or_address_is_shared() -> None:
    referral = found("self_referral")
    assert referral["grants"] > 10
    assert referral["recall"] > 0.75


def test_of_clusters_after_coupons_most_is_frozen() -> None:
    coupons = found("coupon_cluster")
    assert coupons["grants"] > 100
    assert coupons["recall"] > 0.65
    assert coupons["accounts_found"] > 0.65


def test_who_cycles_refunds_is_found_as_soon_as_they_are_half_of_three_payments() -> None:
    stream, all_lots = world(0.3)
    expected = cyclers(stream)
    frozen = {lot.customer for lot in all_lots if lot.frozen and stream.of(lot.customer) == "refund_cycling"}
    assert len(expected) >= 4
    assert expected <= frozen
    quick = [lot for lot in all_lots if lot.customer in expected and lot.campaign in AFTER["refund_cycling"]]
    assert sum(lot.frozen for lot in quick) > 0.2 * len(quick)


def cyclers(stream: Stream) -> set[str]:
    """Who has two payments that settle when of those before and these three were given back, and 55 % of the amount."""
    settled: dict[str, dict[str, float]] = defaultdict(dict)
    back: dict[str, dict[str, float]] = defaultdict(dict)
    seen: dict[str, int] = defaultdict(int)
    for one in _paid(stream):
        who, payment, amount = one["customer_id"], one["payment_id"], float(one["amount"])
        (settled if one["type"] == "payment.settled" else back)[who][payment] = amount
        cycles = len(back[who]) >= 3 and sum(back[who].values()) > 0.55 * sum(settled[who].values())
        seen[who] += one["type"] == "payment.settled" and cycles
    return {who for who, times in seen.items() if times >= 2}


def _paid(stream: Stream) -> Iterator[dict[str, Any]]:
    for record in stream.records:
        if b"payment.settled" in record or b"payment.refunded" in record:
            one: dict[str, Any] = json.loads(record)
            if stream.of(one["customer_id"]) == "refund_cycling":
                yield one


def test_what_is_frozen_is_abuse_and_in_an_honest_world_nothing_is() -> None:
    with_abuse, without = (figures(*world(abuse)) for abuse in (0.3, 0.0))
    assert with_abuse["precision"] > 0.98
    assert without["kinds"][HONEST]["grants"] > 1_500
    assert without["frozen"] == {}
