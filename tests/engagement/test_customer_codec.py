"""A customer stored batch by batch is the same customer; damage is refused; the size is within its budget."""

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS, add_months
from engine.engagement.customer.codec import DamagedCustomer, Stored, load
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.history import Paid
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.packing import pack_rows, unpack_rows

START = 1_767_225_600_000
BUDGET_BYTES = 6_144  # of which ids of payments and lots are 3,100: docs/state.md

steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "refund", "dispute", "lose", "answer", "consent", "wait", "redeem"]),
        st.integers(0, 40 * 86_400),
        st.integers(1, 9),
    ),
    max_size=40,
)


def do(customer: Customer, what: str, now: int, number: int, population: Population) -> None:
    customer.advance(now, population)
    customer.seen(now)
    if what == "pay":
        payment = Paid(now, now // 1000, number * 1_000, 0, "card" if number % 2 else "", str(5400 + number), "EUR")
        customer.pay(payment, population)
        customer.ledger.settle(payment.payment, payment.minor, now)
        terms = Terms("base_earn", 1, POINTS, payment=payment.payment, available_ms=now + 14 * DAY_MS,
                      expires_ms=add_months(now, 12, customer.zone))  # fmt: skip
        customer.ledger.grant(payment.payment + 7, terms, number * 10, now)
    elif what == "refund" and customer.history.paid:
        paid = customer.history.paid[-number % len(customer.history.paid)]
        customer.ledger.refund(paid.payment, now, number * 100, now)
        customer.refund(paid.payment, number * 100, now, population)
    elif what == "dispute" and customer.history.paid:
        customer.disputed(now)
        customer.ledger.charge_back(customer.history.paid[-1].payment, now, number * 100, now)
    elif what == "lose" and customer.history.paid:
        customer.lose(customer.history.paid[-number % len(customer.history.paid)].payment, now, population)
    elif what == "answer":
        customer.answer("nps", float(number), now)
    elif what == "consent":
        customer.agree({"marketing": number % 2 == 0})
    elif what == "redeem":
        customer.ledger.redeem((POINTS, ""), number, now + 1, now)


@settings(deadline=None, max_examples=250)
@given(steps, st.sampled_from(["", "Asia/Shanghai"]), st.integers(1, 7))
def test_what_is_stored_batch_by_batch_is_the_same_customer(
    given_steps: list[tuple[str, int, int]], zone: str, batch: int
) -> None:
    population, customer, stored = Population(), Customer(zone=zone), Stored()
    value, now = b"", START
    for place, (what, wait, number) in enumerate(given_steps):
        now += wait * 1000
        do(customer, what, now, number, population)
        if place % batch == 0:
            written, replaces = stored.write(customer, now)
            value = written if replaces else value + written
            assert stored.write(customer, now) == (b"", False)
            again, stored_again = load(value)
            for who in (again, customer):  # what is over may be forgotten, when makes no difference
                who.ledger.forget(now)
            assert again == customer
            assert (stored_again.snapshot_bytes, stored_again.tail_bytes) == (stored.snapshot_bytes, stored.tail_bytes)
            if number % 3 == 0:
                customer, stored = again, stored_again


def test_the_size_of_an_active_customer_is_within_its_budget() -> None:
    """200 payments in 20 months, 10 a month, points redeemed every tenth payment: snapshot and full tail."""
    draw, population, customer, stored = random.Random(1), Population(), Customer(zone="Europe/Berlin"), Stored()
    customer.agree({"marketing": True, "profiling": True})
    value, longest = b"", 0
    for number in range(200):
        now = START + (number * 3 * 86_400 + draw.randrange(86_400)) * 1000
        customer.advance(now, population)
        minor, payment = draw.randrange(300, 30_000), draw.getrandbits(64)
        method, category = draw.choice(["card", "wallet"]), draw.choice(["5411", "5812", "5732", "4111"])
        customer.pay(Paid(now, payment, minor, 0, method, category, "EUR"), population)
        customer.ledger.settle(payment, minor, now)
        terms = Terms("base_earn", 1, POINTS, payment=payment, available_ms=now + 14 * DAY_MS,
                      expires_ms=add_months(now, 12, customer.zone))  # fmt: skip
        customer.ledger.grant(draw.getrandbits(64), terms, minor // 100, now)
        if number % 10 == 9:
            active = customer.ledger.balance((POINTS, ""))[1]
            customer.ledger.redeem((POINTS, ""), max(1, active * 3 // 4), draw.getrandbits(64), now)
        written, replaces = stored.write(customer, now)
        value = written if replaces else value + written
        longest = max(longest, len(value))
    assert stored.snapshot_bytes <= BUDGET_BYTES
    assert longest <= 2 * BUDGET_BYTES + 1024
    again = load(value)[0]
    again.ledger.forget(now)
    customer.ledger.forget(now)
    assert again.ledger == customer.ledger
    assert again.history.months == customer.history.months


def test_damaged_bytes_are_refused() -> None:
    customer, stored, population = Customer(), Stored(), Population()
    do(customer, "pay", START, 3, population)
    first, _ = stored.write(customer, START)
    do(customer, "pay", START + DAY_MS, 4, population)
    second, replaces = stored.write(customer, START + DAY_MS)
    assert not replaces
    assert load(first + second)[0] == customer
    for value in (first[:-1], first + second[:-1], b"\x01\x00\x00\x00x", first + second + second, second):
        with pytest.raises(DamagedCustomer):
            load(value)


@given(st.integers(0, 5).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * n), max_size=30)))
def test_rows_are_packed_and_unpacked(rows: list[tuple[int, ...]]) -> None:
    filled = [row for row in rows if row]
    assert list(unpack_rows(pack_rows(filled))) == filled


def test_a_copy_does_not_share_what_it_holds() -> None:
    """The codec compares with what it wrote; a customer changed in place must differ from it."""
    customer, stored = Customer(), Stored()
    do(customer, "consent", START, 2, Population())
    stored.write(customer, START)
    before = copy.deepcopy(customer)
    do(customer, "consent", START, 3, Population())
    assert before != customer
    assert stored.write(customer, START)[0]
