"""A small rule set with campaigns of every kind, and histories of customers who set them off."""

import json
import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.core.controls import stretches
from engine.core.effects import Output
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.outputs import Reward
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.ruleset import RuleSet
from tests.core.rig import DAY, HOUR, MINUTE
from tests.core.stored import Store

START: Final = 1_767_571_200_000  # Monday, 5 January 2026

CAMPAIGNS: Final = """
rules:
  - {id: dear, when: amount > 400, then: {decision: review, score: 30}}
  - {id: too_dear, when: amount > 480, then: {decision: decline}}
campaigns:
  - id: base
    on: payment.settled
    when: merchant_category != '6011'
    then: {reward: points, amount: floor(amount), most: 400}
    expires: 2 months
    caps: [{amount: 900, per: day}]
  - id: welcome
    on: payment.settled
    when: customer.payments == 1
    then: {reward: points, amount: 200}
    occasion: customer
    hold: 3d
    caps: [{times: 1}]
    budget: {points: 2000}
  - id: money_back
    on: payment.settled
    when: amount >= 100
    then: {reward: cashback, amount: amount * 0.015, currency: EUR, most: 3}
    hold: 2d
    caps: [{times: 2, per: week}]
    budget: {amount: "20.00", currency: EUR}
    holdout: 20%
  - id: streak
    on: payment.settled
    when: customer.streak_days >= 2 and amount > 0
    then: {reward: points, amount: 30}
    hold: 5d
    caps: [{times: 1, per: 2d}]
    reversal: R2
  - id: birthday
    on: {timer: birthday, at: "09:00"}
    when: customer.payments >= 1
    then: {reward: points, amount: 50}
    occasion: period
    hold: none
    caps: [{times: 1, per: year}]
  - id: lapsing
    on: {timer: idle, gaps: 2}
    when: customer.payments >= 2
    then: {offer: coupon, value: "5.00", currency: EUR, expires: 7d, send: "10:30"}
    consent: marketing
    quiet_hours: ["21:00", "08:00"]
    caps: [{times: 1, per: 30d}]
    priority: 5
    group: come_back
  - id: come_back
    on: {transition: lifecycle, to: at_risk}
    when: customer.payments >= 1
    then: {offer: message, value: hello, expires: 3d}
    consent: marketing
    caps: [{times: 3}]
    group: come_back
  - id: survey
    on: payment.refunded
    when: amount > 0
    then: {offer: service, value: nps, expires: 3d, send: "12:00"}
    caps: [{times: 1, per: 10d}]
    holdout: 10%
  - id: sorry
    on: alert.resolved
    when: not customer.muted
    then: {reward: points, amount: 75}
    hold: none
    caps: [{times: 2, per: year}]
"""


def campaigns(text: str = CAMPAIGNS) -> RuleSet:
    return compile_rules({"campaigns.yaml": text})


