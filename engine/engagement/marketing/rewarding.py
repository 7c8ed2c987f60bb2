"""A campaign's reward: granted within its budget, frozen on suspicion, or withheld from those held out."""

from engine.engagement.ledger.entries import Cause, entries
from engine.engagement.marketing.abuse import FROZEN
from engine.engagement.marketing.accounting import count
from engine.engagement.marketing.due import Gift, stays
from engine.engagement.marketing.freezing import freeze
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.referring import share
from engine.engagement.marketing.terms import terms_of


def reward(granting: Granting, gift: Gift, amount: float, whole: int) -> list[Made] | None:
    """Grant a reward of so much, in whole units; None where the budget or the ledger does not let it be."""
    campaign, due, number, occasion, customer_id, customer = gift
    reward = campaign.reward
    assert reward is not None
    cost = granting.cost(campaign, whole)
    if not granting.budgets.reserve(campaign, cost):
        return None
    moved = customer.ledger.grant(number, terms_of(granting, customer, campaign, due), whole, due.at_ms)
    if not moved:
        granting.budgets.release(campaign.key, cost)
        return None
    if due.payment and campaign.occasion != "event":
        customer.ledger.use(stays(number))  # the lot's own key goes with its payment, for which it stands
    tally = count(granting, gift, amount, held=False)
    tally.grants += 1
    tally.granted += whole
    granting.effects.give(campaign.key, whole, customer.exposures)
    crowd = customer.suspected.shown(due.payment, campaign.occasion == "customer", due.at_ms)
    found = granting.conditions.suspected(due.place, due.row, crowd) if campaign.abuse else []
    frozen = freeze(customer_id, customer, campaign, found, number, due.event_id, due.at_ms) if found else None
    if frozen is None:
        for letter in share(campaign, customer_id, customer, number, due.at_ms, due.event_id):
            granting.letters.append(letter)
            granting.origins[letter.event_id] = customer_id, customer, number
            if letter.units:  # what whoever referred them gets is a cost of the same
                granting.effects.give(campaign.key, letter.units, customer.exposures)
    cause = Cause(due.event_id, due.payment_id or occasion, campaign.why if frozen is None else campaign.why + FROZEN)
    made: list[Made] = list(entries(customer.ledger, customer_id, moved, cause, granting.exponent_of(reward.currency)))
    return made if frozen is None else made + frozen


def withhold(granting: Granting, gift: Gift, amount: float, whole: int) -> list[Made] | None:
    """The customer is held out: all happens that would have, but for the reward."""
    campaign = gift.campaign
    if not granting.budgets.allows(campaign, granting.cost(campaign, whole)):
        return None
    if not gift.due.payment or campaign.occasion != "event":  # a payment settles once: it stands for its own key
        gift.customer.ledger.use(gift.number)
    count(granting, gift, amount, held=True)
    return []
