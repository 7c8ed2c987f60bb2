"""One customer as stored: found in whichever shard has them."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.core.admission import RECORD
from engine.core.admission_kernel import EVENT, TRIMMED
from engine.core.casebook import places
from engine.core.cases import FRAUD, LEGITIMATE, Notice, unpack
from engine.core.customers import customer_key
from engine.core.rewards import account_key
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_ADMISSION, KEY_LABEL
from engine.domain.times import rfc3339
from engine.engagement.ledger.keys import narrow
from engine.ports.customers import UnknownCustomer
from engine.ports.store import Head, StateStore

LABELS: Final = {FRAUD: "fraud", LEGITIMATE: "legitimate"}
_TIME_LOW_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Held:
    """What a shard holds of a customer under keys of their own: see docs/state.md.

    Attributes:
        shard, head: where, and its small state.
        admission, account, record: stored bytes, empty for none.
    """

    customer_id: str
    shard: int
    head: Head
    admission: bytes
    account: bytes
    record: bytes

    def times(self) -> list[int]:
        """Event times of the events that are remembered, in ms, ascending."""
        records = np.frombuffer(self.admission, RECORD)
        records = records[records["kind"] == EVENT]
        times = records["time_high"].astype(np.int64) << _TIME_LOW_BITS | records["time_low"].astype(np.int64)
        return sorted(times.tolist())

    def remembered(self) -> int:
        """How many ids of events and payments are remembered, as hashes."""
        return int(np.count_nonzero(np.frombuffer(self.admission, RECORD)["kind"] != TRIMMED))


async def find(store: StateStore, shards: int, customer_id: str) -> Held:
    """Look in every shard: which producer put them where does not matter then. Raises `UnknownCustomer`,
    `StoreUnavailable`."""
    keys = [admission_key(customer_id), account_key(customer_id), customer_key(customer_id)]
    for shard, values in enumerate(await asyncio.gather(*(store.load(shard, keys) for shard in range(shards)))):
        if any(values):
            return Held(customer_id, shard, await store.open(shard), *(value or b"" for value in values))
    raise UnknownCustomer(customer_id)


def admission_key(customer_id: str) -> bytes:
    """State key of a customer's admission log."""
    return KEY_ADMISSION + hash64(customer_id).to_bytes(8, "little")


async def decisions(store: StateStore, held: Held, horizon_ms: int) -> list[dict[str, Any]]:
    """What is kept of the decisions on a customer's payments within a horizon before their latest event, oldest first.
    Payments are hashes of their ids."""
    times = held.times()
    if not times:
        return []
    spots = places(hash64(held.customer_id), times[-1] - horizon_ms, times[-1])
    keys = [KEY_LABEL + customer.to_bytes(8, "little") + period.to_bytes(2, "little") for period, customer in spots]
    found: dict[int, dict[str, Any]] = {}
    for value in await store.load(held.shard, keys):
        for part in unpack(value or b""):
            if isinstance(part, Notice):
                case = found.get(part.identity)
                if case is not None:
                    case["outcome"] = LABELS.get(part.value, "void")
                continue
            for one in part[1]:
                found[int(one["identity"])] = {
                    "payment": f"{narrow(int(one['payment'])):012x}",
                    "decided_at": rfc3339(int(one["decided_ms"])),
                    "declined": bool(one["declined"]),
                    "matures_at": rfc3339(int(one["due_ms"])),
                    "outcome": None,
                }
    return sorted(found.values(), key=lambda case: str(case["decided_at"]))
