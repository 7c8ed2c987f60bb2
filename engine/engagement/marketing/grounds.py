"""The ground on which offers stand that time or a transition brought, and what takes it away.

An offer that an event brought is about that event's payment (`redeeming.groundless`). Those here name none. They stand
on what their campaign's condition says of the customer, and where a timer runs since a payment or a refund, on that
payment. What a refund, chargeback or label of fraud takes away is withdrawn; what time takes away before they are sent
is not: a condition may hold at one instant only.
"""

from dataclasses import dataclass

from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.offers import Open
from engine.engagement.marketing.programme import Programme
from engine.ruleset.campaigns.model import Campaign


@dataclass(slots=True)
class Grounds:
    """Unsent offers that no event brought, as they stand before something is taken from a payment.

    Attributes:
        stood: those whose campaign's condition holds.
        gone: those whose timer runs since that payment, or since a refund of it where it is lost.
    """

    programme: Programme
    customer: Customer
    stood: list[Open]
    gone: list[Open]

    @classmethod
    def of(cls, programme: Programme, customer: Customer, payment: int, now: int, *, risk: bool) -> "Grounds":
        """As they stand now. `risk`: the payment was charged back, or is fraud; else it was refunded."""
        unsent = customer.offers.unsent() if customer.offers.of else []
        stood = [one for one in unsent if _holds(programme, customer, one, now)]
        gone = [one for one in unsent if _since(programme, customer, one, payment, risk)]
        return cls(programme, customer, stood, gone)

    def lost(self, now: int) -> list[Open]:
        """Those to be withdrawn once it has been taken in."""
        over = [one for one in self.stood if not _holds(self.programme, self.customer, one, now)]
        return self.gone + [one for one in over if one not in self.gone]


def _holds(programme: Programme, customer: Customer, one: Open, now: int) -> bool:
    campaigns = programme.granting.campaigns
    place = next((place for place, campaign in enumerate(campaigns) if _brought(campaign, one)), None)
    return place is not None and programme.granting.conditions.holds(place, programme.row(customer, now))


def _brought(campaign: Campaign, one: Open) -> bool:
    return campaign.key == one.key and not campaign.trigger.events


def _since(programme: Programme, customer: Customer, one: Open, payment: int, risk: bool) -> bool:
    campaign, history = programme.granting.of(one.key), customer.history
    timer = campaign.trigger.timer if campaign is not None else ""
    if timer == "since_refund":
        entry = customer.ledger.payments.get(payment)
        return risk and entry is not None and entry.refunded > 0
    paid = history.of(payment)
    began = {"since_first_payment": history.first_ms, "since_last_payment": history.last_ms}
    return paid is not None and paid.time_ms == began.get(timer)
