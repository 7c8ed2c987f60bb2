"""A customer stored batch by batch is the same customer; damage is refused; the size is within its budget."""

import copy
import random
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS, add_months
from engine.engagement.customer import codec, past
from engine.engagement.customer.codec import DamagedCustomer, Stored, load, unread
from engine.engagement.customer.customer import Customer, Feedback, Population
from engine.engagement.customer.habits import Paid
from engine.engagement.ledger import codec as ledgers
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.keys import KEY_BITS, earned_number
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.marketing.choosing import Chosen
from engine.engagement.marketing.offers import Open
from engine.ruleset.campaigns.model import Cap
from tests.engagement import snapshot_oracle
from tests.engagement.paying import settle

START = 1_767_225_600_000
BUDGET_BYTES = 4_096
CAPS = (Cap("customer", times=3, per_ms=30 * DAY_MS), Cap("customer", amount=500.5, period="day"))

steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "refund", "dispute", "answer", "consent", "wait", "redeem", "return",
                         "offer", "sent", "taken", "count", "expose", "choose", "close", "judge", "move"]),
        st.integers(0, 40 * 86_400),
        st.integers(1, 9),
    ),
    max_size=40,
)  # fmt: skip


def terms(payment: int, now: int, zone: str) -> Terms:
    return Terms("base_earn", 1, POINTS, payment=payment, available_ms=now + 14 * DAY_MS,
                 expires_ms=add_months(now + 14 * DAY_MS, 12, zone))  # fmt: skip


