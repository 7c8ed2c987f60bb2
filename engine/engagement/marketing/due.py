"""A campaign that is due: what set it off, in which order it comes, and what it gives something once for."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.engagement.calendar import period
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.keys import KEY_BITS
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.row import Row


class Due(NamedTuple):
    """A campaign and what set it off for a customer.

    Attributes:
        place: of the campaign among those in force.
        at_ms: when; event_id: of the event, `timer` for none.
        occasion: what it is granted once for.
        row: as conditions see it, the customer too.
        payment: hash of the payment, 0 for none; payment_id its text.
    """

    place: int
    at_ms: int
    event_id: str
    occasion: str
    row: Row
    payment: int = 0
    payment_id: str = ""


class Gift(NamedTuple):
    """What a campaign is about to give, and to whom.

    Attributes:
        campaign, due: the campaign, and what set it off.
        number: its business key; occasion: what it is given once for.
        customer_id, customer: who gets it.
    """

    campaign: Campaign
    due: Due
    number: int
    occasion: str
    customer_id: str
    customer: Customer


def ranked(campaigns: Sequence[Campaign]) -> list[int]:
    """The places of campaigns in the order in which one event sets them off: by priority, then as in the files."""
    return sorted(range(len(campaigns)), key=lambda place: (-campaigns[place].priority, place))


def occasion_of(campaign: Campaign, customer: Customer, due: Due) -> str:
    """What a campaign gives something once for."""
    if campaign.occasion == "customer":
        return ""
    if campaign.occasion == "period":
        cap = next(cap for cap in campaign.caps if cap.by == "customer" and cap.period)
        return period(due.at_ms, cap.period, customer.zone)
    return due.occasion


def stays(number: int) -> int:
    """The business key of a lot that another payment must not grant again, whenever the first is forgotten."""
    return number ^ 0x5DEECE66D5DEECE6 >> 64 - KEY_BITS
