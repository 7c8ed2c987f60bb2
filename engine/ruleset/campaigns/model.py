"""What a compiled campaign is: plain data, no behaviour."""

from dataclasses import dataclass, field
from typing import Final

from engine.ruleset import ir
from engine.ruleset.model import Case

POINTS, CASHBACK, COUPON, TIER = "points", "cashback", "coupon", "tier"
REWARDS: Final = (POINTS, CASHBACK, COUPON, TIER)
MONEY: Final = (POINTS, CASHBACK, COUPON)
"""Rewards that cost money: each needs a cap."""

BANDIT: Final = "bandit"
FIRST: Final = "first"
CHOOSERS: Final = (FIRST, BANDIT)

SHARED: Final = ("device", "card", "address")
"""What customers are counted by who share it. Stored in this order: new ones are added at the end."""

MODES: Final = ("live", "draft")

PERIODS: Final = ("day", "week", "month", "year")
"""Calendar periods of caps, in the customer's zone; the same as `engine.engagement.calendar.PERIODS`."""

DIMENSIONS: Final[dict[str, tuple[str, ...]]] = {
    "lifecycle": ("prospect", "new", "active", "loyal", "at_risk", "lost", "won_back"),
    "value_tier": ("low", "mid", "high"),
    "activity": ("active", "potential", "churned"),
    "membership": ("basic", "silver", "gold", "platinum"),
}
"""States that a transition may lead to; the tables are in `engine.engagement.customer.states`."""

LEADS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "lifecycle": {"prospect": ("new",), "new": ("at_risk", "active"), "active": ("at_risk", "loyal"),
                  "loyal": ("at_risk",), "at_risk": ("lost", "active"), "lost": ("won_back",),
                  "won_back": ("at_risk", "active")},
    "activity": {"potential": ("active", "churned"), "active": ("potential",), "churned": ("active",)},
    "value_tier": {"low": ("mid", "high"), "mid": ("high", "low"), "high": ("low", "mid")},
    "membership": {"basic": ("silver", "gold", "platinum"), "silver": ("gold", "platinum", "basic"),
                   "gold": ("platinum", "silver"), "platinum": ("gold",)},
}  # fmt: skip
"""Where each state may lead to at once."""

ORDERED: Final = ("value_tier", "membership")
"""Dimensions whose states go from low to high."""

TIMERS: Final[dict[str, tuple[str, ...]]] = {
    "birthday": ("at",),
    "since_first_payment": ("after",),
    "since_last_payment": ("after",),
    "since_refund": ("after",),
    "since_registration": ("after",),
    "idle": ("gaps",),
    "personal_hour": ("before",),
    "points_expiring": ("before",),
    "window_closed": (),
}
"""What time can bring, and the keys each needs: a local time of day, a duration after or before, so many usual gaps."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What sets a campaign off.

    Attributes:
        events: event types, () where it is none; `alert.resolved` for a decision found to be wrong.
        dimension: of a transition, "" where it is none; `steps`: from which state to which, each that counts.
        timer: one of `TIMERS`, "" where it is none.
        after_ms: before or after what the timer is about, so long; several for `points_expiring`.
        gaps: of `idle`; minute: local minute of the day, of `birthday`.
    """

    events: tuple[str, ...] = ()
    dimension: str = ""
    steps: tuple[tuple[str, str], ...] = ()
    timer: str = ""
    after_ms: tuple[int, ...] = ()
    gaps: float = 0.0
    minute: int = 0

    @property
    def name(self) -> str:
        """What it is, in a word: `payment.settled`, `lifecycle`, `birthday`."""
        return " or ".join(self.events) or self.dimension or self.timer


@dataclass(frozen=True, slots=True)
class Reward:
    """What is granted.

    Attributes:
        kind: one of `REWARDS`.
        amount: how much: points, or major units of the currency; of a coupon how many.
        most: the amount is at most this; None for no bound.
        currency: of cashback, and of what a coupon is worth.
        value: of a coupon, for whoever redeems it, such as `8.00` or `10%, at most 5.00`; "" for others.
        worth: of a coupon: what one costs at most, in major units of the currency; 0 where that is not said.
        both: the customer who referred this one gets the same.
    """

    kind: str
    amount: ir.Node
    most: float | None = None
    currency: str = ""
    value: str = ""
    worth: float = 0.0
    both: bool = False


@dataclass(frozen=True, slots=True)
class OfferSpec:
    """What is offered, or said: `id` within its campaign, kind, value, channel hint; how long it stands; `worth`: what
    it costs at most once it is used, in major units of `currency`, 0 where it costs nothing."""

    id: str
    kind: str
    value: str
    channel: str
    expires_ms: int
    worth: float = 0.0
    currency: str = ""


