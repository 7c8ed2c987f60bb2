"""From a campaign that is due to a reward or an offer: every check, in one order.

In force, condition, payment not refused, consent, silence after a bad answer, occasion not used, caps, holdout, budget.
The first that says no ends it. What is granted carries its business key, so a repeat grants nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from engine.domain.currencies import EXPONENTS
from engine.domain.draws import drawn
from engine.domain.events import ControlReward
from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ids import output_id
from engine.domain.outputs import Offer
from engine.domain.times import rfc3339
from engine.engagement.calendar import add_months, next_minute, period, quiet_until
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause, entries
from engine.engagement.ledger.keys import KEY_BITS, earned_number, lot_hash, lot_number
from engine.engagement.ledger.ledger import HORIZON_MS, Payment
from engine.engagement.ledger.lots import (
    ACTIVATE,
    AWAITS,
    COUPON,
    KEEP,
    KINDS,
    OWE,
    REVERSE_ACTIVE,
    REVERSE_PENDING,
    Movement,
    Terms,
)
from engine.engagement.marketing.abuse import FROZEN, freeze
from engine.engagement.marketing.budgets import Budgets, key_of
from engine.engagement.marketing.choosing import RISK_MS, Bandits, Chosen, context_of
from engine.engagement.marketing.effects import Effects, Tally
from engine.engagement.marketing.happening import Made, row_of_nothing
from engine.engagement.marketing.identities import Identities
from engine.engagement.marketing.offers import Open
from engine.engagement.marketing.referring import share
from engine.ruleset.campaigns.conditions import Conditions, read_of_customer, units
from engine.ruleset.campaigns.model import BANDIT, REFERRER, Campaign, OfferSpec
from engine.ruleset.campaigns.suspecting import Found
from engine.ruleset.row import Row

DOUBTED_HOLD: Final = 2
"""Times the hold, for payments that were not simply approved."""
CHANGED_BY_GRANTS: Final = ("points_pending",)
"""What campaigns may read of a customer that a grant changes: all of one event read it as it was before the first."""
MARKETING: Final = "marketing"
"""The purpose that campaigns without one of their own need to learn from a customer by trial."""
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
    """Campaigns in force, their conditions, their budgets and what they did."""

    campaigns: list[Campaign]
    conditions: Conditions
    rules: Rules = field(default_factory=Rules)
    budgets: Budgets = field(default_factory=Budgets)
    effects: Effects = field(default_factory=Effects)
    bandits: Bandits = field(default_factory=Bandits)
    letters: list[ControlReward] = field(default_factory=list)
    identities: Identities = field(default_factory=Identities)
    origins: dict[str, tuple[str, Customer, int]] = field(default_factory=dict)
    early: tuple[str, ...] = field(init=False, default=())  # of the customer, what grants change while others are asked
    _known: dict[str, Campaign] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Know campaigns by what lots and offers name."""
        self._known = {key_of(campaign): campaign for campaign in self.campaigns}
        names = {name for campaign in self.campaigns for name in read_of_customer(campaign)}
        self.early = tuple(sorted(names.intersection(CHANGED_BY_GRANTS)))
        for key, campaign in self._known.items():
            if campaign.choose == BANDIT:
                self.bandits.adopt(key, campaign)
            if campaign.reward is not None:
                reward = campaign.reward
                self.effects.tally(key).describe(reward.kind, reward.currency, reward.worth)
            else:
                self.effects.tally(key).describe(
                    "offer", next((o.currency for o in campaign.offers if o.worth), ""), 0.0
                )

    def of(self, key: str) -> Campaign | None:
        """The campaign of an id and version, None where it is not in force."""
        return self._known.get(key)

    def grant(self, customer_id: str, customer: Customer, due: Due) -> list[Made] | None:
        """What a campaign that is open gives a customer now, entries or an offer; an empty list where it would have but
        for the holdout, which uses up the occasion as well; None where it does nothing."""
        campaign = self.campaigns[due.place]
        occasion = _occasion(campaign, customer, due)
        if due.payment and campaign.occasion == "event":
            number = earned_number(campaign.id, campaign.version, due.payment)
        else:
            number = lot_number(campaign.id, campaign.version, customer_id, occasion)
        if number in customer.ledger.done or _stays(number) in customer.ledger.done:
            return None
        room = customer.counts.room(campaign.id, campaign.caps, due.at_ms, customer.zone)
        if due.place in self.identities.bounds:
            return self._claim(customer_id, customer, campaign, due, number, occasion, room)
        return self._give(customer_id, customer, campaign, due, number, occasion, room)

    def _claim(
        self,
        customer_id: str,
        customer: Customer,
        campaign: Campaign,
        due: Due,
        number: int,
        occasion: str,
        room: float,
    ) -> list[Made] | None:
        """Give, within what is left to whoever has the device, card or what else a cap is by; and claim it."""
        claim, strings, caps = lot_hash(customer_id, number), due.row.strings, self.identities
        room = min(room, caps.room(due.place, claim, strings, due.at_ms, customer.zone)) if room > 0 else room
        made = self._give(customer_id, customer, campaign, due, number, occasion, room)
        if made is not None:
            amount = self.conditions.amount(due.place, due.row) if campaign.reward is not None else 1.0
            caps.take(due.place, claim, strings, min(amount, room), due.at_ms)
        return made

    def _give(
        self,
        customer_id: str,
        customer: Customer,
        campaign: Campaign,
        due: Due,
        number: int,
        occasion: str,
        room: float,
    ) -> list[Made] | None:
        """Give what there is room for, unless the customer is held out."""
        if room <= 0:
            return None
        if campaign.reward is None:
            held = self.held(campaign, customer_id)
            return self._offer(customer_id, customer, campaign, due, number, held)
        amount = min(self.conditions.amount(due.place, due.row), room)
        whole = units(campaign.reward, amount, self.exponent_of(campaign.reward.currency))
        if whole <= 0 or customer.ledger.over(due.payment, due.at_ms):
            return None
        if self.held(campaign, customer_id):
            return self._withhold(customer, campaign, due, number, amount, whole)
        return self._reward(customer_id, customer, campaign, due, number, occasion, amount, whole)

    def held(self, campaign: Campaign, customer_id: str) -> bool:
        """Whether a customer is held out, of the campaign or of all: by a salted hash, for ever the same."""
        salt, everywhere, here = self.rules.salt, self.rules.holdout, campaign.holdout
        return (everywhere > 0 and drawn(salt, "all", customer_id) < everywhere) or (
            here > 0 and drawn(salt, key_of(campaign), customer_id) < here
        )

    def moved(self, customer: Customer, moved: Sequence[Movement]) -> None:
        """Movements of lots settle what was promised of budgets: what becomes active is spent, what is taken back
        before that can be promised again. What is taken back was no cost."""
        for movement in moved:
            settle = _SETTLES.get(movement.op)
            if settle is None and movement.op not in _TAKES:
                continue
            terms = customer.ledger.lots[movement.lot].terms
            key = f"{terms.campaign}:{terms.version}"
            if settle is not None:
                campaign = self._known.get(key)
                if campaign is not None:
                    settle(self.budgets, key, self._cost(campaign, movement.amount))
                elif terms.kind != COUPON:  # not in force any more; what coupons cost is not known then
                    settle(self.budgets, key, movement.amount)
            if movement.op in _TAKES:
                self.effects.tally(key).taken += movement.amount
                self.effects.give(key, -movement.amount, customer.exposures)
                customer.choices.cost(key, -movement.amount)  # of an offer that was used and is owed

    def used(self, customer: Customer, offer: Open, minor: int) -> None:
        """A customer took an offer up: what is promised for it is spent, and so much is what it cost."""
        key = f"{offer.campaign}:{offer.version}"
        self.budgets.spend(key, offer.minor)
        self.effects.tally(key).used += minor
        self.effects.give(key, minor, customer.exposures)
        customer.choices.cost(key, minor)

    def _cost(self, campaign: Campaign, units: int) -> int:
        """What so many units of a campaign's reward cost its budget; 0 where it has none."""
        if campaign.budget is None or campaign.reward is None:
            return 0
        return units * self._worth(campaign) if campaign.reward.kind == "coupon" else units

    def exponent_of(self, currency: str) -> int:
        """Of a currency, the base currency's where it is not known."""
        return EXPONENTS.get(currency, self.rules.exponent)

    def opens(self, place: int, customer: Customer, at_ms: int, row: Row, payment: int = 0) -> bool:
        """Whether a campaign may do anything for this customer now; of the payment whose hash that is."""
        campaign = self.campaigns[place]
        early = campaign.valid_from_ms is not None and at_ms < campaign.valid_from_ms
        if early or (campaign.valid_to_ms is not None and at_ms >= campaign.valid_to_ms):
            return False
        entry = customer.ledger.payments.get(payment)
        if payment and customer.ledger.over(payment, at_ms):
            return False
        known = entry is not None and entry.seen_ms >= at_ms - HORIZON_MS  # older ones may have been forgotten
        if entry is not None and known and (entry.blocked or (entry.risk and _dear(entry, campaign))):
            return False
        if campaign.consent and (not customer.consent.get(campaign.consent) or customer.muted(at_ms)):
            return False
        return self.conditions.holds(place, row)

    def _reward(
        self,
        customer_id: str,
        customer: Customer,
        campaign: Campaign,
        due: Due,
        number: int,
        occasion: str,
        amount: float,
        whole: int,
    ) -> list[Made] | None:
        reward = campaign.reward
        assert reward is not None
        cost = self._cost(campaign, whole)
        if not self.budgets.reserve(campaign, cost):
            return None
        moved = customer.ledger.grant(number, self._terms(customer, campaign, due), whole, due.at_ms)
        if not moved:
            self.budgets.release(key_of(campaign), cost)
            return None
        if due.payment and campaign.occasion != "event":
            customer.ledger.use(_stays(number))  # the lot's own key goes with its payment, for which it stands
        tally = self._count(customer, campaign, due, amount, held=False)
        tally.grants += 1
        tally.granted += whole
        self.effects.give(key_of(campaign), whole, customer.exposures)
        why = f"{campaign.description or campaign.id} ({key_of(campaign)})"
        found = self.conditions.suspected(due.place, due.row) if campaign.abuse else []
        frozen = self.freeze(customer_id, customer, campaign, found, number, due.event_id, due.at_ms) if found else None
        if frozen is None:
            for letter in share(campaign, customer_id, customer, number, due.at_ms, due.event_id):
                self.letters.append(letter)
                self.origins[letter.event_id] = customer_id, customer, number
                if letter.units:  # what whoever referred them gets is a cost of the same
                    self.effects.give(key_of(campaign), letter.units, customer.exposures)
        cause = Cause(due.event_id, due.payment_id or occasion, why if frozen is None else why + FROZEN)
        made: list[Made] = list(entries(customer.ledger, customer_id, moved, cause, self.exponent_of(reward.currency)))
        return made if frozen is None else made + frozen

    @staticmethod
    def freeze(
        customer_id: str, customer: Customer, campaign: Campaign, found: list[Found], number: int, event_id: str,
        at_ms: int,
    ) -> list[Made] | None:  # fmt: skip
        """Freeze what was granted, unless somebody has looked at the same before: the alert, or none where one stands
        for it already. None where nothing is frozen."""
        suspects = customer.suspected.of(found, at_ms)
        if not suspects:
            return None
        alert = freeze(customer.suspected, customer.ledger, customer_id, suspects, number, campaign.id, event_id, at_ms)
        return [] if alert is None else [(at_ms, alert)]

    def _terms(self, customer: Customer, campaign: Campaign, due: Due) -> Terms:
        """What a reward is granted under."""
        reward = campaign.reward
        assert reward is not None
        available_ms, months = due.at_ms + self._hold(campaign, customer, due), campaign.expires_months
        threshold = campaign.threshold
        return Terms(
            campaign.id,
            campaign.version,
            KINDS.index(reward.kind),
            reward.currency if reward.kind == "cashback" else "",
            due.payment,
            available_ms,
            add_months(available_ms, months, customer.zone) if months else 0,
            campaign.reversal + AWAITS * self._ahead(campaign, customer, due),
            round(threshold * 10 ** self.exponent_of(due.row.text("currency") or "")) if threshold else 0,
        )

    def refer(self, referrer: Customer, told: ControlReward, campaign: Campaign, at_ms: int) -> list[Movement]:
        """What whoever referred a customer gets, decided once for each of them: within the caps by referrer and the
        budget of their shard, unless they are held out themselves."""
        reward, ledger, referrer_id = campaign.reward, referrer.ledger, told.customer_id or ""
        assert reward is not None
        payment, occasion = int(told.share_id or "0", 16), f"referred {told.referral_id}"
        number = lot_number(campaign.id, campaign.version, referrer_id, occasion)
        if number in ledger.done or payment in ledger.done:
            return []
        caps = tuple(replace(cap, by="customer") for cap in campaign.caps if cap.by == REFERRER)
        counter, cost = f"{campaign.id}:{REFERRER}", self._cost(campaign, told.units)
        places = self.exponent_of(reward.currency) if reward.kind == "cashback" else 0
        amount = told.units / 10.0**places
        self.budgets.know(campaign)
        room = referrer.counts.room(counter, caps, at_ms, referrer.zone)
        if self.held(campaign, referrer_id) or room < amount or not self.budgets.reserve(campaign, cost):
            ledger.use(number)
            return []
        due = Due(0, at_ms, told.cause_event_id, occasion, row_of_nothing(0, at_ms), payment)
        moved = ledger.grant(number, self._terms(referrer, campaign, due), told.units, at_ms)
        referrer.counts.count(counter, caps, amount, at_ms, referrer.zone)
        tally = self.effects.tally(key_of(campaign))
        tally.grants += 1
        tally.granted += told.units
        return [*moved, *ledger.reclaim(payment, at_ms)]

    def _withhold(
        self, customer: Customer, campaign: Campaign, due: Due, number: int, amount: float, whole: int
    ) -> list[Made] | None:
        """The customer is held out: all happens that would have, but for the reward."""
        if not self.budgets.allows(campaign, self._cost(campaign, whole)):
            return None
        if not due.payment or campaign.occasion != "event":  # a payment settles once: it stands for its own key
            customer.ledger.use(number)
        self._count(customer, campaign, due, amount, held=True)
        return []

    def _count(self, customer: Customer, campaign: Campaign, due: Due, amount: float, *, held: bool) -> Tally:
        """An occasion is used up: it counts for caps and, where somebody is held out, as an exposure."""
        key = key_of(campaign)
        tally = self.effects.tally(key)
        tally.held += held
        tally.reach += not held and campaign.id not in customer.counts.of
        customer.counts.count(campaign.id, campaign.caps, amount, due.at_ms, customer.zone)
        if campaign.holdout or self.rules.holdout:
            self.effects.open(key, held, due.at_ms, customer.exposures, customer.history)
        return tally

    def _offer(
        self, customer_id: str, customer: Customer, campaign: Campaign, due: Due, number: int, held: bool
    ) -> list[Made] | None:
        cost = self._worth(campaign)
        if not (self.budgets.allows if held else self.budgets.reserve)(campaign, cost):
            return None
        spec, propensity = self._choose(customer_id, customer, campaign, due, number, held)
        customer.ledger.use(number)
        tally = self._count(customer, campaign, due, 1.0, held=held)
        if spec is None:
            if not held:
                self.budgets.release(key_of(campaign), cost)
            return []
        tally.offers += not held
        send_ms = self.send_ms(campaign, customer, due.at_ms)
        offer_id = output_id("offer", key_of(campaign), customer_id, f"{number:016x}", spec.id)
        one = Open(offer_id, campaign.id, campaign.version, spec.id, send_ms, send_ms + spec.expires_ms, due.payment,
                   campaign.consent, 0 if held else cost, held)  # fmt: skip
        for old in customer.offers.issue(one) if not held else ():
            self.budgets.release(f"{old.campaign}:{old.version}", old.minor)
        why = f"{campaign.description or campaign.id} ({key_of(campaign)})"
        return [(due.at_ms, offer_of(one, spec, customer_id, "issued", propensity, held, why))]

    def _choose(
        self, customer_id: str, customer: Customer, campaign: Campaign, due: Due, number: int, held: bool
    ) -> tuple[OfferSpec | None, float | None]:
        """The first offer, or what a bandit chooses, None for none; and the probability with which it was chosen."""
        if campaign.choose != BANDIT:
            return campaign.offers[0], None
        key, context = key_of(campaign), context_of(due.row.customer)
        draw = drawn(self.rules.salt, "choice", key, customer_id, f"{number:016x}")
        explore = customer.consent.get(campaign.consent or MARKETING, False) and not _risky(customer, due.at_ms)
        choice = self.bandits.choose(key, context, draw, explore=explore)
        if not held:  # who gets nothing teaches nothing of it
            customer.choices.open(key, Chosen(due.at_ms, choice.arm, choice.propensity, context, 0))
        return campaign.offers[choice.arm] if choice.arm < len(campaign.offers) else None, choice.propensity

    @staticmethod
    def _ahead(campaign: Campaign, customer: Customer, due: Due) -> bool:
        """Whether a reward is granted before its payment has settled, and waits for that."""
        if not due.payment or not campaign.hold_ms or campaign.reversal == KEEP:
            return False
        entry = customer.ledger.payments.get(due.payment)
        return not (entry is not None and entry.settled) and due.row.strings[_TYPE] in _BEFORE_SETTLEMENT

    def _worth(self, campaign: Campaign) -> int:
        """What a coupon or offer costs the campaign's budget at most, in minor units."""
        if campaign.budget is None:
            return 0
        most = [campaign.reward.worth] if campaign.reward is not None else [one.worth for one in campaign.offers]
        return round(max(most) * 10.0 ** self.exponent_of(campaign.budget.currency))

    def _hold(self, campaign: Campaign, customer: Customer, due: Due) -> int:
        """How long a reward is held: longer for a risky payment, shorter for a trusted customer."""
        payment = customer.ledger.payments.get(due.payment)
        if payment is not None and payment.doubted:
            return DOUBTED_HOLD * campaign.hold_ms
        tenure = (due.at_ms - customer.registered_ms) / 86_400_000
        trusted = customer.registered_ms > 0 and tenure >= TRUSTED_DAYS and customer.states.of("lifecycle") == "loyal"
        return int(campaign.hold_ms * TRUSTED_HOLD) if trusted else campaign.hold_ms

    def send_ms(self, campaign: Campaign, customer: Customer, at_ms: int) -> int:
        """When an offer goes out: now, at the customer's own hour or a time of day, never in quiet hours."""
        if campaign.send == "personal_hour":
            hour, share = customer.history.peak(customer.zone)
            at_ms = next_minute(at_ms, hour * 60, customer.zone) if share == share else at_ms
        elif campaign.send != "now":
            hours, minutes = campaign.send.split(":")
            at_ms = next_minute(at_ms, int(hours) * 60 + int(minutes), customer.zone)
        return quiet_until(at_ms, campaign.quiet, customer.zone)


