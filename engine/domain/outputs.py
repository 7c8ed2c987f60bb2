"""The records Steward puts out, as contract section 5 names them."""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

LETTER: Final = "letter"
"""Kind of output that is a control event for the log of another shard, rather than a record below."""

Outcome = Literal["approve", "review", "step_up", "decline"]


class Scores(msgspec.Struct, frozen=True, gc=False):
    """Model scores, 0 to 1; null where a model is not ready or there is none."""

    anomaly: float | None
    fraud: float | None


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a decision or an alert is what it is: a code, the id of the rule it comes from, and a line for people.

    `rule` is "" where none does: what pushed the fraud score (`FRAUD_MODEL`), and drift (`DRIFT_…`).
    """

    code: str
    rule: str
    detail: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on one event.

    `score` is the blended risk, 0 to 1; `rules` and `shadow` are ids of the live and shadow rules that hit; `ruleset`
    is the content hash of the rule set, `model` the version of the model; `late` says that the event came later than
    the allowed lateness, and `degraded` what the decision could not rely on.

    `seen`, only where several partitions share entities: the values of the features of shared entities as they were
    when the decision was made, null for none, in the order in which the rule set has those features.
    """

    event_id: str
    payment_id: str
    customer_id: str
    event_time: str
    decision: Outcome
    score: float
    scores: Scores
    reasons: list[Reason]
    rules: list[str]
    shadow: list[str]
    ruleset: str
    model: str | None
    late: bool
    degraded: list[str]
    seen: list[float | None] | UnsetType = UNSET


class Alert(msgspec.Struct, frozen=True, gc=False):
    """Something a person should look at."""

    alert_id: str
    kind: Literal["fraud", "operations", "abuse", "drift"]
    severity: Literal["low", "medium", "high"]
    event_id: str
    customer_id: str
    title: str
    reasons: list[Reason]
    suggested_action: str


class Reward(msgspec.Struct, frozen=True, gc=False):
    """A ledger entry: `delta` is an exact signed decimal, and a balance the sum of its kind, currency and bucket."""

    entry_id: str
    customer_id: str
    campaign_id: str
    kind: Literal["points", "coupon", "cashback", "tier"]
    delta: str
    currency: str | None
    bucket: Literal["pending", "active", "debt"]
    lot_id: str
    cause_event_id: str
    occasion: str
    available_at: str | None
    expires_at: str | None
    why: str


class Offer(msgspec.Struct, frozen=True, gc=False):
    """An offer issued to a customer, or withdrawn before it was sent."""

    offer_id: str
    customer_id: str
    campaign_id: str
    kind: str
    value: str
    send_at: str
    expires_at: str
    channel_hint: str | None
    propensity: float | None
    status: Literal["issued", "withdrawn"]
    holdout: bool
    why: str


class Lifecycle(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """A customer moved from one state to another in one dimension."""

    customer_id: str
    dimension: Literal["lifecycle", "value_tier", "activity", "membership"]
    from_: str | None
    to: str
    cause_event_id: str
    at: str


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that is no event: why, where it came from, its digest, and its beginning with card numbers masked."""

    reason: str
    detail: str
    source: dict[str, Any]
    raw_sha256: str
    raw_redacted: str
