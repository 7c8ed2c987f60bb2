"""The arrays and kernels behind `engine.core.admission`.

Records of a customer form a chain, newest first, through one pool of records; one open-addressing table finds a
record by customer, kind and hash, another finds a customer by hash. Both use linear probing and hold index + 1, 0 for
a free place and -1 for a place whose record was trimmed. Hashes are SipHash already, so their low bits are used as
they are.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

EVENT: Final = 1
PAYMENT: Final = 2
TRIMMED: Final = 3  # not a record of an event: its time field holds how many records the last trim left

TRIM_RECORDS_MIN: Final = 64
TRIM_MEDIAN_RECORDS: Final = 32
_FREE: Final = 0
_GONE: Final = -1


class Arrays(NamedTuple):
    """Records (`r_`), customers (`c_`) and the two tables.

    `used` holds: records, customers, head of the free list + 1, places of the record table ever used.
    """

    r_hash: NDArray[np.uint64]
    r_time: NDArray[np.int64]
    r_offset: NDArray[np.int64]
    r_kind: NDArray[np.uint8]
    r_next: NDArray[np.int32]
    r_slot: NDArray[np.int32]
    c_hash: NDArray[np.uint64]
    c_head: NDArray[np.int32]
    c_count: NDArray[np.int32]
    c_left: NDArray[np.int32]
    c_time_max: NDArray[np.int64]
    c_ttl_time: NDArray[np.int64]
    records: NDArray[np.int32]
    customers: NDArray[np.int32]
    used: NDArray[np.int64]


@njit
def find_customer(a: Arrays, customer: np.uint64) -> int:
    """Slot of a customer, -1 where it is not in memory."""
    mask = a.customers.size - 1
    place = np.int64(customer & np.uint64(mask))
    while a.customers[place] != 0:
        slot = a.customers[place] - 1
        if a.c_hash[slot] == customer:
            return int(slot)
        place = (place + 1) & mask
    return -1


@njit
def find_customers(a: Arrays, customers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Slots of several customers."""
    out = np.empty(customers.size, np.int64)
    for i in range(customers.size):
        out[i] = find_customer(a, customers[i])
    return out


@njit
def new_customer(a: Arrays, customer: np.uint64) -> int:
    """Give a customer a slot (room must have been reserved); the one it has where it has one."""
    slot = find_customer(a, customer)
    if slot >= 0:
        return slot
    slot = int(a.used[1])
    a.used[1] += 1
    a.c_hash[slot] = customer
    a.c_head[slot] = -1
    a.c_count[slot] = 0
    a.c_left[slot] = 0
    a.c_time_max[slot] = -(2**62)
    a.c_ttl_time[slot] = -(2**62)
    mask = a.customers.size - 1
    place = np.int64(customer & np.uint64(mask))
    while a.customers[place] != 0:
        place = (place + 1) & mask
    a.customers[place] = slot + 1
    return slot


@njit
def _first_place(hashed: np.uint64, slot: int, kind: int, mask: int) -> int:
    place = np.int64(hashed & np.uint64(mask)) + np.int64(slot) * 7919 + np.int64(kind) * 104729
    return int(place & mask)


@njit
def find_record(a: Arrays, slot: int, kind: int, hashed: np.uint64) -> int:
    """Index of a customer's record, -1 where there is none."""
    mask = a.records.size - 1
    place = _first_place(hashed, slot, kind, mask)
    while a.records[place] != _FREE:
        record = a.records[place] - 1
        if record >= 0 and a.r_hash[record] == hashed and a.r_slot[record] == slot and a.r_kind[record] == kind:
            return int(record)
        place = (place + 1) & mask
    return -1


@njit
def insert_record(a: Arrays, slot: int, kind: int, hashed: np.uint64, time_ms: int, offset: int) -> None:
    """Append a record to a customer's chain (room must have been reserved)."""
    if kind == TRIMMED:
        a.c_left[slot] = time_ms
        return
    record = a.used[2] - 1
    if record >= 0:
        a.used[2] = a.r_next[record] + 1
    else:
        record = a.used[0]
        a.used[0] += 1
    a.r_hash[record] = hashed
    a.r_time[record] = time_ms
    a.r_offset[record] = offset
    a.r_kind[record] = kind
    a.r_slot[record] = slot
    a.r_next[record] = a.c_head[slot]
    a.c_head[slot] = record
    a.c_count[slot] += 1
    if kind == EVENT and time_ms > a.c_time_max[slot]:
        a.c_time_max[slot] = time_ms
    mask = a.records.size - 1
    place = _first_place(hashed, slot, kind, mask)
    while a.records[place] > 0:
        place = (place + 1) & mask
    if a.records[place] == _FREE:
        a.used[3] += 1
    a.records[place] = record + 1


