"""Payments under rule sets with campaigns: points that are earned, spent, taken back, frozen and expire, offers, claims
of cards, erasure. For one partition: with several, when others commit decides what is known of cards and devices."""

import json
import random
from typing import Any, Final

from engine.ruleset import RuleSet, compile
from tests.core.rig import DAY, MINUTE
from tests.service.simulator.payments import START, STEP, Payments

_RULES: Final = """
features:
  - {name: pace, agg: count, by: customer, window: 1h}
lists: {blocked: {values: [card_0]}}
rules:
  - {id: busy, description: d, when: pace > 2, then: {decision: review, score: 20, reason: BUSY}}
  - {id: big, description: d, when: amount_base > 80, then: {decision: decline, reason: BIG}}
"""
_CAMPAIGNS: Final = """
campaigns:
  - id: earn
    on: payment.settled
    when: amount_base > 0
    then: {reward: points, amount: MUCH * amount_base}
    hold: 2h
    caps: [{amount: 150, per: day}, {by: card, amount: 100, per: 9h}, {by: card, times: 4, per: day}]
    budget: {points: 900}
  - id: pace
    on: payment.captured
    when: pace > 1 and customer.payments > 0
    then: {offer: service, value: hello, expires: 1h, send: "12:00"}
    caps: [{times: 2, per: 6h}]
  - id: silent
    on: {timer: since_last_payment, after: 3h}
    when: customer.payments > 0
    then: {offer: message, value: come, expires: 2h}
    consent: marketing
    caps: [{times: 1, per: 4h}]
    holdout: 30%
"""
KINDS: Final = (
    "points.redeemed", "points.redeemed", "account.registered", "account.consent_changed", "account.updated",
    "feedback.submitted", "account.erased",
)  # fmt: skip


def _set(campaigns: str) -> RuleSet:
    return compile({"rules.yaml": _RULES + campaigns + "models: {anomaly: null}\n"})


SETS: Final = (_set(_CAMPAIGNS.replace("MUCH", "1")), _set(_CAMPAIGNS.replace("MUCH", "2")), _set(""))
BY_HASH: Final = {ruleset.hash: ruleset for ruleset in SETS}


class Marketing(Payments):
    """See the module. Rule sets with campaigns follow each other, and one without."""

    sets = BY_HASH

    def __init__(self, *, begins_without: bool) -> None:
        self.first, self.second = (SETS[2], SETS[0]) if begins_without else SETS[:2]

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        now = START + number * STEP
        if draw.random() > 0.25:
            return super().value(draw, number, partition)
        if draw.random() < 0.15:
            body = {"type": "control.alert_resolved", "event_id": f"x{number}", "event_time": now, "alert_id": "a",
                    "resolution": "legitimate", "customer_id": f"c{partition}-{number % 4}"}  # fmt: skip
            return json.dumps(body).encode()
        return self.event(draw, number, partition, now - draw.choice([0, 0, 7 * MINUTE]), draw.choice(KINDS))

    def event(self, draw: random.Random, identity: int, partition: int, time_ms: int, kind: str = "") -> bytes:
        body: dict[str, Any] = json.loads(super().event(draw, identity, partition, time_ms, kind))
        if body["type"] == "points.redeemed":
            body |= {"points": draw.choice([5, 30]), "redemption_id": f"d{draw.randrange(9)}"}
        elif body["type"] == "feedback.submitted":
            body |= {"kind": "nps", "score": draw.randrange(11)}
        elif body["type"].startswith("account."):
            body |= {
                "timezone": draw.choice(["Europe/Rome", "Asia/Tokyo"]),
                "consent": {"marketing": draw.random() < 0.8},
            }
        return json.dumps(body).encode()

    def _control(self, draw: random.Random, number: int, now: int) -> dict[str, Any]:
        record = super()._control(draw, number, now)
        if record["type"] == "control.tick" and draw.random() < 0.2:
            record["event_time"] = now + DAY // 4
        return record
