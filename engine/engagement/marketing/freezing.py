"""Rewards that are frozen while somebody looks into them, and what becomes of them when somebody has."""

from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause
from engine.engagement.marketing.abuse import LEGITIMATE
from engine.engagement.marketing.abuse import freeze as freeze_lot
from engine.engagement.marketing.accounting import book
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.referring import share
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.campaigns.suspecting import Found


def freeze(
    customer_id: str, customer: Customer, campaign: Campaign, found: list[Found], number: int, event_id: str,
    at_ms: int,
) -> list[Made] | None:  # fmt: skip
    """Freeze what was granted, unless somebody has looked at the same before: the alert, or none where one stands
    for it already. None where nothing is frozen."""
    suspects = customer.suspected.of(found, at_ms)
    if not suspects:
        return None
    alert = freeze_lot(customer.suspected, customer.ledger, customer_id, suspects, number, campaign.id, event_id, at_ms)
    return [] if alert is None else [(at_ms, alert)]


def resolved(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """Somebody has looked at what was frozen: it is released, or taken back."""
    legitimate = happening.text("resolution") == LEGITIMATE
    now = max(customer.clock_ms, happening.time_ms)
    alert_id = happening.text("alert_id") or ""
    lots = customer.suspected.open[alert_id].lots if legitimate and alert_id in customer.suspected.open else ()
    moved = customer.suspected.resolve(alert_id, legitimate, customer.ledger, now)
    for number in lots:  # what was frozen was not shared
        lot = customer.ledger.lots.get(number)
        campaign = None if lot is None else programme.granting.of(lot.terms.key)
        if campaign is not None:
            programme.granting.letters += share(campaign, customer_id, customer, number, now, happening.event_id)
    why = "released: nothing was wrong" if legitimate else "taken back: it was abuse"
    return book(programme.granting, customer_id, customer, moved, Cause(happening.event_id, alert_id, why))
