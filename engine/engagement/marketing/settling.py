"""What becomes of a payment: it settles, is given back, called off, or turns out to be fraud.

The ledger and the history follow it; what it earned is taken back with it, offers about it are withdrawn.
"""

from typing import Final

from engine.engagement.customer.customer import Customer
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.states import Transition
from engine.engagement.ledger.payments import HORIZON_MS
from engine.engagement.marketing.accounting import book, cause_of
from engine.engagement.marketing.earned import Earned
from engine.engagement.marketing.grounds import Grounds
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.redeeming import come_back, groundless
from engine.engagement.marketing.sending import withdraw
from engine.engagement.marketing.transitions import transit

SECOND_MS: Final = 1_000


def settled(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made] | None:
    """Money has moved: the payment enters the history once, its lots are no longer ahead of it."""
    now = max(customer.clock_ms, happening.time_ms)
    if not customer.ledger.settle(happening.payment, happening.minor, now):
        return None
    second = happening.time_ms // SECOND_MS * SECOND_MS
    paid = Paid(second, happening.payment, happening.base_minor, 0, happening.method, happening.category,
                happening.currency)  # fmt: skip
    entry = customer.ledger.payments[happening.payment]
    if entry.lost:
        return []  # declined, fraud or charged back before it settled
    customer.enter(paid)
    # What was taken back before it settled never counted: no tier is reached by it.
    taken = _keeps(programme, customer, happening.payment, now) if entry.refunded else []
    made = taken or customer.look(max(customer.clock_ms, second), programme.population)
    transitions = transit(programme, customer_id, customer, made, happening.event_id) if made else []
    if entry.refunded:
        transitions += come_back(programme.granting, customer_id, customer, happening, 0, now)
    return transitions


def given_back(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made] | None:
    """A refund or a chargeback; None for one that is known."""
    ledger, now = customer.ledger, max(customer.clock_ms, happening.time_ms)
    if happening.reference in ledger.done:
        return None
    charged = happening.type == "payment.chargeback"
    grounds = Grounds.of(programme, customer, happening.payment, now, risk=charged)
    earned = Earned.of(programme, customer, happening.payment)
    known = ledger.payments.get(happening.payment)
    before = known.refunded if known is not None else 0
    take = ledger.charge_back if charged else ledger.refund
    moved = take(happening.payment, happening.reference, _in_its_currency(customer, happening), now)
    why = "charged back" if charged else "refunded"
    made = book(programme.granting, customer_id, customer, moved, cause_of(happening, why))
    if charged:
        customer.disputed(now)
    else:
        made += come_back(programme.granting, customer_id, customer, happening, before, now)
    transitions = _keeps(programme, customer, happening.payment, now)
    made += transit(programme, customer_id, customer, transitions, happening.event_id)
    made += earned.lost(customer_id, happening, why, now)
    about = groundless(programme.granting, customer, happening.payment) + grounds.lost(now)
    return made + withdraw(programme.granting, customer_id, customer, about, now, why)


def called_off(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """A payment will not settle: what was granted ahead of that is taken back, offers about it are withdrawn."""
    now, why = max(customer.clock_ms, happening.time_ms), "the payment was cancelled"
    moved, entry = customer.ledger.call_off(happening.payment, now), customer.ledger.payments.get(happening.payment)
    if entry is None or not entry.settled:
        moved += customer.ledger.give_back(happening.payment, now)
    about = [one for one in customer.offers.unsent() if one.payment == happening.payment]
    made = book(programme.granting, customer_id, customer, moved, cause_of(happening, why))
    return made + withdraw(programme.granting, customer_id, customer, about, now, why)


def labelled(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """A payment turned out to be fraud: all it earned is taken back."""
    if happening.text("label") != "fraud":
        return []
    now, ledger = max(customer.clock_ms, happening.time_ms), customer.ledger
    entry = ledger.payments.get(happening.payment)
    if entry is None and happening.payment in ledger.done:
        return []  # long over
    grounds = Grounds.of(programme, customer, happening.payment, now, risk=True)
    earned = Earned.of(programme, customer, happening.payment)
    ledger.block(happening.payment, now)
    settled, reference = ledger.payments[happening.payment].settled, happening.reference
    take = ledger.charge_back(happening.payment, reference, settled, now) if settled else []
    moved = take or ledger.reclaim(happening.payment, now, reference)
    made = book(programme.granting, customer_id, customer, moved, cause_of(happening, "the payment was fraud"))
    transitions = _keeps(programme, customer, happening.payment, now)
    made += transit(programme, customer_id, customer, transitions, happening.event_id)
    made += earned.lost(customer_id, happening, "fraud", now)
    about = groundless(programme.granting, customer, happening.payment) + grounds.lost(now)
    return made + withdraw(programme.granting, customer_id, customer, about, now, "the payment was fraud")


def _keeps(programme: Programme, customer: Customer, payment: int, now: int) -> list[Transition]:
    """Something was taken back: the history keeps the share of a payment, at its own rate, that the ledger does."""
    entry, paid = customer.ledger.payments.get(payment), customer.history.of(payment)
    if entry is None or paid is None or not entry.settled or paid.time_ms < now - HORIZON_MS:
        return []  # nothing changes, and it may have been forgotten, when is a matter of chance
    if entry.lost:
        return customer.lose(payment, now, programme.population)
    back = paid.minor * min(entry.refunded, entry.settled) // entry.settled
    return customer.refund(payment, back, now, programme.population) if back > paid.refunded else []


def _in_its_currency(customer: Customer, happening: Happening) -> int:
    """What was given back, in minor units of the payment's currency: at the rates in force where it is in another one,
    0 where one of the two has no rate. Until the payment settles its currency is not known: taken to be the same."""
    paid, entry = customer.history.of(happening.payment), customer.ledger.payments.get(happening.payment)
    if paid is None or entry is None or happening.currency in (paid.currency, ""):
        return happening.minor
    return (2 * happening.base_minor * entry.settled + paid.minor) // (2 * paid.minor) if paid.minor else 0
