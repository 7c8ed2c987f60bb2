"""A batch whose effects are too much for one commit is divided, until they are not."""

from collections.abc import AsyncIterator, Sequence

from engine.ports.log import LogRecord
from engine.ports.store import Fenced
from engine.service.batching import CommitTooBig
from engine.service.shard import BatchOutcome, Shard


async def process(shard: Shard, records: Sequence[LogRecord]) -> AsyncIterator[BatchOutcome]:
    """Process a batch in as many commits as it needs, most often one; what each was, in order.

    Where a batch is divided, its first pass was for nothing: the shard is loaded again, and halves go through. Raises
    what `Shard.process` raises; the parts before are committed then.
    """
    waiting = [records]
    while waiting:
        part = waiting.pop()
        try:
            outcome = await shard.process(part)
        except CommitTooBig:
            await _open_again(shard)
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
        else:
            yield outcome


async def _open_again(shard: Shard) -> None:
    expected = shard.next_offset
    stored = await shard.open()
    if stored != expected:
        shard.forget()
        raise Fenced(shard.number, expected, stored)
