"""The cases of customers: what was decided on each of their payments, and what became of it.

A customer's cases are stored in keys of eight days of decisions each. A decision is appended without reading; only when
something is told of a payment are the keys of its customer read that can hold it. Nothing is trimmed: a key goes as a
whole when it is older than anything that can still be told, by its expiry in a store, by the clock in memory.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.cases import Case, Cases, Form, Index, Notice, header
from engine.domain.ops import APPEND, KEY_LABEL, Op, pack
from engine.domain.times import DAY_MS

PERIOD_MS: Final = 8 * DAY_MS
SLACK_MS: Final = 4 * DAY_MS
"""A stored key outlives what can be told of it by so much of the store's own time: an outage or a lag."""

_HOUR_MS: Final = 3_600_000
_KEY_BYTES: Final = 11
_CASE_AT: Final = 15  # bytes of a block's header
_INDEX_BYTES: Final = 16_384  # a longer book keeps its index: reading it anew for each label would take a millisecond

Place = tuple[int, int]
"""Period and customer hash."""


class Casebook:
    """Cases by customer and period.

    Args:
        horizon_ms: how long after a decision something may be told of it.
        backed: a state store stands behind; then only what a batch needs is in memory.
        customers_max: customers of whom it is remembered that their keys have an expiry.
    """

    def __init__(self, horizon_ms: int, *, backed: bool, customers_max: int) -> None:
        self._horizon_ms = horizon_ms
        self._backed = backed
        self._ttl_hours = (horizon_ms + PERIOD_MS + SLACK_MS) // _HOUR_MS
        self._books: dict[int, dict[int, bytearray]] = {}
        self._indexes: dict[Place, Index] = {}  # of long books
        self._expiring: set[Place] = set()
        self._expiring_max = customers_max
        self._ops: list[bytes] = []

    def missing(self, places: Iterable[Place]) -> list[bytes]:
        """The keys of a batch: forget what was loaded for the last one, and load these."""
        if not self._backed:
            return []
        self._books, self._indexes = {}, {}
        return [_key(period, customer) for period, customer in dict.fromkeys(places)]

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take the stored cases of a key into memory."""
        customer, period = int.from_bytes(key[1:9], "little"), int.from_bytes(key[9:], "little")
        self._books.setdefault(period, {})[customer] = bytearray(value or b"")
        self._indexes.pop((period, customer), None)

    def find(self, customer: int, payment: int, from_ms: int, to_ms: int) -> list[tuple[Place, Case]]:
        """The cases of a payment decided in `[from_ms, to_ms]`, oldest first, and where each is."""
        found = []
        for period, who in places(customer, from_ms, to_ms):
            data = self._books.get(period, {}).get(who)
            if data:
                index = Index() if len(data) < _INDEX_BYTES else self._indexes.setdefault((period, who), Index())
                cases = index.of_payment(data, payment)
                times = [int(case.cases["decided_ms"][0]) for case in cases]
                found += [
                    ((period, who), case) for case, time in zip(cases, times, strict=True) if from_ms <= time <= to_ms
                ]
        return found

    def note(self, place: Place, notice: Notice) -> None:
        """Write down what became of a case that was found there."""
        packed = notice.packed()
        self._books[place[0]][place[1]] += packed
        if self._backed:
            self._ops.append(pack(Op(APPEND, _key(*place), packed)))

    def add(self, customers: NDArray[np.uint64], form: Form, cases: Cases) -> None:
        """Keep the cases of decisions, in order."""
        periods = np.maximum(cases["decided_ms"], 0) // PERIOD_MS
        if self._backed:
            self._ops.append(self._appends(customers, periods, form, cases))
            if not self._books:
                return
        size, body, head = form.dtype.itemsize, cases.tobytes(), header(form, 1)
        for row, place in enumerate(zip(periods.tolist(), customers.tolist(), strict=True)):
            book = self._books.get(place[0])
            if not self._backed:
                book = self._books.setdefault(place[0], {}) if book is None else book
                book.setdefault(place[1], bytearray()).extend(head + body[row * size : (row + 1) * size])
            elif book is not None and place[1] in book:
                book[place[1]].extend(head + body[row * size : (row + 1) * size])

    def _appends(self, customers: NDArray[np.uint64], periods: NDArray[np.int64], form: Form, cases: Cases) -> bytes:
        """An operation for each case (`engine.domain.ops`), all of one size."""
        size = form.dtype.itemsize
        one = np.dtype(
            [
                ("kind", "u1"), ("key_bytes", "u1"), ("ttl_hours", "<u2"), ("value_bytes", "<u4"), ("room", "u1"),
                ("customer", "<u8"), ("period", "<u2"), ("header", "u1", (_CASE_AT,)), ("case", form.dtype),
            ]
        )  # fmt: skip
        out = np.zeros(len(cases), one)
        out["kind"], out["key_bytes"], out["value_bytes"] = APPEND, _KEY_BYTES, _CASE_AT + size
        out["room"], out["customer"], out["period"] = KEY_LABEL[0], customers, periods
        out["ttl_hours"] = self._ttls(periods.tolist(), customers.tolist())
        out["header"] = np.frombuffer(header(form, 1), np.uint8)
        out["case"] = cases
        return out.tobytes()

    def _ttls(self, periods: Sequence[int], customers: Sequence[int]) -> list[int]:
        """Expiry to set with each append: with the first to a key that is known of, as each costs the server a command.
        It is the same for the whole period, so the last case of it is kept for as long as the first."""
        found = []
        for place in zip(periods, customers, strict=True):
            found.append(0 if place in self._expiring else self._ttl_hours)
            self._expiring.add(place)
        if len(self._expiring) > self._expiring_max:
            self._expiring.clear()
        return found

    def forget(self, now_ms: int) -> None:
        """Drop what is older than anything that can be told of it. In memory only; a store lets keys expire."""
        last = (now_ms - self._horizon_ms) // PERIOD_MS - 1
        for period in [period for period in self._books if period < last] if not self._backed else ():
            del self._books[period]
            self._indexes = {place: index for place, index in self._indexes.items() if place[0] != period}

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch added."""
        ops, self._ops = self._ops, []
        return ops


def places(customer: int, from_ms: int, to_ms: int) -> list[Place]:
    """Where the decisions on a customer's payments in `[from_ms, to_ms]` are."""
    return [(period, customer) for period in range(max(from_ms, 0) // PERIOD_MS, max(to_ms, 0) // PERIOD_MS + 1)]


def place_of(customer: int, decided_ms: int) -> Place:
    """Where a decision is."""
    return max(decided_ms, 0) // PERIOD_MS, customer


def _key(period: int, customer: int) -> bytes:
    return KEY_LABEL + customer.to_bytes(8, "little") + period.to_bytes(2, "little")
