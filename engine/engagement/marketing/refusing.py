"""Redemptions that are refused: the ledger does not have what somebody has taken, or was asked for no whole number.

They change nothing, but whoever sent them has perhaps given it away: each is counted by its reason, and the first of a
customer on a UTC day is an alert.
"""

from math import isfinite
from typing import Final

from engine.domain.outputs import Alert, Reason
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.lots import POINTS
from engine.engagement.marketing.happening import Happening
from engine.engagement.marketing.telling import first_of_day, notice

CODE: Final = "REDEMPTION_REFUSED"
NO_NUMBER, NOT_WHOLE, NOT_POSITIVE = "no_number", "not_whole", "not_positive"
NOT_ENOUGH, NO_COUPON = "not_enough", "no_coupon"
REASONS: Final = {
    NO_NUMBER: "it names no number of points",
    NOT_WHOLE: "{points:g} is no whole number of points",
    NOT_POSITIVE: "{points:g} is not above 0",
    NOT_ENOUGH: "{points:.0f} points are more than the {active} that can be spent",
    NO_COUPON: "the coupon is used, expired, on hold or taken back",
}
"""What is counted, and what an alert says of it."""


def fault_of(points: float) -> str:
    """Why no ledger could spend so many points; empty where one could."""
    if not isfinite(points):
        return NO_NUMBER
    if points <= 0:
        return NOT_POSITIVE
    return "" if points == int(points) else NOT_WHOLE


def refusal(customer_id: str, customer: Customer, happening: Happening, reason: str, now_ms: int) -> Alert | None:
    """The alert that a redemption was refused for one of `REASONS`; None where one of that customer and day is out."""
    if not first_of_day(customer, CODE, now_ms):
        return None
    active = customer.ledger.balance((POINTS, ""))[1]
    detail = REASONS[reason].format(points=happening.number, active=active)
    said = Reason(CODE, "", f"{detail}; others of this UTC day raise no alert")
    action = "ask the system that sent it whether it gave something away; resolve as dismissed"
    return notice(customer_id, happening, "redemption", "a redemption was refused", said, action)
