"""The journal of a shard without a log, read back after a rebuild: what it had taken since the snapshot."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from engine.ports.clock import Clock
from engine.ports.copies import KeptJournal
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.service import journal
from engine.service.backoff import Backoff
from engine.service.dividing import process
from engine.service.outage import Outage, until_it_works
from engine.service.shard import BatchOutcome, Shard

NO_HEADERS: Final = ()

T = TypeVar("T")
logger = logging.getLogger("steward.service")


class Arrival(NamedTuple):
    """An event at its place in the shard's history; fits `engine.ports.log.LogRecord`."""

    offset: int
    value: bytes
    key: None = None
    headers: Sequence[tuple[str, bytes]] = NO_HEADERS


async def read_back(
    shard: Shard,
    kept: KeptJournal,
    on_batch: Callable[[BatchOutcome], None],
    clock: Clock,
    outage: Outage,
    backoff: Backoff,
) -> int:
    """Process what `kept` holds past the opened `shard`, then drop it; most often there is none.

    Returns the offset the shard has come to. Raises `Fenced`, and `StoreMisconfigured` where the journal begins too
    late. Interrupted, it goes on from what is committed the next time.
    """

    async def reading(call: Callable[[], Awaitable[T]]) -> T:
        return await until_it_works(call, StoreUnavailable, outage, backoff, clock)

    events, began_s = 0, clock.now_s()
    while entries := await reading(lambda: kept.kept_journal(shard.number, shard.next_offset)):
        for end, entry in entries:
            async for outcome in process(shard, _arrivals(shard, end, journal.decode(entry))):
                events += outcome.records
                on_batch(outcome)
    await reading(lambda: kept.drop_kept_journal(shard.number))
    if events:
        seconds = clock.now_s() - began_s
        logger.info("shard %d read %d events back from its journal in %.2f s", shard.number, events, seconds)
    return shard.next_offset


def _arrivals(shard: Shard, end: int, records: Sequence[journal.Kept]) -> list[Arrival]:
    """The records of an entry that the shard has not had; the input offset after them is `end`."""
    first, reached = end - len(records), max(0, shard.next_offset)
    if first > reached:
        raise StoreMisconfigured(
            f"shard {shard.number}: the journal begins at offset {first}, the snapshot ends at {reached}: use a later "
            "snapshot, or go on without what is between (steward rebuild --no-journal)"
        )
    return [
        Arrival(first + i, value, None, ((journal.READ_BACK, bytes([kind])),))
        for i, (kind, value) in enumerate(records)
        if first + i >= reached
    ]
