"""Rewards that several payments earned: what is taken from one of them may take the ground of another's reward away.

A reward goes with the payment that set it off (`Ledger.reclaim`). Where its campaign asks something of the customer, a
streak or three payments that come to a hundred, others have earned it with that one. While it is pending it is taken
back, all of it, where what is asked of the customer held at its payment's instant before something was taken from
another payment, and does not hold after. What time or later payments change says nothing against it.
"""

from dataclasses import dataclass

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.lots import KEEP
from engine.engagement.marketing.accounting import book, cause_of
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.referring import forsake
from engine.ruleset.campaigns.model import campaign_key

Pending = tuple[int, int, int]
"""A lot, the place of its campaign, and when its payment settled."""


@dataclass(slots=True)
class Earned:
    """Pending rewards of other payments whose ground holds before something is taken from a payment."""

    programme: Programme
    customer: Customer
    stood: list[Pending]

    @classmethod
    def of(cls, programme: Programme, customer: Customer, payment: int) -> "Earned":
        """As they stand before something is taken from a payment."""
        granting, found = programme.granting, list[Pending]()
        places: dict[str, int] = {}
        for number, lot in sorted(customer.ledger.lots.items()):
            terms = lot.terms
            if not lot.pending or terms.payment in (0, payment) or terms.reversal == KEEP:
                continue
            places = places or {one.key: place for place, one in enumerate(granting.campaigns) if one.trigger.events}
            place, paid = places.get(campaign_key(terms.campaign, terms.version)), customer.history.of(terms.payment)
            if place is not None and paid is not None and granting.conditions.asks_customer(place):
                found.append((number, place, paid.time_ms))
        return cls(programme, customer, [one for one in found if _stands(programme, customer, one)])

    def lost(self, customer_id: str, happening: Happening, what: str, now: int) -> list[Made]:
        """Take back those whose ground is gone, now that it has been taken; `what` it was, in words."""
        granting, ledger, made = self.programme.granting, self.customer.ledger, list[Made]()
        for one in self.stood:
            number = one[0]
            if not ledger.lots[number].pending or _stands(self.programme, self.customer, one):
                continue
            cause = cause_of(happening, f"another payment that earned it was {what}")
            made += book(granting, customer_id, self.customer, ledger.withdraw(number, now), cause)
            granting.letters += forsake(customer_id, self.customer, number, now, happening.event_id)
        return made


def _stands(programme: Programme, customer: Customer, one: Pending) -> bool:
    _, place, at_ms = one
    return programme.granting.conditions.stands(place, programme.row(customer, at_ms))