ALERT_RESOLVED: Final = "alert.resolved"
"""A trigger: a decision that was found to be wrong. It brings no fields of an event."""

REFERRER: Final = "referrer"
"""Beside entities, what a cap may be `by`: whoever referred the customer, for what both get."""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so much: `times` or `amount` (the other is 0) in `period` (calendar) or `per_ms` (elapsed), of each value
    of the entity `by`; in all time where neither is given. Of an `amount` what is left is granted. `required`: where an
    event does not name the entity, nothing is given; else the cap does not bind then."""

    by: str
    times: int = 0
    amount: float = 0.0
    period: str = ""
    per_ms: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True)
class Money:
    """A budget: minor units of a currency, or points where that is ""."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What makes a grant suspicious.

    Attributes:
        code: reason code of the alert.
        when: it is; value: that it shows; what: that is, for people, with a place for it.
        shared: where it counts who shares something, what that is, as in `SHARED`; else "".
        most: so many who share it are no cause yet.
    """

    code: str
    when: ir.Node = field(compare=False)
    value: ir.Node = field(compare=False)
    what: str
    shared: str = ""
    most: int = 0


@dataclass(frozen=True, slots=True)
class CampaignCase:
    """An in-file test: an event, values of features and of the customer, and what is expected.

    Attributes:
        event: as of a rule's test; without a `type` where time or a transition sets the campaign off.
        customer: values of `customer.NAME`; None for missing.
        granted: whether something is to come of it; frozen: and be held, because it looks like abuse.
        amount: what is to be granted, None where the test does not say.
        line: where it is, from 1.
    """

    event: Case
    customer: dict[str, float | str | bool | None]
    granted: bool
    amount: float | None
    line: int
    frozen: bool = False


def campaign_key(campaign_id: str, version: int) -> str:
    """By what budgets, tallies and business keys know a campaign."""
    return f"{campaign_id}:{version}"


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign.

    Attributes:
        id: unique; version: part of the business key, so a new version may grant again.
        description, owner, tags: for people.
        trigger: what sets it off.
        when: it does something where this holds.
        reward: what is granted, None where it only offers.
        offers: what is offered, one of them is chosen; `choose`: one of `CHOOSERS`.
        send: "now", "personal_hour", or a local time of day `HH:MM`.
        occasion: what it is granted once for: "event" (payment or event), "period" (that of the first calendar cap),
            "customer" (once for ever).
        hold_ms: how long a reward stays pending; expires_months: then it lasts so long, 0 for ever.
        caps, budget: bounds. valid_from_ms, valid_to_ms: event times, None for no bound.
        consent: purpose that must be agreed to, "" for none; quiet: minutes of the local day, None for none.
        priority, group: of several campaigns of a group the one of the highest priority, "" for no group.
        holdout: share of customers who get nothing, to compare with.
        reversal: R1, R2 or R3 (`engine.engagement.ledger.lots`); threshold: with R2, major units that must remain.
        score_max: decisions with a higher blended score earn nothing.
        abuse: what freezes a reward at the moment it is granted; self_referral: so does a referrer who is the customer.
        uses, features: as of a rule.
        live: it runs; a draft is checked, tested and tried on histories, and does nothing.
        tests, file, line: as of a rule.
    """

    id: str
    version: int
    description: str
    owner: str
    tags: tuple[str, ...]
    trigger: Trigger
    when: ir.Node
    reward: Reward | None
    offers: tuple[OfferSpec, ...]
    choose: str
    send: str
    occasion: str
    hold_ms: int
    expires_months: int
    caps: tuple[Cap, ...]
    budget: Money | None
    valid_from_ms: int | None
    valid_to_ms: int | None
    consent: str
    quiet: tuple[int, int] | None
    priority: int
    group: str
    holdout: float
    reversal: str
    threshold: float
    score_max: float
    abuse: tuple[Suspicion, ...]
    self_referral: bool
    live: bool
    uses: tuple[str, ...]
    features: tuple[int, ...]
    tests: tuple[CampaignCase, ...] = field(repr=False, compare=False)
    file: str
    line: int
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Its name and version, by which budgets and business keys know it."""
        object.__setattr__(self, "key", campaign_key(self.id, self.version))

    @property
    def why(self) -> str:
        """What entries and offers of it say."""
        return f"{self.description or self.id} ({self.key})"

    def runs_at(self, time_ms: int) -> bool:
        """Whether it is valid at an event time."""
        begun = self.valid_from_ms is None or time_ms >= self.valid_from_ms
        return begun and (self.valid_to_ms is None or time_ms < self.valid_to_ms)
