"""Balances of states are those that the entries prove."""

from decimal import Decimal

from hypothesis import given, settings

from engine.engagement.base_earn import SETTLED, Account, record
from engine.engagement.customer.codec import Stored
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.verify import verify
from engine.service.customers.balances import of_account, of_ledger, stored
from tests.engagement.test_ledger import Step, steps
from tests.engagement.test_ledger_entries import put_out


@settings(max_examples=100)
@given(steps)
def test_balances_of_a_ledger_are_those_of_its_entries(given_steps: list[Step]) -> None:
    ledger = Ledger()
    rewards = put_out(ledger, given_steps)
    found = {("c1", *purse): buckets for purse, buckets in of_ledger(ledger).items()}
    assert verify(rewards, found).faults == []
    customer = Customer()
    customer.ledger = ledger
    value, _ = Stored().write(customer, 0)
    if value:
        assert stored(None, value) == of_ledger(ledger)


def test_accounts_and_records_add_up() -> None:
    value = record(SETTLED, 7, 0, 1_000, 10, 1)
    points = {("points", ""): {"pending": Decimal(10), "active": Decimal(0), "debt": Decimal(0)}}
    assert of_account(Account.restore(value)) == points
    assert stored(value, None) == points
    assert stored(None, None) == {}
