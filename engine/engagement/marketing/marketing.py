"""Engagement of one shard's customers: time and events in; rewards, offers, transitions and alerts out.

Pure and deterministic: everything follows from the customer's own record, what the shard knows of all (`Population`,
budgets), and what it is told. Before an event is taken in, time comes up to it (`advance`), one instant after another:
the ledger's movements, transitions, campaigns whose timer is due, offers whose time to be sent has come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.domain.events import ControlReward
from engine.domain.times import rfc3339
from engine.engagement.customer.customer import Customer
from engine.engagement.customer.states import NEVER
from engine.engagement.ledger.entries import Cause
from engine.engagement.marketing import accounts, referrers
from engine.engagement.marketing.abuse import RESOLVED
from engine.engagement.marketing.accounting import book, cause_of
from engine.engagement.marketing.due import Due
from engine.engagement.marketing.feedback import answered
from engine.engagement.marketing.freezing import resolved
from engine.engagement.marketing.giving import run
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.opening import opens
from engine.engagement.marketing.programme import TIMER, Programme
from engine.engagement.marketing.redeeming import offer_redeemed, points_redeemed
from engine.engagement.marketing.referring import follow, standing
from engine.engagement.marketing.sending import send
from engine.engagement.marketing.settling import called_off, given_back, labelled, settled
from engine.engagement.marketing.transitions import transit
from engine.ruleset.campaigns.model import Campaign


@dataclass(slots=True)
class Marketing(Programme):
    """A programme at work; see the module."""

    def next_due(self, customer: Customer) -> int:
        """When something of a customer is next due by time alone; `NEVER` for nothing."""
        return min(self._own_due(customer), *self._instants(customer))

    def advance(self, customer_id: str, customer: Customer, now_ms: int) -> list[Made]:
        """Bring a customer up to an instant: what is due happens, each at its own time. `due_ms` is what comes next."""
        made, granting = list[Made](), self.granting
        while True:
            instants = self._instants(customer)
            at = min(self._own_due(customer), *instants)
            if at > now_ms:
                break
            if customer.measured:
                granting.effects.observe(customer.exposures.close(at, customer.history))
                granting.bandits.learn(customer.choices.close(at, customer.history))
            set_off = [
                (one.place, one.kind.text(one.campaign.trigger, customer, at))
                for one, when in zip(self.timers, instants, strict=False)
                if when == at
            ]
            for happened in customer.advance(at, self.population):
                made += book(granting, customer_id, customer, happened.moved, Cause(TIMER, rfc3339(happened.at_ms)))
                made += transit(self, customer_id, customer, happened.transitions, TIMER)
            if set_off:
                rows = [self.row(customer, at) for _ in set_off]
                due = (
                    Due(place, at, TIMER, occasion, row)
                    for (place, occasion), row in zip(set_off, rows, strict=True)
                    if opens(granting, place, customer, at, row)
                )
                made += run(granting, customer_id, customer, due)
            if customer.offers.of:
                made += send(granting, customer_id, customer, at)
            customer.clock_ms = max(customer.clock_ms, at)
        customer.clock_ms = max(customer.clock_ms, now_ms)
        self.due_ms = at
        return made

    def _instants(self, customer: Customer) -> list[int]:
        """When the timer of each campaign that has one is next due, in their order, `NEVER` after the last. One that
        needs a consent that is not given does nothing until it is, which is looked at then."""
        after_ms, consent = customer.clock_ms, customer.consent
        found = [
            find(campaign.trigger, campaign, customer, after_ms) if not purpose or consent.get(purpose) else NEVER
            for find, campaign, purpose in self.finds
        ]
        found.append(NEVER)
        return found

    def _own_due(self, customer: Customer) -> int:
        """When something is next due that no campaign's timer brings."""
        due = customer.next_due(self.population)
        if customer.offers.of:
            due = min(due, customer.offers.next_due())
        if customer.measured:
            due = min(due, customer.exposures.next_due(), customer.choices.next_due())
        return due

    def event(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """Take in an event of a customer who has been brought up to it."""
        customer.seen(happening.time_ms)
        before = standing(customer, happening.payment)
        handle = _HANDLERS.get(happening.type)
        made = handle(self, customer_id, customer, happening) if handle is not None else []
        if made is None:  # a repeat under another event id: no campaign either
            return []
        now = max(customer.clock_ms, happening.time_ms)
        if customer.referrer and happening.payment:
            what = happening.payment, before, now, happening.event_id
            self.granting.letters += follow(customer_id, customer, *what)
        places = self.on_event.get(happening.type) if happening.able is None else happening.able
        if places:
            row = self.bound(happening.row(), customer, now)
            why = happening.event_id, happening.payment_id or happening.event_id
            about, granting = happening.payment, self.granting
            due = (
                Due(place, now, *why, row, about, happening.payment_id)
                for place in places
                if opens(granting, place, customer, now, row, about)
            )
            made = made + run(granting, customer_id, customer, due)
        if happening.type == "payment.settled":
            moved = customer.ledger.reclaim(happening.payment, now)
            if moved:
                made += book(
                    self.granting, customer_id, customer, moved, cause_of(happening, "refunded before it settled")
                )
        return made

    def told(
        self, referrer_id: str, referrer: Customer, told: ControlReward, campaign: Campaign | None, at_ms: int
    ) -> list[Made]:
        """Take in what a referrer is told, who has been brought up to it; `campaign`: of a grant, None for none."""
        return referrers.told(self, referrer_id, referrer, told, campaign, at_ms)


_HANDLERS: Final[dict[str, Callable[[Programme, str, Customer, Happening], list[Made] | None]]] = {
    "payment.settled": settled,
    "payment.refunded": given_back,
    "payment.chargeback": given_back,
    "payment.cancelled": called_off,
    "label.assigned": labelled,
    "account.registered": accounts.told,
    "account.updated": accounts.told,
    "account.consent_changed": accounts.told,
    "account.erased": accounts.erased,
    "referral.created": accounts.referred,
    "feedback.submitted": answered,
    "points.redeemed": points_redeemed,
    "offer.redeemed": offer_redeemed,
    RESOLVED: resolved,
}

HANDLED: Final = frozenset(_HANDLERS)
"""Types of event that change a customer's record, whatever campaigns there are."""
