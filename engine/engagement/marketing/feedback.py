"""What a customer answers when asked: a bad answer silences marketing, is a warning that they may leave, and somebody
should call."""

from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.sending import withdraw
from engine.engagement.marketing.transitions import transit


def answered(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """A score of satisfaction; offers that need a consent are withdrawn where it is bad."""
    kind, score = happening.text("kind"), happening.number
    if kind in ("nps", "csat") and score == score:
        now = max(customer.clock_ms, happening.time_ms)
        if customer.answer(kind, score, now):
            muted = [one for one in customer.offers.unsent() if one.purpose]
            why = "a bad answer: marketing is silent"
            stands = customer.look(now, programme.population)
            return [(now, service_case(customer_id, happening, kind, score)),
                    *withdraw(programme.granting, customer_id, customer, muted, now, why),
                    *transit(programme, customer_id, customer, stands, happening.event_id)]  # fmt: skip
    return []


def service_case(customer_id: str, happening: Happening, kind: str, score: float) -> Alert:
    """A bad answer: somebody should call."""
    return Alert(
        alert_id=output_id("alert", "feedback", customer_id, happening.event_id),
        kind="operations",
        severity="low",
        event_id=happening.event_id,
        customer_id=customer_id,
        title=f"a bad answer: {kind} {score:g}",
        reasons=[Reason("BAD_ANSWER", "", f"{kind} {score:g}; marketing to this customer is silent for 14 days")],
        suggested_action="ask the customer what went wrong",
    )
