"""What campaigns cost and whom they reached: budgets and tallies follow the movements of the ledger and what is used.

What is granted is promised of the budget; what becomes active is spent; what is taken back before that is free again.
"""

from collections.abc import Sequence
from typing import Final

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause, entries
from engine.engagement.ledger.lots import (
    ACTIVATE,
    CASHBACK,
    COUPON,
    OWE,
    REVERSE_ACTIVE,
    REVERSE_PENDING,
    Movement,
)
from engine.engagement.marketing.budgets import Budgets
from engine.engagement.marketing.due import Gift
from engine.engagement.marketing.effects import Tally
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.offers import Open

_TAKES: Final = frozenset((REVERSE_PENDING, REVERSE_ACTIVE, OWE))
_SETTLES: Final = {ACTIVATE: Budgets.spend, REVERSE_PENDING: Budgets.release}


def book(granting: Granting, customer_id: str, customer: Customer, moved: list[Movement], cause: Cause) -> list[Made]:
    """Movements of a customer's ledger as entries; what they settle of budgets is settled."""
    settle(granting, customer, moved)
    exponent = granting.rules.exponent
    cash = [m for m in moved if customer.ledger.lots[m.lot].terms.kind == CASHBACK]
    if not cash:
        return list(entries(customer.ledger, customer_id, moved, cause, exponent))
    made: list[Made] = []
    for movement in moved:
        currency = customer.ledger.lots[movement.lot].terms.currency
        made += entries(customer.ledger, customer_id, [movement], cause, granting.exponent_of(currency))
    return made


def cause_of(happening: Happening, why: str) -> Cause:
    """Why an entry of an event is made: about its payment, or the event itself."""
    return Cause(happening.event_id, happening.payment_id or happening.event_id, why)


def settle(granting: Granting, customer: Customer, moved: Sequence[Movement]) -> None:
    """Movements of lots settle what was promised of budgets: what becomes active is spent, what is taken back
    before that can be promised again. What is taken back was no cost."""
    for movement in moved:
        change = _SETTLES.get(movement.op)
        if change is None and movement.op not in _TAKES:
            continue
        terms = customer.ledger.lots[movement.lot].terms
        key = terms.key
        if change is not None:
            campaign = granting.of(key)
            if campaign is not None:
                change(granting.budgets, key, granting.cost(campaign, movement.amount))
            elif terms.kind != COUPON:  # not in force any more; what coupons cost is not known then
                change(granting.budgets, key, movement.amount)
        if movement.op in _TAKES:
            granting.effects.tally(key).taken += movement.amount
            granting.effects.give(key, -movement.amount, customer.exposures)
            customer.choices.cost(key, -movement.amount)  # of an offer that was used and is owed


def used(granting: Granting, customer: Customer, offer: Open, minor: int) -> None:
    """A customer took an offer up: what is promised for it is spent, and so much is what it cost."""
    key = offer.key
    granting.budgets.spend(key, offer.minor)
    granting.effects.tally(key).used += minor
    granting.effects.give(key, minor, customer.exposures)
    customer.choices.cost(key, minor)


def count(granting: Granting, gift: Gift, amount: float, *, held: bool) -> Tally:
    """An occasion is used up: it counts for caps and, where somebody is held out, as an exposure."""
    campaign, due, customer = gift.campaign, gift.due, gift.customer
    key = campaign.key
    tally = granting.effects.tally(key)
    tally.held += held
    tally.reach += not held and campaign.id not in customer.counts.of
    customer.counts.count(campaign.id, campaign.caps, amount, due.at_ms, customer.zone)
    if campaign.holdout or granting.rules.holdout:
        granting.effects.open(key, held, due.at_ms, customer.exposures, customer.history)
    return tally
