"""A campaign's offer: which one a customer is made, when it goes out, and how it is put out."""

from typing import Final

from engine.domain.draws import drawn
from engine.domain.ids import output_id
from engine.domain.outputs import Offer
from engine.domain.times import rfc3339
from engine.engagement.calendar import next_minute, quiet_until
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.accounting import count
from engine.engagement.marketing.choosing import RISK_MS, Chosen, context_of
from engine.engagement.marketing.due import Gift
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offers import Open
from engine.ruleset.campaigns.model import BANDIT, Campaign, OfferSpec

MARKETING: Final = "marketing"
"""The purpose that campaigns without one of their own need to learn from a customer by trial."""


def offer(granting: Granting, gift: Gift, held: bool) -> list[Made] | None:
    """Issue an offer, the first or the one that is chosen; None where the budget does not let it be. Of those who
    are `held` out it is only noted that they would have had it."""
    campaign, due, number, _, customer_id, customer = gift
    cost = granting.worth(campaign)
    if not (granting.budgets.allows if held else granting.budgets.reserve)(campaign, cost):
        return None
    spec, propensity = _choose(granting, gift, held)
    customer.ledger.use(number)
    tally = count(granting, gift, 1.0, held=held)
    if spec is None:
        if not held:
            granting.budgets.release(campaign.key, cost)
        return []
    tally.offers += not held
    at_ms = send_ms(campaign, customer, due.at_ms)
    offer_id = output_id("offer", campaign.key, customer_id, f"{number:016x}", spec.id)
    one = Open(offer_id, campaign.id, campaign.version, spec.id, at_ms, at_ms + spec.expires_ms, due.payment,
               campaign.consent, 0 if held else cost, held)  # fmt: skip
    for old in customer.offers.issue(one) if not held else ():
        granting.budgets.release(old.key, old.minor)
    return [(due.at_ms, offer_of(one, spec, customer_id, "issued", propensity, held, campaign.why))]


def _choose(granting: Granting, gift: Gift, held: bool) -> tuple[OfferSpec | None, float | None]:
    """The first offer, or what a bandit chooses, None for none; and the probability with which it was chosen."""
    campaign, due, number, _, customer_id, customer = gift
    if campaign.choose != BANDIT:
        return campaign.offers[0], None
    key, context = campaign.key, context_of(due.row.customer)
    draw = drawn(granting.rules.salt, "choice", key, customer_id, f"{number:016x}")
    explore = customer.consent.get(campaign.consent or MARKETING, False) and not _risky(customer, due.at_ms)
    choice = granting.bandits.choose(key, context, draw, explore=explore)
    if not held:  # who gets nothing teaches nothing of it
        customer.choices.open(key, Chosen(due.at_ms, choice.arm, choice.propensity, context, 0))
    return campaign.offers[choice.arm] if choice.arm < len(campaign.offers) else None, choice.propensity


def send_ms(campaign: Campaign, customer: Customer, at_ms: int) -> int:
    """When an offer goes out: now, at the customer's own hour or a time of day, never in quiet hours."""
    if campaign.send == "personal_hour":
        hour, share = customer.history.peak(customer.zone)
        at_ms = next_minute(at_ms, hour * 60, customer.zone) if share == share else at_ms
    elif campaign.send != "now":
        hours, minutes = campaign.send.split(":")
        at_ms = next_minute(at_ms, int(hours) * 60 + int(minutes), customer.zone)
    return quiet_until(at_ms, campaign.quiet, customer.zone)


def offer_of(
    one: Open, spec: OfferSpec, customer_id: str, status: str, propensity: float | None, held: bool, why: str
) -> Offer:
    """An offer as it is put out."""
    return Offer(
        offer_id=one.offer_id,
        customer_id=customer_id,
        campaign_id=one.campaign,
        kind=spec.kind,
        value=spec.value,
        send_at=rfc3339(one.send_ms),
        expires_at=rfc3339(one.expires_ms),
        channel_hint=spec.channel or None,
        propensity=propensity,
        status=status,  # type: ignore[arg-type]
        holdout=held,
        why=why,
    )


def _risky(customer: Customer, now_ms: int) -> bool:
    """A payment of the last month was doubted or refused, or one was charged back."""
    since = now_ms - RISK_MS
    doubted = any((one.doubted or one.blocked) and one.seen_ms > since for one in customer.ledger.payments.values())
    return doubted or customer.disputed_ms > since
