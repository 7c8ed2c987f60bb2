"""Where customers are stored."""

from engine.ports.store import StateStore
from engine.service.marks import KEY_PARTITIONS
from engine.service.snapshots import shards


async def shards_of(store: StateStore) -> int:
    """How many shards the store holds: as it says itself; one where `steward replay` filled it, which says nothing; 0
    where there is none. Raises `StoreUnavailable`."""
    head = await store.open(0)
    if KEY_PARTITIONS not in head.state and head.offset >= 0:
        return 1
    return await shards(store)
