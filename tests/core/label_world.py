"""Labels one event at a time, in dicts and lists: what the label desk and the label aggregates should come to."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from engine.core.cases import FRAUD, LEGITIMATE, VOID
from engine.domain.hashing import hash64
from tests.core.rig import DAY, HOUR, LATE, MINUTE, OracleClock

MATURITY: Final = 6 * HOUR
HORIZON: Final = 2 * DAY
WINDOW: Final = DAY
START: Final = 1_760_000_000_000
DECLINED_ABOVE: Final = 80
BY: Final = {"device": "device_id", "merchant": "merchant_id", "customer": "customer_id"}
FEATURES: Final = "\n".join(
    f"  - {{name: {agg}_{by}, agg: {agg}, by: {by}, window: 1d}}"
    for by in BY
    for agg in ("label_count", "fraud_count", "fraud_rate", "unexplained_frauds", "since_last_fraud")
)
RULES: Final = f"""
features:
  - {{name: pace, agg: count, by: customer, window: 1h}}
  - {{name: amt, expr: amount}}
{FEATURES}
models:
  fraud: {{inputs: [pace, amt, fraud_count_device, fraud_rate_merchant]}}
rules:
  - {{id: big, description: d, when: amount > {DECLINED_ABOVE}, then: {{decision: decline, reason: BIG}}}}