def ranked(campaigns: Sequence[Campaign]) -> list[int]:
    """The places of campaigns in the order in which one event sets them off: by priority, then as in the files."""
    return sorted(range(len(campaigns)), key=lambda place: (-campaigns[place].priority, place))


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


_TYPE: Final = STRING_INDEX["type"]
_BEFORE_SETTLEMENT: Final = {hash64(f"payment.{name}") for name in ("requested", "authorised", "captured")}
_TAKES: Final = frozenset((REVERSE_PENDING, REVERSE_ACTIVE, OWE))
_SETTLES: Final = {ACTIVATE: Budgets.spend, REVERSE_PENDING: Budgets.release}


def _stays(number: int) -> int:
    """The business key of a lot that another payment must not grant again, whenever the first is forgotten."""
    return number ^ 0x5DEECE66D5DEECE6 >> 64 - KEY_BITS


def _dear(payment: Payment, campaign: Campaign) -> bool:
    """Whether the score of a payment's decision is above what a campaign takes."""
    return payment.score > round(100 * campaign.score_max)


def _risky(customer: Customer, now_ms: int) -> bool:
    """A payment of the last month was doubted or refused, or one was charged back."""
    since = now_ms - RISK_MS
    doubted = any((one.doubted or one.blocked) and one.seen_ms > since for one in customer.ledger.payments.values())
    return doubted or customer.disputed_ms > since


def _occasion(campaign: Campaign, customer: Customer, due: Due) -> str:
    """What a campaign gives something once for."""
    if campaign.occasion == "customer":
        return ""
    if campaign.occasion == "period":
        cap = next(cap for cap in campaign.caps if cap.by == "customer" and cap.period)
        return period(due.at_ms, cap.period, customer.zone)
    return due.occasion