@njit
def insert_records(
    a: Arrays,
    slot: int,
    kinds: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
    times: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> None:
    """Append stored records to a customer's chain (room must have been reserved)."""
    for i in range(kinds.size):
        insert_record(a, slot, int(kinds[i]), hashes[i], int(times[i]), int(offsets[i]))


@njit
def _forget(a: Arrays, record: int) -> None:
    mask = a.records.size - 1
    place = _first_place(a.r_hash[record], a.r_slot[record], a.r_kind[record], mask)
    while a.records[place] != record + 1:
        place = (place + 1) & mask
    a.records[place] = _GONE
    a.r_next[record] = a.used[2] - 1
    a.used[2] = record + 1


@njit
def trim(a: Arrays, slot: int, dedupe_ms: int, payment_ms: int) -> None:
    """Drop a customer's records older than their horizon, measured from the median of the last arrivals."""
    recent = np.empty(TRIM_MEDIAN_RECORDS, np.int64)
    record = int(a.c_head[slot])
    for i in range(TRIM_MEDIAN_RECORDS):
        recent[i] = a.r_time[record]
        record = int(a.r_next[record])
    reference = np.sort(recent)[TRIM_MEDIAN_RECORDS // 2]
    previous = -1
    record = int(a.c_head[slot])
    while record >= 0:
        following = int(a.r_next[record])
        horizon = dedupe_ms if a.r_kind[record] == EVENT else payment_ms
        if a.r_time[record] < reference - horizon:
            if previous < 0:
                a.c_head[slot] = following
            else:
                a.r_next[previous] = following
            a.c_count[slot] -= 1
            _forget(a, record)
        else:
            previous = record
        record = following
    a.c_left[slot] = a.c_count[slot]


@njit
def chain(a: Arrays, slot: int) -> NDArray[np.int64]:
    """Record indexes of a customer, oldest arrival first."""
    out = np.empty(a.c_count[slot], np.int64)
    record = int(a.c_head[slot])
    for i in range(out.size - 1, -1, -1):
        out[i] = record
        record = int(a.r_next[record])
    return out


@njit
def admit_kernel(
    a: Arrays,
    customer: NDArray[np.uint64],
    event: NDArray[np.uint64],
    payment: NDArray[np.uint64],
    kind: NDArray[np.uint64],
    time_ms: NDArray[np.int64],
    offset: NDArray[np.int64],
    types: NDArray[np.uint64],
    limits: NDArray[np.int64],
    verdicts: NDArray[np.bool_],
    slots: NDArray[np.int64],
    trimmed: NDArray[np.int64],
) -> int:
    """Admit every row, in order.

    `types` are the hashes of payment.requested, payment.authorised and transfer.sent; `limits` are lateness, dedupe and
    payment horizon in milliseconds. Fills `verdicts`, `(4, n)`: duplicate, late, decides, and "left a payment record";
    `slots`, the customer of each row; and `trimmed` with the slots that were trimmed. Returns how many those are.
    """
    trims = 0
    for i in range(customer.size):
        slot = new_customer(a, customer[i])
        slots[i] = slot
        if find_record(a, slot, EVENT, event[i]) >= 0:
            verdicts[0, i] = True
            continue
        verdicts[1, i] = time_ms[i] < a.c_time_max[slot] - limits[0]
        insert_record(a, slot, EVENT, event[i], time_ms[i], offset[i])
        if kind[i] == types[0]:
            verdicts[2, i] = True
            if find_record(a, slot, PAYMENT, payment[i]) < 0:
                insert_record(a, slot, PAYMENT, payment[i], time_ms[i], offset[i])
                verdicts[3, i] = True
        elif kind[i] == types[1]:
            verdicts[2, i] = find_record(a, slot, PAYMENT, payment[i]) < 0
        elif kind[i] == types[2]:
            verdicts[2, i] = True
        if a.c_count[slot] >= TRIM_RECORDS_MIN and a.c_count[slot] >= 2 * a.c_left[slot]:
            trim(a, slot, limits[1], limits[2])
            trimmed[trims] = slot
            trims += 1
    return trims


@njit
def _rehash_records(a: Arrays, slots: int) -> None:
    for slot in range(slots):
        record = int(a.c_head[slot])
        while record >= 0:
            mask = a.records.size - 1
            place = _first_place(a.r_hash[record], slot, a.r_kind[record], mask)
            while a.records[place] > 0:
                place = (place + 1) & mask
            a.records[place] = record + 1
            a.used[3] += 1
            record = int(a.r_next[record])


@njit
def _rehash_customers(a: Arrays, slots: int) -> None:
    mask = a.customers.size - 1
    for slot in range(slots):
        place = np.int64(a.c_hash[slot] & np.uint64(mask))
        while a.customers[place] != 0:
            place = (place + 1) & mask
        a.customers[place] = slot + 1


def _empty(records: int, customers: int) -> Arrays:
    return Arrays(
        np.zeros(records, np.uint64), np.zeros(records, np.int64), np.zeros(records, np.int64),
        np.zeros(records, np.uint8), np.zeros(records, np.int32), np.zeros(records, np.int32),
        np.zeros(customers, np.uint64), np.zeros(customers, np.int32), np.zeros(customers, np.int32),
        np.zeros(customers, np.int32), np.zeros(customers, np.int64), np.zeros(customers, np.int64),
        np.zeros(2 * records, np.int32), np.zeros(2 * customers, np.int32), np.zeros(4, np.int64),
    )  # fmt: skip


class AdmissionPool:
    """The arrays, grown by doubling; tables are at most half full of live places, three quarters of used ones."""

    def __init__(self) -> None:
        self.arrays = _empty(1024, 1024)

    def reserve(self, *, customers: int, records: int) -> None:
        """Make room for so many more customers and records."""
        a = self.arrays
        records_max, customers_max = a.r_hash.size, a.c_hash.size
        while a.used[0] + records > records_max:
            records_max *= 2
        while a.used[1] + customers > customers_max:
            customers_max *= 2
        crowded = a.used[3] + records > a.records.size * 3 // 4
        if records_max == a.r_hash.size and customers_max == a.c_hash.size and not crowded:
            return
        grown = _empty(records_max, customers_max)
        counts = {"r": int(a.used[0]), "c": int(a.used[1])}
        for name in Arrays._fields:
            kind, _, rest = name.partition("_")
            if rest:
                getattr(grown, name)[: counts[kind]] = getattr(a, name)[: counts[kind]]
        grown.used[:3] = a.used[:3]
        _rehash_customers(grown, int(a.used[1]))
        _rehash_records(grown, int(a.used[1]))
        self.arrays = grown
