"""Customers of a shard in memory, and what of them is to be stored."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from engine.core.rewards import KEYS_KEPT, account_key
from engine.domain.ops import APPEND, SET, Op, pack
from engine.engagement.customer.codec import Stored, load, unread, unread_crowd
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.facts import Fact
from engine.engagement.models.bgnbd import BgNbd
from engine.ruleset.campaigns.suspecting import Crowd

RECORD: Final = b"e"
"""Ends the state key of a customer's record; the key without it is that of the built-in base earn's account."""

WAKES: Final = 2
"""Kind of the timers that wake customers. The kind is stored: numbers are never used again for something else."""


@lru_cache(maxsize=KEYS_KEPT)
def customer_key(customer_id: str) -> bytes:
    """State key of a customer's record."""
    return account_key(customer_id) + RECORD


def is_customer(key: bytes) -> bool:
    """Whether a key of the customers' room is that of a record."""
    return len(key) == len(_LIKE)


_LIKE: Final = customer_key("")


class Record:
    """One customer in memory.

    Attributes:
        key: of the state.
        customer: see there; known: something is stored of them, or has happened.
        stored: how their stored value stands.
        touched: something has happened since their timer was set.
        due_ms, fit: when something is next due, if not, by these fitted lifetimes; 0 where that is not known.
        forgot_ms: when what is over of the ledger was last dropped from memory.
    """

    __slots__ = ("_value", "customer", "due_ms", "fit", "forgot_ms", "key", "known", "stored", "touched")

    def __init__(self, key: bytes, value: bytes | None = None) -> None:
        self.key = key
        self.customer, self.stored = Customer(), Stored()
        self._value = value or b""
        self.known = bool(value)
        self.touched = False
        self.due_ms = self.forgot_ms = 0
        self.fit: BgNbd | None = None

    def read(self) -> None:
        """Read what is stored, before the first use: of most customers that a batch could need, it needs nothing.

        Raises `DamagedCustomer`.
        """
        if self._value:
            self.customer, self.stored = load(self._value)
            self._value = b""


class Customers:
    """Records by key.

    Args:
        backed: a state store stands behind: operations are produced, and records not in memory are to be loaded.
    """

    def __init__(self, *, backed: bool) -> None:
        self._backed = backed
        self._held: dict[bytes, Record] = {}
        self._changed: dict[bytes, Record] = {}
        self._ops: list[bytes] = []

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those that memory does not hold."""
        return [key for key in dict.fromkeys(keys) if key not in self._held] if self._backed else []

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take a stored record into memory; `None` for a new customer."""
        self._held[key] = Record(key, value)

    def at_hand(self, key: bytes) -> Record | None:
        """The record, if it is in memory."""
        return self._held.get(key)

    def change(self, key: bytes) -> Record:
        """The record of a customer to whom something happens. Raises `DamagedCustomer`."""
        record = self._held.get(key)
        if record is None:
            record = self._held[key] = Record(key)
        record.read()
        record.known = True
        self._changed[key] = record
        return record

    def note(self, key: bytes, fact: Fact) -> None:
        """A fact of the ledger of a customer who need not be in memory for it."""
        if self._backed and key not in self._held:
            self._ops.append(pack(Op(APPEND, key, unread(fact))))
            return
        ledger = self.change(key).customer.ledger
        ledger.learn(fact)
        ledger.journal.append(fact)

    def crowd(self, key: bytes, payment: int, day: int, crowd: Crowd) -> None:
        """What the request of a payment showed on a UTC day of a customer, who need not be in memory for it."""
        if self._backed and key not in self._held:
            self._ops.append(pack(Op(APPEND, key, unread_crowd(payment, day, crowd))))
            return
        self.change(key).customer.suspected.ask(payment, day, crowd)

    @property
    def changed(self) -> bool:
        """Something happened to somebody in memory."""
        return bool(self._changed)

    def flush(self, now_ms: int) -> list[bytes]:
        """Packed operations that store what a batch changed."""
        ops, self._ops = self._ops, []
        for key, record in self._changed.items():
            if self._backed:
                come_ms = min(now_ms, record.customer.clock_ms)  # who is behind the shard still needs what is older
                value, replaces = record.stored.write(record.customer, come_ms)
                ops += [pack(Op(SET if replaces else APPEND, key, value))] if value else []
            record.customer.history.journal.clear()
            record.customer.ledger.journal.clear()
        self._changed = {}
        return ops

    def evict(self, customers_max: int) -> None:
        """Forget every record once more than `customers_max` are held; the store has them."""
        if self._backed and len(self._held) > customers_max:
            self._held = {}
