"""What a customer uses: points, an offer, a coupon of the ledger; and what becomes of it when a payment is given back.

An offer whose campaign takes something back (R1, R2) and that was used on a payment is a lot of the ledger, in money,
granted and spent at once: so a refund of that payment makes it a debt, as of any other lot, once and in any order.
"""

from engine.domain.times import rfc3339
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause
from engine.engagement.ledger.keys import lot_id, lot_number
from engine.engagement.ledger.lots import CASHBACK, COUPON, KEEP, POINTS, VOID, Movement, Terms
from engine.engagement.marketing.accounting import book, cause_of, used
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.offers import Open
from engine.engagement.marketing.programme import TIMER, Programme
from engine.engagement.marketing.refusing import NO_COUPON, NOT_ENOUGH, fault_of, refusal


def points_redeemed(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """Points are spent, those first that expire first; or it is refused."""
    now, fault = max(customer.clock_ms, happening.time_ms), fault_of(happening.number)
    made = _come(programme, customer_id, customer, now)
    whole = 0 if fault else int(happening.number)
    moved = customer.ledger.redeem((POINTS, ""), whole, happening.reference, now, happening.payment)
    if moved is None:
        return made + _refuse(programme, customer_id, customer, happening, fault or NOT_ENOUGH, now)
    made += book(programme.granting, customer_id, customer, moved, cause_of(happening, "redeemed"))
    entry = customer.ledger.payments.get(happening.payment) if moved else None
    return made if entry is None else made + come_back(programme.granting, customer_id, customer, happening, 0, now)


def come_back(
    granting: Granting, customer_id: str, customer: Customer, happening: Happening, before: int, now: int
) -> list[Made]:
    """Points that were spent on a payment return to their lots as it is given back; `before`: minor units of it that
    had gone already. Nothing before it settles; and nothing of one that is disputed: a chargeback is no refund."""
    entry = customer.ledger.payments.get(happening.payment)
    if entry is None or entry.disputed or not before < min(entry.refunded, entry.settled):
        return []
    left = max(0, entry.settled - entry.refunded)
    moved = customer.ledger.give_back(happening.payment, now, left, entry.settled - before)
    return book(granting, customer_id, customer, moved, cause_of(happening, "given back"))


def _come(programme: Programme, customer_id: str, customer: Customer, now: int) -> list[Made]:
    """What becomes active or expires by the time that the customer's event says, ahead of the shard's clock: who
    was told a day can spend on it."""
    made, ledger = list[Made](), customer.ledger
    while (at := ledger.next_due()) <= now:
        made += book(programme.granting, customer_id, customer, ledger.advance(at), Cause(TIMER, rfc3339(at)))
    return made


def offer_redeemed(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """An offer or a coupon is used; refused where the coupon cannot be."""
    now = max(customer.clock_ms, happening.time_ms)
    found = _use(programme.granting, customer_id, customer, happening, now)
    if found is None:
        return _refuse(programme, customer_id, customer, happening, NO_COUPON, now)
    made = book(programme.granting, customer_id, customer, found[0], cause_of(happening, "redeemed"))
    return made + book(
        programme.granting, customer_id, customer, found[1], cause_of(happening, "refunded before it was used")
    )


def _refuse(
    programme: Programme, customer_id: str, customer: Customer, happening: Happening, why: str, now: int
) -> list[Made]:
    """It is counted, and told once a day."""
    programme.refused[why] += 1
    alert = refusal(customer_id, customer, happening, why, now)
    return [] if alert is None else [(now, alert)]


def _use(
    granting: Granting, customer_id: str, customer: Customer, happening: Happening, now: int
) -> tuple[list[Movement], list[Movement]] | None:
    """An offer or a coupon is used, by what `offer_id` says: what was spent, and what of it is owed at once, its
    payment having been given back before. None where a coupon is not there to be spent."""
    name = happening.text("offer_id") or ""
    one = customer.offers.take(name)
    if one is None:
        spent = _coupon(customer_id, customer, name, happening.reference, now)
        return None if spent is None else (spent, [])
    campaign = granting.of(one.key)
    spec = next((spec for spec in campaign.offers if spec.id == one.spec), None) if campaign is not None else None
    if spec is None or campaign is None:
        used(granting, customer, one, 0)
        return [], []
    minor = round(spec.worth * 10.0 ** granting.exponent_of(spec.currency))
    if happening.minor and happening.currency == spec.currency:
        minor = min(minor, happening.minor)
    used(granting, customer, one, minor)
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
        for key in {one.key for one in found}
        if (campaign := granting.of(key)) is not None and campaign.reversal == VOID
    }
    left = [one for one in found if not one.sent or one.key in void]
    return sorted(left, key=lambda one: (one.send_ms, one.offer_id))
