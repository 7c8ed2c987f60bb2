"""From a campaign that is due to a reward or an offer: every check, in one order.

In force, condition, payment not refused, consent, silence after a bad answer (`opening`); then occasion not used, caps,
holdout, budget. The first that says no ends it. What is granted carries its business key, so a repeat grants nothing.
"""

from collections.abc import Iterable

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.keys import earned_number, lot_hash, lot_number
from engine.engagement.marketing.due import Due, Gift, occasion_of, stays
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offering import offer
from engine.engagement.marketing.rewarding import reward, withhold
from engine.ruleset.campaigns.conditions import units


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
    gift = Gift(campaign, due, number, occasion, customer_id, customer)
    return (_claim if due.place in granting.identities.bounds else _give)(granting, gift, room)


def _claim(granting: Granting, gift: Gift, room: float) -> list[Made] | None:
    """Give, within what is left to whoever has the device, card or what else a cap is by; and claim it."""
    due, caps = gift.due, granting.identities
    claim, strings = lot_hash(gift.customer_id, gift.number), due.row.strings
    room = min(room, caps.room(due.place, claim, strings, due.at_ms, gift.customer.zone)) if room > 0 else room
    made = _give(granting, gift, room)
    if made is not None:
        amount = granting.conditions.amount(due.place, due.row) if gift.campaign.reward is not None else 1.0
        caps.take(due.place, claim, strings, min(amount, room), due.at_ms)
    return made


def _give(granting: Granting, gift: Gift, room: float) -> list[Made] | None:
    """Give what there is room for, unless the customer is held out."""
    if room <= 0:
        return None
    campaign, due = gift.campaign, gift.due
    if campaign.reward is None:
        return offer(granting, gift, granting.held(campaign, gift.customer_id))
    amount = min(granting.conditions.amount(due.place, due.row), room)
    whole = units(campaign.reward, amount, granting.exponent_of(campaign.reward.currency))
    if whole <= 0 or gift.customer.ledger.over(due.payment, due.at_ms):
        return None
    return (withhold if granting.held(campaign, gift.customer_id) else reward)(granting, gift, amount, whole)
