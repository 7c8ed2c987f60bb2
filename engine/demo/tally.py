"""What the demo has seen: counts, latencies, and how much of the planted fraud was caught."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from engine.demo.responses import Offered, Responses

LATENCIES_MAX: Final = 5_000  # the newest; percentiles are of these
ALERTS_SHOWN: Final = 8
RATE_SECONDS: Final = 5.0
DECIDED: Final = ("payment.requested", "transfer.sent")
STATES: Final = ("prospect", "new", "active", "loyal", "at_risk", "lost", "won_back")
TIERS: Final = ("basic", "silver", "gold", "platinum")
OUTCOMES: Final = ("approve", "review", "step_up", "decline")


class Decided(msgspec.Struct):
    """What is read of a decision."""

    event_id: str
    payment_id: str
    decision: str


class Reason(msgspec.Struct):
    """What is read of a reason."""

    code: str


class Alerted(msgspec.Struct):
    """What is read of an alert."""

    customer_id: str
    event_id: str
    title: str
    severity: str
    reasons: list[Reason]


class Entry(msgspec.Struct):
    """What is read of a ledger entry."""

    kind: str
    delta: str
    bucket: str


class Moved(msgspec.Struct, rename={"before": "from", "after": "to"}):
    """What is read of a lifecycle transition."""

    dimension: str
    before: str | None
    after: str


class ShownAlert(NamedTuple):
    """A line of the list of alerts."""

    severity: str
    customer: str
    decision: str
    codes: str


def percentile(values: "deque[float] | list[float]", share: float) -> float | None:
    """The value below which `share` of the values lie; `None` without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(slots=True)
class Tally:
    """Counts of one run.

    Attributes:
        sent, outcomes, alerts, rewards, dead_letters, others: how many; outcomes are the decisions.
        points: by bucket of the ledger.
        states: customers in each state, by dimension.
        responses: offers, and what comes of them.
        campaigns: the newest answer of `GET /v1/campaigns`, those that did something first.
        waiting: when each event was sent whose decision has not come, seconds of the monotonic clock.
        planted: pattern of fraud by payment id, from the generator's labels.
        caught, missed: decided payments with planted fraud, by whether the decision was other than `approve`.
        false_alarms: alerts on payments without planted fraud.
        event_time: of the newest event, as the generator wrote it.
        calls_ms: times of the synchronous calls.
    """

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    alerts: int = 0
    rewards: int = 0
    dead_letters: int = 0
    points: Counter[str] = field(default_factory=Counter)
    states: dict[str, Counter[str]] = field(default_factory=dict)
    responses: Responses = field(default_factory=Responses)
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    others: int = 0
    caught: int = 0
    missed: int = 0
    false_alarms: int = 0
    event_time: str = ""
    planted: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_MAX))
    calls_ms: list[float] = field(default_factory=list)
    shown: deque[ShownAlert] = field(default_factory=lambda: deque(maxlen=ALERTS_SHOWN))
    began: float = field(default_factory=time.monotonic)
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=1_000))

    @property
    def decisions(self) -> int:
        """Decisions that arrived."""
        return self.outcomes.total()

    def label(self, line: str) -> None:
        """Take a line of the generator's truth: `payment_id,label,pattern`."""
        payment, label, pattern = line.rstrip("\n").split(",")
        if label == "fraud":
            self.planted[payment] = pattern

    def leaves(self, event_id: str, kind: str, event_time: str) -> None:
        """An event is being sent."""
        self.sent += 1
        self.event_time = event_time
        if kind in DECIDED:
            self.waiting[event_id] = time.monotonic()

    def arrived(self, kind: str, data: msgspec.Raw) -> None:
        """An output has arrived."""
        if kind == "decision":
            self._decision(msgspec.json.decode(data, type=Decided))
        elif kind == "alert":
            self._alert(msgspec.json.decode(data, type=Alerted))
        elif kind == "reward":
            self._reward(msgspec.json.decode(data, type=Entry))
        elif kind == "offer":
            self.responses.offered(msgspec.json.decode(data, type=Offered))
        elif kind == "lifecycle":
            self._moved(msgspec.json.decode(data, type=Moved))
        elif kind == "dead_letter":
            self.dead_letters += 1
        else:
            self.others += 1

    def _decision(self, decided: Decided) -> None:
        now = time.monotonic()
        sent = self.waiting.pop(decided.event_id, None)
        if sent is not None:
            self.latencies.append(now - sent)
        self.outcomes[decided.decision] += 1
        self._recent.append((now, self.decisions))
        if decided.payment_id in self.planted:
            if decided.decision == "approve":
                self.missed += 1
            else:
                self.caught += 1
        elif decided.decision != "approve":
            self.false_alarms += 1

    def _reward(self, entry: Entry) -> None:
        self.rewards += 1
        if entry.kind == "points":
            self.points[entry.bucket] += int(entry.delta)

    def _moved(self, moved: Moved) -> None:
        states = self.states.setdefault(moved.dimension, Counter())
        states[moved.after] += 1
        if moved.before is not None and states[moved.before] > 0:  # where everybody begins is no transition
            states[moved.before] -= 1

    def _alert(self, alert: Alerted) -> None:
        self.alerts += 1
        codes = ", ".join(dict.fromkeys(reason.code for reason in alert.reasons))
        decision = alert.title.partition(":")[0]
        self.shown.append(ShownAlert(alert.severity, alert.customer_id, decision, codes))

    def rate(self) -> float:
        """Decisions a second over the last few seconds."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] > RATE_SECONDS:
            self._recent.popleft()
        if len(self._recent) < 2:
            return 0.0
        (first, low), (last, high) = self._recent[0], self._recent[-1]
        return (high - low) / max(last - first, 0.001)

    def latency_ms(self, share: float) -> float | None:
        """A percentile of the newest latencies from sending an event to receiving its decision."""
        found = percentile(self.latencies, share)
        return None if found is None else found * 1000

    def as_dict(self) -> dict[str, Any]:
        """The counts, for the line and the table."""
        return {
            "events": self.sent,
            "decisions": self.decisions,
            **{name: self.outcomes[name] for name in OUTCOMES},
            "alerts": self.alerts,
            "rewards": self.rewards,
            "dead letters": self.dead_letters,
        }
