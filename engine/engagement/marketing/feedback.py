"""What a customer answers when asked: a bad answer silences marketing, is a warning that they may leave, and somebody
should call."""

from typing import Final

from engine.domain.outputs import Alert, Reason
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.sending import withdraw
from engine.engagement.marketing.telling import first_of_day, notice
from engine.engagement.marketing.transitions import transit

SCALES: Final = {"nps": (0.0, 10.0), "csat": (1.0, 5.0)}
"""The least and the best answer of each kind of survey."""
OFF_SCALE: Final = "ANSWER_OFF_SCALE"


def answered(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """A score of satisfaction; offers that need a consent are withdrawn where it is bad. One that is not on the scale
    of its survey says nothing of the customer, and somebody is told."""
    kind, score = happening.text("kind") or "", happening.number
    if kind not in SCALES or score != score:
        return []
    now, (least, best) = max(customer.clock_ms, happening.time_ms), SCALES[kind]
    if not least <= score <= best:
        what = f"{kind} {score:g}: it goes from {least:g} to {best:g}"
        alert = off_scale(customer_id, customer, happening, what, now)
        return [] if alert is None else [(now, alert)]
    if not customer.answer(kind, score, now):
        return []
    muted = [one for one in customer.offers.unsent() if one.purpose]
    why = "a bad answer: marketing is silent"
    stands = customer.look(now, programme.population)
    return [(now, service_case(customer_id, happening, kind, score)),
            *withdraw(programme.granting, customer_id, customer, muted, now, why),
            *transit(programme, customer_id, customer, stands, happening.event_id)]  # fmt: skip


def off_scale(customer_id: str, customer: Customer, happening: Happening, detail: str, now_ms: int) -> Alert | None:
    """An answer that is none; None where one of that customer and UTC day has been told of."""
    if not first_of_day(customer, OFF_SCALE, now_ms):
        return None
    reason = Reason(OFF_SCALE, "", f"{detail}; others of this customer and UTC day raise no alert")
    action = "mend the scale or the kind of survey in what sends the answers"
    return notice(customer_id, happening, "feedback", "an answer to a survey is not on its scale", reason, action)


def service_case(customer_id: str, happening: Happening, kind: str, score: float) -> Alert:
    """A bad answer: somebody should call."""
    reason = Reason("BAD_ANSWER", "", f"{kind} {score:g}; marketing to this customer is silent for 14 days")
    action = "ask the customer what went wrong"
    return notice(customer_id, happening, "feedback", f"a bad answer: {kind} {score:g}", reason, action)
