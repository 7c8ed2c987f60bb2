"""From a campaign that is due to a reward or an offer: every check, in one order.

In force, condition, payment not refused, consent, silence after a bad answer, occasion not used, caps, holdout, budget.
The first that says no ends it. What is granted carries its business key, so a repeat grants nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

from engine.domain.currencies import EXPONENTS
from engine.domain.ids import output_id
from engine.domain.outputs import Offer
from engine.domain.times import rfc3339
from engine.engagement.calendar import add_months, next_minute, period, quiet_until
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause, entries, lot_number
from engine.engagement.ledger.lots import ACTIVATE, KINDS, REVERSE_PENDING, Movement, Terms
from engine.engagement.marketing.budgets import Budgets, key_of
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offers import Open
from engine.ruleset.campaigns.conditions import Conditions, units
from engine.ruleset.campaigns.model import Campaign, OfferSpec
from engine.ruleset.row import Row

DOUBTED_HOLD: Final = 2
"""Times the hold, for payments that were not simply approved."""
TRUSTED_DAYS: Final = 365
TRUSTED_HOLD: Final = 0.5
"""Of the hold, for customers of a year who never had a chargeback."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the operator's to say.

    Attributes:
        exponent: of the base currency.
        salt: of the holdouts; another salt draws others.
        holdout: share of customers who get no campaign at all, to compare with; 0 for none.
    """

    exponent: int = 2
    salt: str = "steward"
    holdout: float = 0.0


class Due(NamedTuple):
    """A campaign and what set it off for a customer.

    Attributes:
        place: of the campaign among those in force.
        at_ms: when; event_id: of the event, `timer` for none.
        occasion: what it is granted once for.
        row: as conditions see it, the customer too.
        payment: hash of the payment, 0 for none; payment_id its text.
    """

    place: int
    at_ms: int
    event_id: str
    occasion: str
    row: Row
    payment: int = 0
    payment_id: str = ""


@dataclass(slots=True)
class Granting:
    """Campaigns in force, their conditions and their budgets."""

    campaigns: list[Campaign]
    conditions: Conditions
    rules: Rules = field(default_factory=Rules)
    budgets: Budgets = field(default_factory=Budgets)
    _known: dict[str, Campaign] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Know campaigns by what lots and offers name."""
        self._known = {key_of(campaign): campaign for campaign in self.campaigns}

    def of(self, key: str) -> Campaign | None:
        """The campaign of an id and version, None where it is not in force."""
        return self._known.get(key)

    def grant(self, customer_id: str, customer: Customer, due: Due) -> list[Made]:
        """What a campaign gives a customer now: entries or an offer, or nothing."""
        campaign = self.campaigns[due.place]
        if not self._open(campaign, customer, due):
            return []
        occasion = _occasion(campaign, customer, due)
        number = lot_number(campaign.id, campaign.version, customer_id, occasion)
        if number in customer.ledger.done or _stays(number) in customer.ledger.done:
            return []
        room = customer.counts.room(campaign.id, campaign.caps, due.at_ms, customer.zone)
        held = self.held(campaign, customer_id)
        if campaign.reward is None:
            return self._offer(customer_id, customer, campaign, due, number, held) if room > 0 else []
        amount = min(self.conditions.amount(due.place, due.row), room)
        if held or amount <= 0:
            return []
        return self._reward(customer_id, customer, campaign, due, number, occasion, amount)

    def held(self, campaign: Campaign, customer_id: str) -> bool:
        """Whether a customer is held out, of the campaign or of all: by a salted hash, for ever the same."""
        return (
            _draw(self.rules.salt, "all", customer_id) < self.rules.holdout
            or _draw(self.rules.salt, key_of(campaign), customer_id) < campaign.holdout
        )

    def moved(self, customer: Customer, moved: Sequence[Movement]) -> None:
        """Movements of lots settle what was promised of budgets: what becomes active is spent, what is taken back
        before that can be promised again."""
        for movement in moved if self.budgets.of else ():
            settle = _SETTLES.get(movement.op)
            if settle is not None:
                terms = customer.ledger.lots[movement.lot].terms
                key = f"{terms.campaign}:{terms.version}"
                settle(self.budgets, key, self._cost(self._known.get(key), movement.amount))

    def _cost(self, campaign: Campaign | None, units: int) -> int:
        """What so many units of a campaign's reward cost its budget; 0 where it has none, or is not in force."""
        if campaign is None or campaign.budget is None or campaign.reward is None:
            return 0
        return units * self._worth(campaign) if campaign.reward.kind == "coupon" else units

    def exponent_of(self, currency: str) -> int:
        """Of a currency, the base currency's where it is not known."""
        return EXPONENTS.get(currency, self.rules.exponent)

    def _open(self, campaign: Campaign, customer: Customer, due: Due) -> bool:
        """Whether the campaign may do anything for this customer now."""
        early = campaign.valid_from_ms is not None and due.at_ms < campaign.valid_from_ms
        if early or (campaign.valid_to_ms is not None and due.at_ms >= campaign.valid_to_ms):
            return False
        payment = customer.ledger.payments.get(due.payment)
        if payment is not None and (payment.blocked or payment.risk > 100 * campaign.score_max):
            return False
        if campaign.consent and (not customer.consent.get(campaign.consent) or customer.muted(due.at_ms)):
            return False
        return self.conditions.holds(due.place, due.row)

    def _reward(
        self,
        customer_id: str,
        customer: Customer,
        campaign: Campaign,
        due: Due,
        number: int,
        occasion: str,
        amount: float,
    ) -> list[Made]:
        reward = campaign.reward
        assert reward is not None
        exponent = self.exponent_of(reward.currency)
        whole = units(reward, amount, exponent)
        cost = self._cost(campaign, whole)
        if whole <= 0 or not self.budgets.reserve(campaign, cost):
            return []
        terms = Terms(
            campaign.id,
            campaign.version,
            KINDS.index(reward.kind),
            reward.currency if reward.kind == "cashback" else "",
            due.payment,
            due.at_ms + self._hold(campaign, customer, due),
            0,
            campaign.reversal,
            round(campaign.threshold * 10**self.rules.exponent),
        )
        if campaign.expires_months:
            ends = add_months(terms.available_ms, campaign.expires_months, customer.zone)
            terms = terms._replace(expires_ms=ends)
        moved = customer.ledger.grant(number, terms, whole, due.at_ms)
        if not moved:
            self.budgets.release(key_of(campaign), cost)
            return []
        if due.payment and campaign.occasion != "event":
            customer.ledger.use(_stays(number))  # the lot's own key goes with its payment, for which it stands
        customer.counts.count(campaign.id, campaign.caps, amount, due.at_ms, customer.zone)
        why = f"{campaign.description or campaign.id} ({key_of(campaign)})"
        cause = Cause(due.event_id, due.payment_id or occasion, why)
        return list(entries(customer.ledger, customer_id, moved, cause, exponent))

    def _offer(
        self, customer_id: str, customer: Customer, campaign: Campaign, due: Due, number: int, held: bool
    ) -> list[Made]:
        cost = self._worth(campaign)
        if not held and not self.budgets.reserve(campaign, cost):
            return []
        spec, propensity = self._choose(campaign, customer_id, due)
        customer.ledger.use(number)
        customer.counts.count(campaign.id, campaign.caps, 1.0, due.at_ms, customer.zone)
        if spec is None:
            return []
        send_ms = self._send(campaign, customer, due.at_ms)
        offer_id = output_id("offer", key_of(campaign), customer_id, f"{number:016x}", spec.id)
        one = Open(offer_id, campaign.id, campaign.version, spec.id, send_ms, send_ms + spec.expires_ms, due.payment,
                   campaign.consent, 0 if held else cost, held)  # fmt: skip
        for old in customer.offers.issue(one) if not held else ():
            self.budgets.release(f"{old.campaign}:{old.version}", old.minor)
        why = f"{campaign.description or campaign.id} ({key_of(campaign)})"
        return [(due.at_ms, offer_of(one, spec, customer_id, "issued", propensity, held, why))]

    def _choose(self, campaign: Campaign, customer_id: str, due: Due) -> tuple[OfferSpec | None, float | None]:
        """The offer of a campaign with one; bandits are asked by whoever knows the context."""
        return campaign.offers[0], None

    def _worth(self, campaign: Campaign) -> int:
        """What a coupon or offer costs the campaign's budget at most, in minor units."""
        if campaign.budget is None:
            return 0
        most = [campaign.reward.worth] if campaign.reward is not None else [one.worth for one in campaign.offers]
        return round(max(most) * 10.0 ** self.exponent_of(campaign.budget.currency))

    def _hold(self, campaign: Campaign, customer: Customer, due: Due) -> int:
        """How long a reward is held: longer for a risky payment, shorter for a trusted customer."""
        payment = customer.ledger.payments.get(due.payment)
        if payment is not None and payment.risk:
            return DOUBTED_HOLD * campaign.hold_ms
        tenure = (due.at_ms - customer.registered_ms) / 86_400_000
        trusted = customer.registered_ms > 0 and tenure >= TRUSTED_DAYS and customer.states.of("lifecycle") == "loyal"
        return int(campaign.hold_ms * TRUSTED_HOLD) if trusted else campaign.hold_ms

    def _send(self, campaign: Campaign, customer: Customer, at_ms: int) -> int:
        """When an offer goes out: now, at the customer's own hour or a time of day, never in quiet hours."""
        if campaign.send == "personal_hour":
            hour, share = customer.history.peak(customer.zone)
            at_ms = next_minute(at_ms, hour * 60, customer.zone) if share == share else at_ms
        elif campaign.send != "now":
            hours, minutes = campaign.send.split(":")
            at_ms = next_minute(at_ms, int(hours) * 60 + int(minutes), customer.zone)
        return quiet_until(at_ms, campaign.quiet, customer.zone)


