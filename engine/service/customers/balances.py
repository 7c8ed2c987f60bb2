"""Balances as the stored states have them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.engagement.base_earn import Account
from engine.engagement.customer.codec import load
from engine.engagement.ledger.books import purse
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import CASHBACK, KINDS, POINTS
from engine.engagement.ledger.verify import BUCKETS
from engine.ports.store import StateStore
from engine.service.customers.erasing import keys_of

CUSTOMERS: Final = 500
"""Asked for in one call of each shard."""
Balances = dict[tuple[str, str], dict[str, Decimal]]
"""Kind and currency ("" for none) to what is in each bucket."""


def of_ledger(ledger: Ledger) -> Balances:
    """The balances of a customer's ledger; kinds that add up to nothing are left out."""
    found: Balances = {}
    for kind, currency in sorted({*map(purse, ledger.lots.values()), *ledger.debts}):
        places = EXPONENTS.get(currency, 0) if kind == CASHBACK else 0
        amounts = [Decimal(amount).scaleb(-places) for amount in ledger.balance((kind, currency))]
        if any(amounts):
            found[KINDS[kind], currency] = dict(zip(BUCKETS, amounts, strict=True))
    return found


def of_account(account: Account) -> Balances:
    """The balances of an account of the built-in base earn: its points stay pending."""
    points = sum(payment.kept for payment in account.payments.values())
    if not points:
        return {}
    return {(KINDS[POINTS], ""): {**dict.fromkeys(BUCKETS, Decimal(0)), "pending": Decimal(points)}}


def stored(account: bytes | None, record: bytes | None) -> Balances:
    """The balances of a customer by what is stored under both keys. Raises `DamagedCustomer`."""
    found = of_account(Account.restore(account))
    for purse_of, buckets in of_ledger(load(record or b"")[0].ledger).items():
        before = found.get(purse_of, dict.fromkeys(BUCKETS, Decimal(0)))
        found[purse_of] = {bucket: before[bucket] + amount for bucket, amount in buckets.items()}
    return found


async def balances(
    store: StateStore, shards: int, customers: Sequence[str]
) -> Mapping[tuple[str, str, str], Mapping[str, Decimal]]:
    """The balances of customers (ids or pseudonyms) by customer, kind and currency, wherever they are stored. Raises
    `StoreUnavailable`, `DamagedCustomer`."""
    found: dict[tuple[str, str, str], Mapping[str, Decimal]] = {}
    for some in _chunks(customers):
        keys = [key for customer in some for key in keys_of(customer)]
        for values in await asyncio.gather(*(store.load(shard, keys) for shard in range(shards))):
            for place, customer in enumerate(some):
                held = stored(values[2 * place], values[2 * place + 1])
                found.update({(customer, *purse_of): buckets for purse_of, buckets in held.items()})
    return found


def _chunks(customers: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(customers)
    while some := list(islice(rest, CUSTOMERS)):
        yield some
