"""Whether a campaign may do anything for a customer at an instant, before it is asked how much.

In force, payment not refused or too risky, consent, silence after a bad answer, conditions: the cheapest first.
"""

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.payments import HORIZON_MS, Payment
from engine.engagement.marketing.granting import Granting
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.row import Row


def opens(granting: Granting, place: int, customer: Customer, at_ms: int, row: Row, payment: int = 0) -> bool:
    """Whether a campaign may do anything for this customer now; of the payment whose hash that is."""
    campaign = granting.campaigns[place]
    early = campaign.valid_from_ms is not None and at_ms < campaign.valid_from_ms
    if early or (campaign.valid_to_ms is not None and at_ms >= campaign.valid_to_ms):
        return False
    entry = customer.ledger.payments.get(payment)
    if payment and customer.ledger.over(payment, at_ms):
        return False
    known = entry is not None and entry.seen_ms >= at_ms - HORIZON_MS  # older ones may have been forgotten
    if entry is not None and known and (entry.blocked or (entry.risk and _dear(entry, campaign))):
        return False
    if campaign.consent and (not customer.consent.get(campaign.consent) or customer.muted(at_ms)):
        return False
    return granting.conditions.holds(place, row)


def _dear(payment: Payment, campaign: Campaign) -> bool:
    """Whether the score of a payment's decision is above what a campaign takes."""
    return payment.score > round(100 * campaign.score_max)
