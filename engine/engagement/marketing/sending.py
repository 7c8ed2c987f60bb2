"""Offers that wait to be sent: they go out at their time, unless their ground is gone by then: those are withdrawn."""

from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offering import offer_of
from engine.engagement.marketing.offers import Open
from engine.ruleset.campaigns.model import OfferSpec


def send(granting: Granting, customer_id: str, customer: Customer, at_ms: int) -> list[Made]:
    """Look once more at offers whose time has come: those whose ground is gone are withdrawn, the rest go out."""
    made: list[Made] = []
    for one in customer.offers.over(at_ms):
        granting.budgets.release(one.key, one.minor)
    for one in customer.offers.due(at_ms):
        if one.purpose and (not customer.consent.get(one.purpose) or customer.muted(at_ms)):
            made += withdraw(granting, customer_id, customer, [one], at_ms, "no consent at the time to send")
        elif one.payment in customer.ledger.payments and customer.ledger.payments[one.payment].blocked:
            made += withdraw(granting, customer_id, customer, [one], at_ms, "its payment was refused")
        else:
            customer.offers.sent(one)
    return made


def withdraw(
    granting: Granting, customer_id: str, customer: Customer, some: list[Open], at_ms: int, why: str
) -> list[Made]:
    """Withdraw offers; what was reserved for them is free again."""
    made: list[Made] = []
    for one in some:
        customer.offers.take(one.offer_id)
        granting.budgets.release(one.key, one.minor)
        campaign = granting.of(one.key)
        specs = campaign.offers if campaign is not None else ()
        gone = OfferSpec(one.spec, one.spec, "", "", 0)  # its campaign is not in force any more
        spec = next((spec for spec in specs if spec.id == one.spec), gone)
        made.append((at_ms, offer_of(one, spec, customer_id, "withdrawn", None, False, why)))
    return made