"""

Event = dict[str, Any]


@dataclass
class Case:
    """A decision."""

    event: Event
    time_ms: int
    due_ms: int
    told: int | None = None
    void: bool = False
    matured: bool = False


@dataclass
class Touch:
    """A label row: 1 and 2 first labels, 2 and 3 frauds, 4 takes a fraud back."""

    event: Event
    time_ms: int
    kind: int


KINDS: Final = {
    (None, LEGITIMATE): 1,
    (None, FRAUD): 2,
    (LEGITIMATE, FRAUD): 3,
    (FRAUD, LEGITIMATE): 4,
}


@dataclass
class Oracle:
    """Everything received so far, gone through again for every event."""

    clock: OracleClock = field(default_factory=OracleClock)
    cases: list[Case] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    requested: set[tuple[str, str]] = field(default_factory=set)

    def step(self, event: Event) -> dict[str, float | None] | None:
        """The label aggregates of an event; None for one that repeats an id."""
        name = event["customer_id"], event["event_id"]
        if name in self.seen:
            return None
        first = not self.seen
        self.seen.add(name)
        told = self.clock.step(event["event_time"], hash64(event["customer_id"]))
        now = None if first else told
        if now is not None:
            self.mature(now)
        self.tell(event, now)
        values = self.features(event)
        self.decide(event, now)
        return values

    def mature(self, now: int) -> None:
        for case in self.cases:
            if case.due_ms <= now and not case.matured and not case.void and case.told is None:
                case.matured = True
                self.touches.append(Touch(case.event, case.due_ms, 1))
                self.counts["matured"] += 1

    def tell(self, event: Event, now: int | None) -> None:
        value = told_by(event)
        if value is None:
            return
        time_ms, back = event["event_time"], MATURITY + DAY if value == VOID else HORIZON
        arrived = time_ms if now is None else min(max(time_ms, now), now + LATE)
        found = [
            case
            for case in self.cases
            if (case.event["customer_id"], case.event["payment_id"]) == (event["customer_id"], event["payment_id"])
            and time_ms - back <= case.time_ms <= time_ms + LATE
            and (now is None or case.time_ms >= now - max(HORIZON, MATURITY + DAY))
        ]
        if value == VOID:
            for case in found:
                case.void = case.void or (case.told is None and not case.matured)
            return
        kinds = []
        for case in found:
            known = LEGITIMATE if case.matured and case.told is None else case.told
            kinds.append(KINDS.get((known, value), 0))
            if kinds[-1]:
                case.told = value
                self.touches.append(Touch(case.event, arrived, kinds[-1]))
        news = "fraud" if value == FRAUD else "legitimate"
        self.counts["unknown" if not found else news if any(kinds) else "repeated"] += 1

    def features(self, event: Event) -> dict[str, float | None]:
        time_ms, values = event["event_time"], {}
        for by, name in BY.items():
            seen = [
                touch
                for touch in self.touches
                if touch.event.get(name) == event.get(name) and time_ms - WINDOW < touch.time_ms <= time_ms
            ]
            kinds = Counter(touch.kind for touch in seen)
            labels, frauds = kinds[1] + kinds[2], max(0, kinds[2] + kinds[3] - kinds[4])
            latest = max((touch.time_ms for touch in seen if touch.kind in (2, 3)), default=None)
            there = event.get(name) is not None
            values |= {
                f"label_count_{by}": labels if there else None,
                f"fraud_count_{by}": frauds if there else None,
                f"fraud_rate_{by}": min(1.0, frauds / labels) if there and labels else None,
                f"unexplained_frauds_{by}": kinds[2] + kinds[3] if there else None,
                f"since_last_fraud_{by}": (time_ms - latest) / 1000 if there and latest is not None else None,
            }
        return values

    def decide(self, event: Event, now: int | None) -> None:
        kind, payment = event["type"], (event["customer_id"], event.get("payment_id", ""))
        if kind not in ("payment.requested", "payment.authorised", "transfer.sent"):
            return
        if kind == "payment.authorised" and payment in self.requested:
            return
        if kind == "payment.requested":
            self.requested.add(payment)
        time_ms = event["event_time"]
        due_ms = time_ms + MATURITY
        if now is not None:
            due_ms = max(min(time_ms, now + LATE) + MATURITY, now - now % HOUR + HOUR)
        self.cases.append(Case(event, time_ms, due_ms, void=event["amount"] > DECLINED_ABOVE))


def told_by(event: Event) -> int | None:
    """What an event says of its payment."""
    kind = event["type"]
    if kind == "label.assigned":
        return FRAUD if event["label"] == "fraud" else LEGITIMATE
    if kind == "payment.chargeback":
        return FRAUD if event.get("reason_code", "").strip().upper() in ("10.4", "4837", "FRAUD") else None
    return VOID if kind in ("payment.declined", "payment.failed", "payment.cancelled") else None


def history(seed: int, events: int) -> list[Event]:
    """Payments of a few customers and what is told of them: late, twice, again and otherwise, of nobody's payments."""
    draw = random.Random(seed)
    step = draw.choice([2 * MINUTE, 15 * MINUTE, 50 * MINUTE])
    found: list[Event] = []
    for number in range(events):
        now = START + number * step
        late = draw.choice([0, 0, 0, 0, 0, 7, MINUTE, 50 * MINUTE, 3 * HOUR, -30 * MINUTE, -30 * DAY])
        kind = draw.choice(
            ["payment.requested"] * 6 + ["payment.authorised", "transfer.sent", "payment.failed", "payment.cancelled"]
            + ["label.assigned"] * 4 + ["payment.chargeback", "account.login", "account.login"]
        )  # fmt: skip
        repeats = bool(found) and draw.random() < 0.05
        event: Event = {
            "event_id": draw.choice(found)["event_id"] if repeats else f"e{number}",
            "type": kind, "event_time": now - late, "customer_id": f"c{draw.randrange(3)}",
            "merchant_id": f"m{draw.randrange(2)}",
        }  # fmt: skip
        if draw.random() < 0.7:
            event["device_id"] = f"d{draw.randrange(3)}"
        if kind != "account.login":
            event["payment_id"] = f"p{draw.randrange(max(1, number - 25), number + 2) // 3}"
        if kind.startswith(("payment.", "transfer.")):
            event |= {"amount": draw.choice([5, 20, 60, 90]), "currency": "EUR"}
        if kind == "label.assigned":
            event["label"] = draw.choice(["fraud", "legitimate"])
        if kind == "payment.chargeback" and draw.random() < 0.8:
            event["reason_code"] = draw.choice(["10.4", "4837", " fraud", "13.1"])
        told = [one for one in found[-40:] if one["type"] == "label.assigned"]
        if kind == "account.login" and told:  # told again, the same or otherwise
            again = {"event_id": f"e{number}", "event_time": now, "label": draw.choice(["fraud", "legitimate"])}
            event = draw.choice(told) | again
        found.append(event)
    return found


def records(events: list[Event]) -> list[bytes]:
    """As they stand on the log."""
    return [json.dumps(event).encode() for event in events]
