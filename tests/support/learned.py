"""A history that a fraud model learns from in a moment, and the rules for it."""

import json
import random
from typing import Any, Final

from engine.domain.times import DAY_MS

START_MS: Final = 20_000 * DAY_MS
PAYMENTS: Final = 4_800
DAYS: Final = 6
GAP_MS: Final = DAYS * DAY_MS // PAYMENTS
RULES: Final = """
models:
  anomaly: {detector: tails, memory: 500, inputs: [spent]}
  fraud: {learner: LEARNER, inputs: [paid, spent, often], plain: [spent]}
features:
  - {name: paid, expr: amount}
  - {name: spent, agg: sum, of: amount, by: customer, window: 24h}
  - {name: often, agg: count, by: customer, window: 24h}
rules:
  - {id: likely, description: d, when: score.fraud > 0.5, then: {decision: review, reason: LIKELY}}
"""
ENVIRONMENT: Final = {"STEWARD_LABEL_MATURITY": "24h"}


def rules(learner: str = "logistic") -> str:
    """A rule file."""
    return RULES.replace("LEARNER", learner)


def payment(number: int, seed: int = 1, gap_ms: int = GAP_MS, **fields: Any) -> dict[str, Any]:
    """One of them; every eighth is a fraud of a greater amount."""
    draw = random.Random(f"{seed} {number}")
    amount = draw.randrange(200, 900) if fraudulent(number) else draw.randrange(5, 120)
    return {
        "type": "payment.requested", "event_id": f"e{number}", "event_time": START_MS + number * gap_ms,
        "payment_id": f"p{number}", "customer_id": f"c{draw.randrange(60)}", "amount": amount, "currency": "EUR",
        **fields,
    }  # fmt: skip


def fraudulent(number: int) -> bool:
    """Whether it turns out to be fraud."""
    return number % 8 == 3


def history(seed: int = 1, payments: int = PAYMENTS, gap_ms: int = GAP_MS) -> list[bytes]:
    """Payments so far apart, and the labels of the frauds twelve hours later."""
    later = DAY_MS // 2 // gap_ms
    found: list[dict[str, Any]] = []
    for number in range(payments):
        event = payment(number, seed, gap_ms)
        found.append(event)
        if number >= later and fraudulent(number - later):
            of = payment(number - later, seed)
            found.append(
                {
                    "type": "label.assigned", "event_id": f"l{number}", "event_time": event["event_time"],
                    "customer_id": of["customer_id"], "payment_id": of["payment_id"], "label": "fraud",
                }
            )  # fmt: skip
    return [json.dumps(event).encode() for event in found]


def control(mode: str, model: str | None, number: int, at_ms: int) -> bytes:
    """A `control.model` event."""
    event = {"type": "control.model", "event_id": f"m{number}", "event_time": at_ms, "mode": mode}
    return json.dumps({**event, **({} if model is None else {"model": model})}).encode()