def offer_of(
    one: Open, spec: OfferSpec, customer_id: str, status: str, propensity: float | None, held: bool, why: str
) -> Offer:
    """An offer as it is put out."""
    return Offer(
        offer_id=one.offer_id,
        customer_id=customer_id,
        campaign_id=one.campaign,
        kind=spec.kind,
        value=spec.value,
        send_at=rfc3339(one.send_ms),
        expires_at=rfc3339(one.expires_ms),
        channel_hint=spec.channel or None,
        propensity=propensity,
        status=status,  # type: ignore[arg-type]
        holdout=held,
        why=why,
    )


_SETTLES: Final = {ACTIVATE: Budgets.spend, REVERSE_PENDING: Budgets.release}


def _stays(number: int) -> int:
    """The business key of a lot that another payment must not grant again, whenever the first is forgotten."""
    return number ^ 0x5DEECE66D5DEECE6


def _occasion(campaign: Campaign, customer: Customer, due: Due) -> str:
    """What a campaign gives something once for."""
    if campaign.occasion == "customer":
        return ""
    if campaign.occasion == "period":
        cap = next(cap for cap in campaign.caps if cap.by == "customer" and cap.period)
        return period(due.at_ms, cap.period, customer.zone)
    return due.occasion


def _draw(*parts: str) -> float:
    """A number in [0, 1) from a hash of texts."""
    digest = blake2b("\x00".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64
