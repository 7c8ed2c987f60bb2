"""The world of the simulator: payments of a few customers, with everything that can come along."""

import json
import random
from dataclasses import replace
from typing import Any, Final

from engine.core.label_desk import LabelSettings
from engine.core.settings import CoreSettings
from engine.ruleset import RuleSet, compile
from engine.scoring.fraud_model import LearnerSettings
from tests.core.rig import DAY, HOUR, MINUTE, RULES
from tests.service.simulator.world import World

START: Final = 1_760_000_000_000
STEP: Final = 20 * MINUTE
NOWHERE: Final = "0" * 16
LISTS: Final = "lists: {blocked: {values: [card_0]}}\n"
OWN: Final = """
features:
  - {name: pace, agg: count, by: customer, window: WINDOW}
  - {name: spend, agg: sum, of: amount_base, by: customer, window: 24h, where: "type == 'payment.settled'"}
  - {name: cards, agg: distinct, of: card_id, by: customer, window: 6h}
  - {name: known_s, agg: age, by: customer, window: 24h}
  - {name: gap_s, agg: since_last, by: [customer, merchant], window: 6h}
  - {name: new_device, agg: is_new, of: device_id, by: customer, window: 3h}
  - {name: own_frauds, agg: fraud_count, by: customer, window: 24h}
  - {name: card_labels, agg: label_count, by: [customer, card], window: 24h}
  - {name: x_pace, expr: "clamp(pace / 5, 0, 1)"}
  - {name: x_amount, expr: "clamp(amount / 100, 0, 1)"}
"""
SHARED: Final = """
  - {name: device_cards, agg: distinct, of: card_id, by: device, window: 2h}
  - {name: card_mean, agg: mean, of: amount, by: card, window: 6h}
  - {name: device_frauds, agg: fraud_rate, by: device, window: 24h}
"""
MODELS: Final = """
models:
  anomaly: {detector: half_space_trees, trees: TREES, height: 3, window: 6, seed: 1, inputs: [x_pace, x_amount]}
  fraud: {learner: logistic, seed: TREES, inputs: [x_pace, x_amount, own_frauds], plain: [x_pace]}
"""
DECISIONS: Final = """
  - {id: blocked_card, description: d, when: card_id in lists.blocked, then: {decision: decline, reason: BLOCKED}}
  - {id: busy, description: d, when: pace > 2, then: {decision: review, score: 20, reason: BUSY}}
  - {id: rich, description: d, when: spend > 60 and cards > 1, then: {decision: step_up, reason: RICH}}
  - {id: odd, description: d, when: score.anomaly > 0.5, then: {decision: review, reason: ODD}}
  - {id: likely, description: d, when: score.fraud > 0.4, then: {decision: review, reason: LIKELY}}
  - {id: big, description: d, when: amount_base > 80, then: {decision: decline, reason: BIG}}
"""
DEVICES: Final = "  - {id: farm, description: d, when: device_cards > 1, then: {score: 9, reason: FARM}}\n"


def _rules(window: str, trees: int, *, shared: bool) -> RuleSet:
    features = OWN + (SHARED if shared else "")
    text = LISTS + MODELS.replace("TREES", str(trees)) + features + RULES + DECISIONS + (DEVICES if shared else "")
    return compile({"rules.yaml": text.replace("WINDOW", window)})


SETS: Final = {shared: (_rules("1h", 2, shared=shared), _rules("2h", 3, shared=shared)) for shared in (False, True)}
BY_HASH: Final = {ruleset.hash: ruleset for pair in SETS.values() for ruleset in pair}
RATES: Final = ({"USD": "1.25"}, {"USD": "1.1", "JPY": "160"})
KINDS: Final = (
    *["payment.requested"] * 6, "payment.authorised", "payment.captured", "payment.captured", *["payment.settled"] * 4,
    "payment.refunded", "payment.refunded", "payment.chargeback", "payment.failed", "payment.cancelled",
    "label.assigned", "label.assigned", "label.assigned",
    "account.login", "offer.redeemed", "offer.viewed",
)  # fmt: skip
BROKEN: Final = (
    None,
    b"",
    b"{",
    b'{"event_id": 1}',
    b'{"type":"control.list"}',
    b"\xff",
    b'{"type":"payment.requested"}',
)


