"""Admission: duplicates, lateness, and which events carry a decision.

Every accepted event leaves one record in its customer's admission log (its id), and a request leaves a second one
(its payment), so that a repeat is recognised and an authorisation knows whether a request came before it. The log is
append-only between trims. A trim is decided by the customer's own sequence of records and by nothing else: when the
log holds at least `TRIM_RECORDS_MIN` records and twice what the last trim left, records older than the median time of
its last `TRIM_MEDIAN_RECORDS` arrivals less their horizon go. A median, so that one event from the far future forgets
nothing.

Each record also holds the log offset of its event: the other half of the fence. The head says how far the shard has
come, each customer's log how far this customer has; where a log is loaded that is ahead of the batch, the two are not
of one moment (a half restored backup, a foreign hand), and nothing may be decided from them (`TornState`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.admission_kernel import (
    EVENT,
    PAYMENT,
    TRIMMED,
    AdmissionPool,
    admit_kernel,
    chain,
    find_customers,
    insert_records,
    new_customer,
)
from engine.domain.fields import DECISION_TYPES, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import APPEND, KEY_ADMISSION, SET, Op, pack
from engine.features.columns import Columns

RECORD: Final = np.dtype(
    [
        ("kind", "u1"),
        ("hash", "<u8"),
        ("time_low", "<u4"),
        ("time_high", "<i2"),
        ("offset_low", "<u4"),
        ("offset_high", "u1"),
    ]
)
"""One record as stored: 20 bytes, no padding. Time is signed, of 48 bits; the offset unsigned, of 40: 10^12 events."""

NO_OFFSETS: Final = -1
"""Also the offset of a record that was made under another log: before all of this one."""

_BEFORE: Final = (1 << 40) - 1  # as stored

_APPEND: Final = np.dtype(
    [
        ("kind", "u1"),
        ("key_bytes", "u1"),
        ("ttl_hours", "<u2"),
        ("value_bytes", "<u4"),
        ("room", "u1"),
        ("customer", "<u8"),
        ("record", RECORD),
    ]
)
"""The packed operation (`engine.domain.ops`) that appends one record."""

_ROWS: Final = tuple(STRING_INDEX[name] for name in ("customer_id", "event_id", "payment_id", "type"))
_TYPES: Final = np.array([hash64(name) for name in DECISION_TYPES], np.uint64)
_TTL_REFRESH_MS: Final = 7 * 86_400_000
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Times in milliseconds of event time.

    Attributes:
        lateness_ms: an event further behind its customer's greatest event time is marked late.
        dedupe_ms: how long an event id is remembered at least.
        payment_ms: how long a request is remembered at least; an authorisation comes within days, an extended one of a
            hotel or a car within a month or two.
    """

    lateness_ms: int = 3_600_000
    dedupe_ms: int = 7 * 86_400_000
    payment_ms: int = 90 * 86_400_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """What admission says of each row: `duplicate`, `late`, `decides`, bool `(n,)`; and the packed state operations."""

    duplicate: NDArray[np.bool_]
    late: NDArray[np.bool_]
    decides: NDArray[np.bool_]
    ops: bytes


class TornState(Exception):
    """State of a customer that is ahead of the shard: not all of it is of one moment."""


