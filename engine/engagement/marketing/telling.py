"""Alerts that tell operations of something a customer's event showed, but which is no matter of risk."""

from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.happening import Happening


def notice(customer_id: str, happening: Happening, about: str, title: str, reason: Reason, action: str) -> Alert:
    """An alert of low severity. `about`: what kind of notice it is, part of its id, of which an event raises one."""
    return Alert(
        alert_id=output_id("alert", about, customer_id, happening.event_id),
        kind="operations",
        severity="low",
        event_id=happening.event_id,
        customer_id=customer_id,
        title=title,
        reasons=[reason],
        suggested_action=action,
    )


def first_of_day(customer: Customer, code: str, now_ms: int) -> bool:
    """Whether a code has not been told of this customer on this UTC day; from now on it has."""
    return customer.suspected.first(code, now_ms, (now_ms // DAY_MS + 1) * DAY_MS)
