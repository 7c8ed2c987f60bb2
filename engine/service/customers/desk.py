"""Answers about customers, out of the store."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engine.core.adoption import in_force
from engine.core.campaign_state import population_of
from engine.core.lifetimes import models_of
from engine.core.settings import CoreSettings
from engine.domain.currencies import EXPONENTS
from engine.engagement.base_earn import Account
from engine.engagement.customer.codec import load
from engine.ports.store import StateStore
from engine.ruleset.ruleset import RuleSet
from engine.service.customers import erasing, views
from engine.service.customers.balances import stored
from engine.service.customers.features import CustomerFeatures
from engine.service.customers.records import Held, decisions, find
from engine.service.rule_sets import RuleLibrary

Tell = Callable[[str, bytes], Awaitable[None]]
"""Puts an event of a customer (id, JSON) onto the log, and returns once it is held safely. Raises `LogUnavailable`."""
ACCOUNT_ERASED: Final = "account.erased"


def erasure(customer_id: str, now_ms: int) -> tuple[str, bytes]:
    """An `account.erased` event: its id, and the record."""
    event_id = f"erasure-{uuid.uuid4().hex}"
    event = {"event_id": event_id, "type": ACCOUNT_ERASED, "event_time": now_ms, "customer_id": customer_id}
    return event_id, msgspec.json.encode(event)


@dataclass(frozen=True, slots=True)
class StoredCustomers:
    """Implements `engine.ports.customers.Customers`.

    Attributes:
        store, shards: the state, and how many shards it has.
        library: rule sets by hash, for what features mean.
        core: how the shards are set up.
        currency: the base currency.
        tell: see `Tell`.
        now_ms: wall time, of erasures.
    """

    store: StateStore
    library: RuleLibrary
    core: CoreSettings
    currency: str
    shards: Callable[[], int]
    tell: Tell
    now_ms: Callable[[], int]

    async def profile(self, customer_id: str) -> dict[str, Any]:
        """See `Customers.profile`."""
        return self._profile(await self._find(customer_id))

    async def features(self, customer_id: str, at_ms: int | None = None) -> dict[str, Any]:
        """See `Customers.features`."""
        return await self._features(await self._find(customer_id), at_ms)

    async def ledger(self, customer_id: str) -> dict[str, Any]:
        """See `Customers.ledger`."""
        return _ledger(await self._find(customer_id))

    async def payments(self, customer_id: str) -> dict[str, Any]:
        """See `Customers.payments`."""
        return await self._payments(await self._find(customer_id))

    async def export(self, customer_id: str) -> dict[str, Any]:
        """See `Customers.export`."""
        held = await self._find(customer_id)
        customer = load(held.record)[0]
        return {
            **self._profile(held),
            "erased": erasing.is_erased(customer),
            "stays": erasing.left(self.core) if erasing.is_erased(customer) else [],
            "features": await self._features(held, None),
            "ledger": _ledger(held),
            "payments": await self._payments(held),
            "events_remembered_at": [views.time(time_ms) for time_ms in held.times()],
            "course": views.course(customer),
        }

    async def erase(self, customer_id: str) -> dict[str, Any]:
        """See `Customers.erase`."""
        held = await self._find(customer_id)
        event_id, record = erasure(held.customer_id, self.now_ms())
        await self.tell(held.customer_id, record)
        return erasing.answer(held.customer_id, event_id, self.core)

    async def _find(self, customer_id: str) -> Held:
        return await find(self.store, self.shards(), customer_id)

    def _profile(self, held: Held) -> dict[str, Any]:
        balances = stored(held.account, held.record)
        population = population_of(held.head.state, EXPONENTS.get(self.currency, 2))
        models_of(held.head.state, population)
        return views.profile(held, load(held.record)[0], population, balances)

    async def _payments(self, held: Held) -> dict[str, Any]:
        labels = self.core.labels
        made = await decisions(self.store, held, max(labels.horizon_ms, labels.maturity_ms))
        return views.payments(held, load(held.record)[0], made, self.currency)

    async def _features(self, held: Held, at_ms: int | None) -> dict[str, Any]:
        ruleset = await self._ruleset(held)
        at_ms = max(held.times(), default=0) if at_ms is None else at_ms
        # Beside the event loop: compiling a plan takes some 20 ms, in which decisions would wait.
        given = ruleset, held.head.state, self.core.features, held.customer_id, at_ms
        reader = await asyncio.to_thread(CustomerFeatures, *given)
        values = await asyncio.to_thread(reader.values, await self.store.load(held.shard, reader.keys))
        told = {"customer_id": held.customer_id, "at": views.time(at_ms), "ruleset": ruleset.hash}
        return {**told, "features": values}

    async def _ruleset(self, held: Held) -> RuleSet:
        """The rule set in force in the customer's shard; before its first commit, or where it is gone, the first."""
        name = in_force(held.head.state)
        return (await self.library.fetch(name) if name else None) or self.library.first


def _ledger(held: Held) -> dict[str, Any]:
    account, customer = Account.restore(held.account), load(held.record)[0]
    return views.ledger(held, customer, account, stored(held.account, held.record))