def history(seed: int, events: int, customers: int = 12, step_ms: int = 5 * HOUR) -> list[bytes]:
    """Records in order of arrival: some late, some from the future, some repeated, under the same id or another."""
    draw, now, paid = random.Random(seed), START, list[tuple[str, str, float]]()
    records: list[dict[str, Any]] = []
    for number in range(events):
        now += draw.randrange(step_ms)
        who = f"c{draw.randrange(customers)}"
        body: dict[str, Any] = {"event_id": f"e{number}", "customer_id": who, "event_time": now}
        what = draw.random()
        if what < 0.5:
            amount = draw.choice([5, 20, 120, 250, 450, 490]) + draw.randrange(100) / 100
            payment = f"p{number}"
            first = {**body, "event_id": f"r{number}", "type": "payment.requested", "payment_id": payment,
                     "amount": amount, "currency": "EUR"}  # fmt: skip
            settled = {**first, "event_id": f"e{number}", "type": "payment.settled", "event_time": now + MINUTE,
                       "merchant_category": draw.choice(["5411", "5812", "6011"]), "method": "card"}  # fmt: skip
            records += [first, settled] if draw.random() < 0.9 else [settled, first]
            paid.append((who, payment, amount))
            continue
        if what < 0.68 and paid:
            who, payment, amount = draw.choice(paid[-30:])
            if draw.random() < 0.2:  # before its payment
                who, payment, amount = f"c{draw.randrange(customers)}", f"p{number + draw.randrange(1, 4)}", 100.0
            kind = draw.choice(["payment.refunded", "payment.refunded", "payment.chargeback"])
            back = round(amount / draw.choice([1, 3]), 2)
            body |= {"type": kind, "customer_id": who, "payment_id": payment, "currency": "EUR", "amount": back,
                     "refund_id": f"f{draw.randrange(3)}"}  # fmt: skip
        elif what < 0.72 and paid:
            who, payment, _ = draw.choice(paid[-30:])
            label = draw.choice(["fraud", "legitimate"])
            body |= {"type": "label.assigned", "customer_id": who, "payment_id": payment, "label": label}
        elif what < 0.80:
            redemption = f"d{number - draw.randrange(4)}"
            body |= {"type": "points.redeemed", "points": draw.choice([10, 100, 300]), "redemption_id": redemption}
            if number % 3 and paid:  # on a payment that may be given back later, or has been
                body |= {"customer_id": paid[-1][0], "payment_id": paid[-1][1]}
        elif what < 0.86:
            zone, birth = (
                draw.choice(["Europe/Berlin", "Asia/Tokyo", ""]),
                f"1990-0{draw.randrange(1, 4)}-{draw.randrange(10, 29)}",
            )
            body |= {
                "type": "account.registered",
                "timezone": zone,
                "birth_date": birth,
                "consent": {"marketing": True},
            }
        elif what < 0.90:
            body |= {"type": "account.consent_changed", "consent": {"marketing": draw.random() < 0.7}}
        elif what < 0.93:
            body |= {"type": "feedback.submitted", "kind": "nps", "score": float(draw.randrange(11))}
        elif what < 0.94:
            body |= {"type": "account.erased"}
        elif what < 0.97:
            body = {"event_id": f"t{number}", "event_time": now, "type": "control.tick"}
        else:
            body |= {
                "type": "control.alert_resolved",
                "alert_id": f"a{number}",
                "resolution": draw.choice(["legitimate", "fraud"]),
                "payment_id": f"p{number}",
            }
        if draw.random() < 0.03:
            body["event_time"] += draw.choice([-3 * DAY, 300 * DAY, 60 * DAY, 40 * MINUTE])
        records.append(body)
        if draw.random() < 0.05:
            records.append({**body, "event_id": f"again{number}"} if draw.random() < 0.5 else body)
    return [json.dumps(record).encode() for record in records]


def run(
    ruleset: RuleSet,
    records: Sequence[bytes],
    size: int,
    *,
    restart_every: int = 0,
    customers_max: int = 1_000_000,
    settings: CoreSettings | None = None,
    others: dict[str, RuleSet] | None = None,
) -> tuple[list[Output], Store | None, Partition]:
    """Outputs of a history. With `restart_every` a store stands behind, and the partition is started so often."""
    known = {**(others or {}), ruleset.hash: ruleset}
    chosen = settings or CoreSettings(customers_max=customers_max)
    store = Store() if restart_every else None
    partition = Partition(ruleset, chosen, backed=store is not None, rulesets=known.get)
    outputs: list[Output] = []
    for number, (start, end) in enumerate(stretches(records, size)):
        if store is not None and number % restart_every == 0:
            partition = Partition(ruleset, chosen, rulesets=known.get)
            partition.restore(store.head())
        decoded = partition.decode(records[start:end])
        keys = partition.missing(decoded) if store is not None else []
        while keys:
            assert store is not None
            keys = partition.load(keys, [store.get(key) for key in keys])
        effects = partition.apply(decoded, lambda i, start=start: {"offset": start + i})  # type: ignore[misc]
        outputs += effects.outputs
        if store is not None:
            store.take(effects.ops)
            partition.evict()
    return outputs, store, partition


def rewards(outputs: Sequence[Output]) -> list[Reward]:
    """The ledger entries among outputs."""
    return [msgspec.json.decode(one.data, type=Reward) for one in outputs if one.kind == "reward"]
