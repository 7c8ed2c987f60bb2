"""The terms of a reward: from when it can be used, until when, and what a refund takes back of it."""

from typing import Final

from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.engagement.calendar import DAY_MS, add_months
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.lots import AWAITS, KEEP, KINDS, Terms
from engine.engagement.marketing.due import Due
from engine.engagement.marketing.granting import Granting
from engine.ruleset.campaigns.model import Campaign

DOUBTED_HOLD: Final = 2
"""Times the hold, for payments that were not simply approved."""
TRUSTED_DAYS: Final = 365
TRUSTED_HOLD: Final = 0.5
"""Of the hold, for customers of a year who are loyal and never had a chargeback."""
_TYPE: Final = STRING_INDEX["type"]
_BEFORE_SETTLEMENT: Final = {hash64(f"payment.{name}") for name in ("requested", "authorised", "captured")}


def terms_of(granting: Granting, customer: Customer, campaign: Campaign, due: Due) -> Terms:
    """What a reward is granted under."""
    reward = campaign.reward
    assert reward is not None
    available_ms, months = due.at_ms + _hold(campaign, customer, due), campaign.expires_months
    threshold = campaign.threshold
    return Terms(
        campaign.id,
        campaign.version,
        KINDS.index(reward.kind),
        reward.currency if reward.kind == "cashback" else "",
        due.payment,
        available_ms,
        add_months(available_ms, months, customer.zone) if months else 0,
        campaign.reversal + AWAITS * _ahead(campaign, customer, due),
        round(threshold * 10 ** granting.exponent_of(due.row.text("currency") or "")) if threshold else 0,
    )


def _hold(campaign: Campaign, customer: Customer, due: Due) -> int:
    """How long a reward is held: longer for a risky payment, shorter for a trusted customer."""
    payment = customer.ledger.payments.get(due.payment)
    if payment is not None and payment.doubted:
        return DOUBTED_HOLD * campaign.hold_ms
    return int(campaign.hold_ms * TRUSTED_HOLD) if _trusted(customer, due.at_ms) else campaign.hold_ms


def _trusted(customer: Customer, at_ms: int) -> bool:
    known = customer.registered_ms > 0 and at_ms - customer.registered_ms >= TRUSTED_DAYS * DAY_MS
    return known and customer.states.of("lifecycle") == "loyal" and not customer.disputed_ms


def _ahead(campaign: Campaign, customer: Customer, due: Due) -> bool:
    """Whether a reward is granted before its payment has settled, and waits for that."""
    if not due.payment or not campaign.hold_ms or campaign.reversal == KEEP:
        return False
    entry = customer.ledger.payments.get(due.payment)
    return not (entry is not None and entry.settled) and due.row.strings[_TYPE] in _BEFORE_SETTLEMENT
