"""Books under pseudonyms prove the same balances."""

import asyncio
from decimal import Decimal

from engine.adapters.memory_store import MemoryStore
from engine.core.customers import customer_key
from engine.domain.ops import SET, Op, pack
from engine.engagement.customer.codec import Stored
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import POINTS
from engine.ports.store import Commit
from engine.service.customers.balances import balances
from engine.service.customers.erasing import is_erased, pseudonym


def test_a_debt_is_found_by_id_and_by_pseudonym() -> None:
    customer = Customer(ledger=Ledger(done={1, 2}, debts={(POINTS, ""): 40}), clock_ms=1)
    assert is_erased(customer)
    assert not is_erased(Customer())
    customer.ledger.journal.append((2, 1))

    async def ask() -> None:
        store = MemoryStore()
        value, _ = Stored().write(customer, 0)
        await store.commit(Commit(0, -1, 1, pack(Op(SET, customer_key("anna"), value))))
        named = [pseudonym("anna"), "anna", pseudonym("nobody"), "erased-anna"]
        found = await balances(store, 1, named)
        owed = {"pending": Decimal(0), "active": Decimal(0), "debt": Decimal(40)}
        assert found == {(who, "points", ""): owed for who in named[:2]}

    asyncio.run(ask())
