"""Whoever referred a customer gets the same, as a letter from the customer's record to theirs (`control.reward`).

The two records may be of different shards, so nothing is looked up: the letter says all. The referrer's lot hangs on a
payment in the referrer's own ledger that stands for the customer's: what the letters say of it only grows, so they may
come twice, late or in any order. What a refund leaves of the customer's reward, it leaves of the referrer's.
"""

import msgspec

from engine.domain.events import ControlReward
from engine.domain.ids import output_id
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.keys import lot_number
from engine.engagement.marketing.abuse import own_marks
from engine.ruleset.campaigns.model import REFERRER, Campaign, campaign_key

Standing = tuple[int, int]
"""Of a payment: minor units that have settled, and that are gone again. Fraud that never settled is gone: 1 of 1."""


def share(campaign: Campaign, customer_id: str, customer: Customer, lot: int, at_ms: int, cause: str) -> list[
    ControlReward
]:  # fmt: skip
    """What the referrer is told of a lot that the customer was granted: once for each campaign and customer.

    Args:
        campaign: that granted it.
        customer_id, customer: who was referred, if they were.
        lot: its number.
        at_ms, cause: when, and by which event.
    """
    reward, referrer = campaign.reward, customer.referrer
    if reward is None or not (reward.both and campaign.trigger.events) or referrer in ("", customer_id):
        return []
    ledger = customer.ledger
    terms = ledger.lots[lot].terms
    referral = lot_number(campaign.id, campaign.version, customer_id, REFERRER)
    if referral in ledger.done:
        return []
    ledger.use(referral)
    if terms.payment:
        ledger.use(_shared(campaign.id, campaign.version, customer_id, terms.payment))
    units = ledger.lots[lot].granted
    letter = _letter(campaign.id, campaign.version, customer_id, customer, terms.payment, units, at_ms, cause)
    if campaign.self_referral:
        letter = msgspec.structs.replace(letter, marks=own_marks(customer_id, customer.suspected))
    return [letter]


def standing(customer: Customer, payment: int) -> Standing:
    """How a payment stands."""
    entry = customer.ledger.payments.get(payment)
    if entry is None:
        return 0, 0
    return (1, 1) if entry.blocked and not entry.settled else (entry.settled, entry.refunded)


def follow(
    customer_id: str, customer: Customer, payment: int, before: Standing, at_ms: int, cause: str
) -> list[ControlReward]:
    """What the referrer is told where a payment that they share in stands otherwise than before."""
    now = standing(customer, payment)
    if now == before or not (now[0] and customer.referrer):
        return []
    ledger = customer.ledger
    campaigns = dict.fromkeys((ledger.lots[lot].terms.campaign, ledger.lots[lot].terms.version)
                              for lot in ledger.lots_of(payment))  # fmt: skip
    return [
        _letter(campaign, version, customer_id, customer, payment, 0, at_ms, cause)
        for campaign, version in campaigns
        if _shared(campaign, version, customer_id, payment) in ledger.done
    ]


def forsake(customer_id: str, customer: Customer, lot: int, at_ms: int, cause: str) -> list[ControlReward]:
    """What the referrer is told where a reward is taken back that they share in, though its payment stands as before:
    that nothing is left of the payment, as far as they are concerned."""
    terms = customer.ledger.lots[lot].terms
    what = terms.campaign, terms.version, customer_id
    if not customer.referrer or _shared(*what, terms.payment) not in customer.ledger.done:
        return []
    letter = _letter(*what, customer, terms.payment, 0, at_ms, cause, gone=True)
    return [letter] if letter.settled_minor else []


def _letter(
    campaign: str, version: int, customer_id: str, customer: Customer, payment: int, units: int, at_ms: int, cause: str,
    *, gone: bool = False,
) -> ControlReward:  # fmt: skip
    settled, refunded = standing(customer, payment)
    refunded = settled if gone else refunded
    referral = lot_number(campaign, version, customer_id, REFERRER)
    share_id = f"{_shared(campaign, version, customer_id, payment):012x}" if payment else None
    says = campaign_key(campaign, version), f"{referral:012x}", str(units), str(settled), str(refunded)
    return ControlReward(
        event_id=output_id("letter", "reward", *says),
        event_time=at_ms,
        customer_id=customer.referrer,
        campaign_id=campaign,
        version=version,
        referral_id=f"{referral:012x}",
        share_id=share_id,
        units=units,
        settled_minor=settled,
        refunded_minor=refunded,
        cause_event_id=cause,
    )


def _shared(campaign: str, version: int, customer_id: str, payment: int) -> int:
    """The payment in the referrer's ledger that stands for the customer's; and the business key of sharing it."""
    return lot_number(campaign, version, customer_id, f"{REFERRER} {payment:x}")