def pay(customer: Customer, now: int, payment: int, minor: int, words: tuple[str, str], population: Population) -> None:
    """A payment that settles and earns; the ledger keeps account in its own currency, which may be another."""
    settle(customer, Paid(now // 1000 * 1000, payment, minor, 0, *words, "EUR"), population)
    customer.ledger.settle(payment, minor + minor % 7, now)
    number = earned_number("base_earn", 1, payment) if payment % 5 else payment + 7
    customer.ledger.grant(number, terms(payment, now, customer.zone), max(1, minor // 100), now)


def do(customer: Customer, what: str, now: int, number: int, population: Population) -> None:
    customer.advance(now, population)
    customer.seen(now)
    history, ledger = customer.history, customer.ledger
    paid = history.paid[-number % len(history.paid)] if history.paid else None
    if what == "pay":
        words = "card" if number % 2 else "", str(5400 + number)
        pay(customer, now + number, now % 2**KEY_BITS, number * 1_000, words, population)
    elif what == "refund" and paid:
        ledger.refund(paid.payment, now, number * 100, now)
        customer.refund(paid.payment, number * 100, now, population)
    elif what == "dispute" and paid:
        ledger.charge_back(paid.payment, now, paid.minor, now)
        customer.disputed(now)
        customer.lose(paid.payment, now, population)
    elif what == "answer":
        customer.answer("nps", float(number), now)
    elif what == "consent":
        customer.agree({"marketing": number % 2 == 0})
    elif what == "redeem":
        ledger.redeem((POINTS, ""), number, now + 1, now)
    elif what == "return" and ledger.spent:
        ledger.give_back(min(ledger.spent), now)
    elif what == "judge":
        ledger._note(*judged(paid.payment if paid and number % 2 else now, 10 * number, now))
    elif what == "move":
        customer.zone, customer.birth = ("Asia/Tokyo", "1990-02-28") if number % 2 else ("", "")
    else:
        market(customer, what, now, number)


def market(customer: Customer, what: str, now: int, number: int) -> None:
    name = f"campaign{number % 3}"
    if what == "offer":
        payment = customer.history.paid[-1].payment if customer.history.paid else 0
        customer.offers.issue(Open(f"off_{number}", name, 1, "five", now, now + DAY_MS, payment, "", number, False))
    elif what == "sent":
        for one in customer.offers.due(now):
            customer.offers.sent(one)
    elif what == "taken":
        customer.offers.take(f"off_{number}")
    elif what == "count":
        customer.counts.count(name, CAPS[: number % 3], number / 4, now, customer.zone)
    elif what == "expose":
        customer.exposures.open(f"{name}:1", number % 2 == 0, now, customer.history)
    elif what == "choose":
        customer.choices.open(f"{name}:1", Chosen(now, number, number / 16, bytes((255, number)), 0))
        customer.choices.cost(f"{name}:1", number)
    elif what == "close":
        customer.exposures.close(now, customer.history)
        customer.choices.close(now, customer.history)


@settings(deadline=None, max_examples=250)
@given(steps, st.sampled_from(["", "Asia/Shanghai"]), st.integers(1, 7), st.booleans())
def test_what_is_stored_batch_by_batch_is_the_same_customer(
    given_steps: list[tuple[str, int, int]], zone: str, batch: int, small: bool
) -> None:
    population, customer, stored = Population(), Customer(zone=zone), Stored()
    value, now = b"", START
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "FRAMES_BYTES_MIN", 100 if small else 100_000)
        for place, (what, wait, number) in enumerate(given_steps):
            now += wait * 1000
            do(customer, what, now, number, population)
            if place % batch == 0:
                written, replaces = stored.write(customer, now)
                value = written if replaces else value + written
                assert stored.write(customer, now) == (b"", False)
                dumped_alike(customer, now)
                again, stored_again = load(value)
                equal(again, customer, now)
                assert again.counts == customer.counts
                lengths = stored_again.snapshot_bytes, stored_again.tail_bytes
                assert lengths == (stored.snapshot_bytes, stored.tail_bytes)
                if number % 3 == 0:
                    customer, stored = again, stored_again


def dumped_alike(customer: Customer, now: int) -> None:
    """Column by column, a snapshot is byte for byte what it is row by row."""
    mine = copy.deepcopy(customer)
    since = now - codec.HORIZON_MS
    mine.ledger.forget(now)
    loose, packed, told = past.dump(mine.history, mine.ledger.payments, since)
    expected = snapshot_oracle.history(mine.history, mine.ledger.payments, since)
    assert (loose, packed, list(zip(*told, strict=True))) == expected
    assert ledgers.dump(mine.ledger, told) == snapshot_oracle.ledger(mine.ledger, expected[2])


def equal(again: Customer, customer: Customer, now: int) -> None:
    """What is over may be forgotten, when makes no difference; so may keys of payments that nothing can happen to."""
    for who in (again, customer):
        who.ledger.forget(now)
    for one, other in zip(again.history.paid, customer.history.paid, strict=True):
        assert one == other or (one == other._replace(payment=0) and one.time_ms < now - codec.HORIZON_MS)
    for one in fields(Customer):
        if one.compare and one.name != "history":
            assert getattr(again, one.name) == getattr(customer, one.name), one.name
    for one in fields(customer.history):
        if one.compare and one.name != "paid":
            assert getattr(again.history, one.name) == getattr(customer.history, one.name), one.name


def test_every_field_is_stored() -> None:
    """Whoever adds one to a customer adds it to the codec."""
    values = {name.split(".")[0] for name in codec.VALUES}
    tables = {"states", "offers", "exposures", "choices"}
    assert values | tables | {"history", "ledger", "counts", "suspected"} == {
        one.name for one in fields(Customer) if one.compare
    }
    assert {name for name in codec.VALUES if "." in name} == {f"feedback.{one.name}" for one in fields(Feedback)}


def active(payments: int, days: int) -> tuple[list[bytes], Customer, Stored, int]:
    """A customer who redeems most of their points every tenth payment: values after each write, and the rest."""
    draw, population, customer, stored = random.Random(1), Population(), Customer(zone="Europe/Berlin"), Stored()
    customer.agree({"marketing": True, "profiling": True})
    values, now = [b""], START
    for number, at in enumerate(sorted(draw.randrange(days * DAY_MS) for _ in range(payments))):
        now = START + at
        customer.advance(now, population)
        words = draw.choice(["card", "wallet"]), draw.choice(["5411", "5812", "5732", "4111"])
        pay(customer, now, 5 * draw.getrandbits(KEY_BITS - 3) + 1, draw.randrange(300, 30_000), words, population)
        customer.counts.count("base_earn", CAPS[1:], 50.0, now, customer.zone)
        if number % 10 == 9:
            points = customer.ledger.balance((POINTS, ""))[1]
            customer.ledger.redeem((POINTS, ""), max(1, points * 3 // 4), draw.getrandbits(KEY_BITS), now)
        written, replaces = stored.write(customer, now)
        values.append(written if replaces else values[-1] + written)
    return values, customer, stored, now


def test_the_size_of_an_active_customer_is_within_its_budget() -> None:
    """200 payments in 400 days; the offers and counters of campaigns take up to 400 bytes more: docs/state.md."""
    values, customer, stored, now = active(200, 400)
    assert stored.snapshot_bytes <= BUDGET_BYTES - 400
    assert max(map(len, values)) <= 2 * BUDGET_BYTES
    equal(load(values[-1])[0], customer, now)


def test_a_frame_holds_what_has_changed() -> None:
    values, customer, stored, now = active(30, 60)
    whole, _ = load(values[-1])
    customer.clock_ms = now + 1
    written, replaces = stored.write(customer, now + 1)
    assert not replaces
    assert len(written) < 24
    whole.clock_ms = now + 1
    assert load(values[-1] + written)[0] == whole


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_anywhere_is_refused(data: st.DataObject) -> None:
    values, *_ = active(12, 30)
    value = values[-1]
    place = data.draw(st.integers(0, len(value) - 1))
    flipped = bytes((value[place] ^ data.draw(st.integers(1, 255)),))
    ends = {0}
    while max(ends) < len(value):
        ends.add(max(ends) + 8 + int.from_bytes(value[max(ends) : max(ends) + 4], "little"))
    damaged = [value[:place] + flipped + value[place + 1 :]]
    damaged += [value[:place]] if place not in ends else []
    for one in damaged:
        with pytest.raises(DamagedCustomer):
            load(one)


def test_what_is_no_customer_is_refused() -> None:
    customer, stored, population = Customer(), Stored(), Population()
    do(customer, "pay", START, 3, population)
    first, _ = stored.write(customer, START)
    do(customer, "pay", START + DAY_MS, 4, population)
    second, replaces = stored.write(customer, START + DAY_MS)
    assert not replaces
    assert load(first + second)[0] == customer
    for value in (first + second + second, second, b"\x01\x00\x00\x00x", codec._framed(b""), codec._framed(b"\x80")):
        with pytest.raises(DamagedCustomer):
            load(value)
    with pytest.raises(DamagedCustomer, match="a customer of version 1; this build reads version 3"):
        load(codec._framed(b"\x01"))
    with pytest.raises(DamagedCustomer, match="not of version 3"):
        load(b"\x04\x00\x00\x00\x78\x9c\x03\x00")  # as version 1 was written


def test_a_decline_is_stored_without_reading() -> None:
    """Of a new customer too, who is stored with all of it as soon as something happens to them."""
    declines = unread(judged(7, 255, START)) + unread(judged(8, 40, START))
    customer, stored = load(declines)
    assert (customer.ledger.payments[7].blocked, customer.ledger.payments[8].risk) == (True, 40)
    written, replaces = stored.write(customer, START)
    assert replaces
    assert load(written + unread(judged(8, 60, START)))[0].ledger.payments[8].risk == 60
    assert load(written)[0] == customer


def test_a_copy_does_not_share_what_it_holds() -> None:
    """The codec compares with what it wrote; a customer changed in place must differ from it."""
    customer, stored = Customer(), Stored()
    do(customer, "consent", START, 2, Population())
    stored.write(customer, START)
    before = copy.deepcopy(customer)
    do(customer, "consent", START, 3, Population())
    assert before != customer
    assert stored.write(customer, START)[0]
