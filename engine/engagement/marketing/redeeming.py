"""What a customer uses, an offer or a coupon of the ledger; and what becomes of it when a payment is given back.

An offer whose campaign takes something back (R1, R2) and that was used on a payment is a lot of the ledger, in money,
granted and spent at once: so a refund of that payment makes it a debt, as of any other lot, once and in any order.
"""

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.keys import lot_id, lot_number
from engine.engagement.ledger.lots import CASHBACK, COUPON, KEEP, VOID, Movement, Terms
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Happening
from engine.engagement.marketing.offers import Open


def use(
    granting: Granting, customer_id: str, customer: Customer, happening: Happening, now: int
) -> tuple[list[Movement], list[Movement]] | None:
    """An offer or a coupon is used, by what `offer_id` says: what was spent, and what of it is owed at once, its
    payment having been given back before. None where a coupon is not there to be spent."""
    name = happening.text("offer_id") or ""
    one = customer.offers.take(name)
    if one is None:
        spent = _coupon(customer_id, customer, name, happening.reference, now)
        return None if spent is None else (spent, [])
    campaign = granting.of(f"{one.campaign}:{one.version}")
    spec = next((spec for spec in campaign.offers if spec.id == one.spec), None) if campaign is not None else None
    if spec is None or campaign is None:
        granting.used(customer, one, 0)
        return [], []
    minor = round(spec.worth * 10.0 ** granting.exponent_of(spec.currency))
    if happening.minor and happening.currency == spec.currency:
        minor = min(minor, happening.minor)
    granting.used(customer, one, minor)
    payment = happening.payment or one.payment
    if not (minor and payment) or campaign.reversal == KEEP:
        return [], []
    terms = Terms(one.campaign, one.version, CASHBACK, spec.currency, payment, now, 0, campaign.reversal)
    number = lot_number(one.campaign, one.version, customer_id, f"used {one.offer_id}")
    spent = customer.ledger.consume(number, terms, minor, happening.reference, now)
    return spent, customer.ledger.reclaim(payment, now)


def _coupon(customer_id: str, customer: Customer, name: str, redemption: int, now: int) -> list[Movement] | None:
    """One coupon of the lot of that name; nothing where there is no such lot."""
    for number, lot in customer.ledger.lots.items():
        if lot.terms.kind == COUPON and lot_id(customer_id, number) == name:
            return customer.ledger.spend(number, 1, redemption, now)
    return []


def groundless(granting: Granting, customer: Customer, payment: int) -> list[Open]:
    """Offers that a payment brought which is given back: those not sent yet, and sent ones that are void with it."""
    found = [one for one in customer.offers.of.values() if one.payment == payment]
    void = {
        key
        for key in {f"{one.campaign}:{one.version}" for one in found}
        if (campaign := granting.of(key)) is not None and campaign.reversal == VOID
    }
    left = [one for one in found if not one.sent or f"{one.campaign}:{one.version}" in void]
    return sorted(left, key=lambda one: (one.send_ms, one.offer_id))
