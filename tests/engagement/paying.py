"""Payments of a customer without campaigns."""

from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.states import Transition


def settle(customer: Customer, paid: Paid, population: Population) -> list[Transition]:
    """A payment settles, and what follows is looked at."""
    customer.enter(paid)
    return customer.look(max(customer.clock_ms, paid.time_ms), population)