class Payments(World):
    """Everything that can come along: payments and what becomes of them, repeats, rubbish, rules and lists that change.

    Args:
        shared: whether rules read features that several customers have a part in.
    """

    sets = BY_HASH
    whole = CoreSettings(
        snapshot_every=7,
        labels=LabelSettings(maturity_ms=HOUR),
        learning=LearnerSettings(adopt_after_ms=0, frauds_min=0, known_min=1.0),
    )
    small = replace(whole, entities_max=4, customers_max=2)

    def __init__(self, *, shared: bool) -> None:
        self.first, self.second = SETS[shared]

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        """Record `number` of a partition; about one in nine repeats an event id of an earlier one."""
        kind = draw.random()
        if kind < 0.04:
            return draw.choice(BROKEN)
        now = START + number * STEP
        if kind < 0.12:
            return json.dumps(self._control(draw, number, now)).encode()
        repeat = draw.random() < 0.12
        return self.event(draw, draw.randrange(number + 1) if repeat else number, partition, self._time(draw, now))

    def event(self, draw: random.Random, identity: int, partition: int, time_ms: int, kind: str = "") -> bytes:
        """An event of one of four customers; its payment is one of six."""
        kind = kind or draw.choice(KINDS)
        body: dict[str, Any] = {
            "event_id": f"e{identity}", "type": kind, "event_time": time_ms,
            "customer_id": f"c{partition}-{identity % 4}",
            "card_id": f"card_{draw.randrange(4)}", "device_id": f"dev_{draw.randrange(3)}",
        }  # fmt: skip
        if kind.startswith("payment."):
            body |= {"payment_id": f"p{partition}-{draw.randrange(6)}", "merchant_id": f"m{draw.randrange(2)}"}
            body |= {"amount": draw.choice([5, 20, 45.5, 90]), "currency": draw.choice(["EUR", "EUR", "USD", "GBP"])}
        if kind == "payment.chargeback":
            body["reason_code"] = draw.choice(["10.4", "13.1"])
        if kind == "label.assigned":
            body |= {"payment_id": f"p{partition}-{draw.randrange(6)}", "label": draw.choice(["fraud", "legitimate"])}
        if kind.startswith("offer."):
            body["offer_id"] = f"o{draw.randrange(3)}"
        if draw.random() < 0.2:
            body["source"] = f"s{draw.randrange(2)}"
        return json.dumps(body).encode()

    def _time(self, draw: random.Random, now: int) -> int:
        if draw.random() < 0.02:
            return draw.choice([1_000, 4_080_000_000_000])
        return now - draw.choice(
            [0, 0, 0, 7, MINUTE, 59 * MINUTE, HOUR, 3 * HOUR, -7 * DAY if draw.random() < 0.05 else 0]
        )

    def _control(self, draw: random.Random, number: int, now: int) -> dict[str, Any]:
        kind = draw.choice(["rules", "rules", "list", "snooze", "tick", "tick", "rates", "rules_refused"])
        record: dict[str, Any] = {"type": f"control.{kind}", "event_id": f"k{number}", "event_time": now}
        if kind == "rules":
            record["ruleset"] = draw.choice([self.first.hash, self.second.hash, self.second.hash, NOWHERE])
        elif kind == "rates":
            record |= {"base": "EUR", "rates": draw.choice(RATES)}
        elif kind == "rules_refused":
            record |= {"ruleset": NOWHERE, "errors": ["no"]}
        elif kind == "list":
            values = _values(draw)
            record |= {"name": "blocked", "add": values, "remove": _values(draw)}
            if draw.random() < 0.4:
                record["expires_at"] = now + draw.randrange(3) * HOUR
        elif kind == "snooze":
            record |= {"rule": draw.choice(["busy", "big", "odd", "settlement_missing"]), "entity": "card"}
            record |= {"value": f"card_{draw.randrange(4)}", "until": draw.choice([None, now + 2 * HOUR])}
        return record

    def probes(self, draw: random.Random, partition: int, number: int = 60) -> list[bytes]:
        """Events that find out what is known of each customer, card and device, and in the end fire every timer."""
        now = START + number * STEP
        kinds = ("payment.requested", "payment.settled", "payment.refunded", "payment.failed")
        asked = [(customer, kind) for customer in range(4) for kind in kinds]
        events = [
            self.event(draw, 400 + 4 * i + customer, partition, now, kind) for i, (customer, kind) in enumerate(asked)
        ]
        tick = {"type": "control.tick", "event_id": "last", "event_time": now + 3 * DAY}
        return [*events, json.dumps(tick).encode()]


def _values(draw: random.Random) -> list[str]:
    return [f"card_{draw.randrange(4)}" for _ in range(draw.randrange(3))]
