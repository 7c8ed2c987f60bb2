"""From a campaign that is due to a reward or an offer: every check, in one order.

In force, condition, payment not refused, consent, silence after a bad answer (`opening`); then occasion not used, caps,
holdout, budget. The first that says no ends it. What is granted carries its business key, so a repeat grants nothing.
"""

from collections.abc import Iterable

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.keys import earned_number, lot_hash, lot_number
from engine.engagement.marketing.due import Due, occasion_of, stays
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offering import offer
from engine.engagement.marketing.rewarding import reward, withhold
from engine.ruleset.campaigns.conditions import units
from engine.ruleset.campaigns.model import Campaign


def run(granting: Granting, customer_id: str, customer: Customer, due: Iterable[Due]) -> list[Made]:
    """Let campaigns that are open do what they do, in the order of their rank, one of each group. Each of `due` is
    looked at once those before it have done theirs."""
    made: list[Made] = []
    groups: set[str] = set()
    campaigns = granting.campaigns
    for one in due:
        group = campaigns[one.place].group
        if group and group in groups:
            continue
        found = grant(granting, customer_id, customer, one)
        if found is not None:
            made += found
            groups.add(group)
    return made


def grant(granting: Granting, customer_id: str, customer: Customer, due: Due) -> list[Made] | None:
    """What a campaign that is open gives a customer now, entries or an offer; an empty list where it would have but
    for the holdout, which uses up the occasion as well; None where it does nothing."""
    campaign = granting.campaigns[due.place]
    occasion = occasion_of(campaign, customer, due)
    if due.payment and campaign.occasion == "event":
        number = earned_number(campaign.id, campaign.version, due.payment)
    else:
        number = lot_number(campaign.id, campaign.version, customer_id, occasion)
    if number in customer.ledger.done or stays(number) in customer.ledger.done:
        return None
    room = customer.counts.room(campaign.id, campaign.caps, due.at_ms, customer.zone)
    if due.place in granting.identities.bounds:
        return _claim(granting, customer_id, customer, campaign, due, number, occasion, room)
    return _give(granting, customer_id, customer, campaign, due, number, occasion, room)


def _claim(
    granting: Granting,
    customer_id: str,
    customer: Customer,
    campaign: Campaign,
    due: Due,
    number: int,
    occasion: str,
    room: float,
) -> list[Made] | None:
    """Give, within what is left to whoever has the device, card or what else a cap is by; and claim it."""
    claim, strings, caps = lot_hash(customer_id, number), due.row.strings, granting.identities
    room = min(room, caps.room(due.place, claim, strings, due.at_ms, customer.zone)) if room > 0 else room
    made = _give(granting, customer_id, customer, campaign, due, number, occasion, room)
    if made is not None:
        amount = granting.conditions.amount(due.place, due.row) if campaign.reward is not None else 1.0
        caps.take(due.place, claim, strings, min(amount, room), due.at_ms)
    return made


def _give(
    granting: Granting,
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
        held = granting.held(campaign, customer_id)
        return offer(granting, customer_id, customer, campaign, due, number, held)
    amount = min(granting.conditions.amount(due.place, due.row), room)
    whole = units(campaign.reward, amount, granting.exponent_of(campaign.reward.currency))
    if whole <= 0 or customer.ledger.over(due.payment, due.at_ms):
        return None
    if granting.held(campaign, customer_id):
        return withhold(granting, customer, campaign, due, number, amount, whole)
    return reward(granting, customer_id, customer, campaign, due, number, occasion, amount, whole)
