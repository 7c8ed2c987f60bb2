"""Transitions of a customer's states: put out, and campaigns that wait for them."""

from engine.domain.ids import output_id
from engine.domain.outputs import Lifecycle
from engine.domain.times import rfc3339
from engine.engagement.customer.customer import Customer
from engine.engagement.customer.states import Transition
from engine.engagement.marketing.due import Due
from engine.engagement.marketing.giving import run
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.opening import opens
from engine.engagement.marketing.programme import TIMER, Programme


def transit(
    programme: Programme, customer_id: str, customer: Customer, transitions: list[Transition], event_id: str
) -> list[Made]:
    """Put transitions out, each with what the campaigns do that wait for it."""
    made: list[Made] = []
    for one in transitions:
        cause = event_id if event_id != TIMER else f"{TIMER}:{one.at_ms}"
        moved = Lifecycle(customer_id, one.dimension, one.start, one.end, cause, rfc3339(one.at_ms))  # type: ignore[arg-type]
        made.append((one.at_ms, moved))
        row = programme.row(customer, one.at_ms)
        occasion = f"{one.dimension}:{one.end}:{one.at_ms}"
        places, granting = programme.on_transition.get((one.dimension, one.start, one.end), ()), programme.granting
        at_ms = one.at_ms
        due = (Due(p, at_ms, event_id, occasion, row) for p in places if opens(granting, p, customer, at_ms, row))
        made += run(granting, customer_id, customer, due)
    return made


def entry_id_of(customer_id: str, transition: Lifecycle) -> str:
    """The id of a transition: what it is of, and when."""
    return output_id("lifecycle", customer_id, transition.dimension, transition.to, transition.at)