class Admission:
    """The admission state of one shard.

    Args:
        limits: horizons and lateness.
        backed: a state store stands behind it: operations are produced, and customers not in memory are to be loaded.
    """

    def __init__(self, limits: AdmissionLimits, *, backed: bool) -> None:
        self._limits = limits
        self._backed = backed
        self._pool = AdmissionPool()
        # The store's own clock drives expiry, so the key outlives the horizon by a month of outage or lag.
        self._ttl_hours = (max(limits.dedupe_ms, limits.payment_ms) + 30 * 86_400_000) // _HOUR_MS

    def missing(self, columns: Columns) -> list[bytes]:
        """Keys of the customers of this batch that are not in memory."""
        if not self._backed or columns.n == 0:
            return []
        customers = np.unique(columns.string("customer_id"))
        slots = find_customers(self._pool.arrays, customers)
        return [KEY_ADMISSION + int(h).to_bytes(8, "little") for h in customers[slots < 0]]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None], first: int = NO_OFFSETS) -> None:
        """Take stored admission logs into memory; `None` for a customer never seen.

        `first` is the offset of the batch that needs them. Raises `TornState`, and takes no more, where one holds it.
        """
        for key, value in zip(keys, values, strict=True):
            if len(value or b"") % RECORD.itemsize:
                raise TornState(f"the state of customer {key[1:9].hex()} ends in the middle of a record")
            records = np.frombuffer(value or b"", RECORD)
            offsets = _joined(records, "offset")
            offsets[offsets == _BEFORE] = NO_OFFSETS
            if first != NO_OFFSETS and len(records) and offsets.max() >= first:
                raise TornState(
                    f"the state of customer {key[1:9].hex()} holds the event at offset {offsets.max()}, the shard is "
                    f"about to process offset {first}"
                )
            self._pool.reserve(customers=1, records=len(records))
            arrays = self._pool.arrays
            slot = new_customer(arrays, np.uint64(int.from_bytes(key[1:9], "little")))
            kinds, hashes = records["kind"].astype(np.uint8), records["hash"].astype(np.uint64)
            insert_records(arrays, slot, kinds, hashes, _joined(records, "time"), offsets)

    def admit(self, columns: Columns, offsets: NDArray[np.int64] | None = None) -> Admitted:
        """Judge the rows of a batch, in order, and remember them; `offsets` of their records on the log."""
        n = columns.n
        offsets = np.zeros(n, np.int64) if offsets is None else offsets
        self._pool.reserve(customers=n, records=2 * n)
        verdicts, slots, trimmed = np.zeros((4, n), np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64)
        customer, event, payment, kind = (columns.strings[row] for row in _ROWS)
        limits = np.array([self._limits.lateness_ms, self._limits.dedupe_ms, self._limits.payment_ms], np.int64)
        trims = admit_kernel(
            self._pool.arrays, customer, event, payment, kind, columns.time_ms, offsets, _TYPES, limits,
            verdicts, slots, trimmed,
        )  # fmt: skip
        ops = b""
        if self._backed:
            # A trimmed log is stored whole, as it is after the batch; the others get what they left appended.
            rewritten = np.unique(trimmed[:trims])
            appended = ~verdicts[0] & ~np.isin(slots, rewritten) if trims else ~verdicts[0]
            ops = self._appends(columns, offsets, np.flatnonzero(appended), verdicts[3], slots)
            ops += b"".join(self._rewrite(int(slot)) for slot in rewritten)
        return Admitted(verdicts[0], verdicts[1], verdicts[2], ops)

    def _appends(
        self,
        columns: Columns,
        offsets: NDArray[np.int64],
        rows: NDArray[np.intp],
        paid: NDArray[np.bool_],
        slots: NDArray[np.int64],
    ) -> bytes:
        """The records that rows left, in order: a row's event id, then its payment where it left one."""
        counts = 1 + paid[rows].astype(np.int64)
        owner = np.repeat(rows, counts)
        second = np.zeros(len(owner), np.bool_)
        second[np.cumsum(counts)[paid[rows]] - 1] = True
        customer, event, payment, _ = (columns.strings[row] for row in _ROWS)
        out = np.zeros(len(owner), _APPEND)
        out["kind"] = APPEND
        out["key_bytes"] = 9
        out["ttl_hours"] = self._ttls(slots[owner], columns.time_ms[owner])
        out["value_bytes"] = RECORD.itemsize
        out["room"] = KEY_ADMISSION[0]
        out["customer"] = customer[owner]
        out["record"]["kind"] = np.where(second, PAYMENT, EVENT)
        out["record"]["hash"] = np.where(second, payment[owner], event[owner])
        _split(out["record"], "time", columns.time_ms[owner])
        _split(out["record"], "offset", offsets[owner])
        return out.tobytes()

    def _ttls(self, slots: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Expiry to set with each append: only once in a while for a customer, as each costs the server a command."""
        refreshed = self._pool.arrays.c_ttl_time
        stale = time_ms - refreshed[slots] > _TTL_REFRESH_MS
        refreshed[slots[stale]] = time_ms[stale]
        return np.where(stale, self._ttl_hours, 0)

    def _rewrite(self, slot: int) -> bytes:
        """The operation that stores a customer's whole log after a trim."""
        arrays = self._pool.arrays
        rows = chain(arrays, slot)
        out = np.zeros(len(rows) + 1, RECORD)
        out["kind"][0], out["time_low"][0] = TRIMMED, arrays.c_left[slot]
        out["kind"][1:], out["hash"][1:] = arrays.r_kind[rows], arrays.r_hash[rows]
        _split(out[1:], "time", arrays.r_time[rows])
        _split(out[1:], "offset", arrays.r_offset[rows])
        key = KEY_ADMISSION + int(arrays.c_hash[slot]).to_bytes(8, "little")
        return pack(Op(SET, key, out.tobytes(), self._ttl_hours))

    @property
    def customers(self) -> int:
        """Customers in memory."""
        return int(self._pool.arrays.used[1])

    def evict(self, customers_max: int) -> None:
        """Forget everything in memory once more than `customers_max` customers are held; the store has it all."""
        if self._backed and self.customers > customers_max:
            self.clear()

    def clear(self) -> None:
        """Forget everything in memory."""
        self._pool = AdmissionPool()


def under_another_log(value: bytes) -> bytes:
    """A stored admission log as it is to stand before a log whose offsets begin anew."""
    records = np.frombuffer(value, RECORD).copy()
    _split(records, "offset", np.full(len(records), NO_OFFSETS, np.int64))
    return records.tobytes()


def _split(records: NDArray[np.void], name: str, values: NDArray[np.int64]) -> None:
    """Store values in the two fields of `name`."""
    records[f"{name}_low"] = values & 0xFFFFFFFF
    records[f"{name}_high"] = values >> 32


def _joined(records: NDArray[np.void], name: str) -> NDArray[np.int64]:
    """The values of the two fields of `name`."""
    return records[f"{name}_high"].astype(np.int64) << 32 | records[f"{name}_low"].astype(np.int64)
