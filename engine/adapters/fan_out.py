"""Several sinks as one."""

import asyncio
from collections.abc import Sequence

from engine.ports.sink import Sink, SinkOutput


class FanOut(Sink):
    """Sends everything to every sink, one after the other; what a sink has taken it is not sent again by this process.

    A sink that does not take its outputs holds up the ones after it, and the shard: each has to see to it that only
    what it cannot do without stands in its way.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """`sinks` in the order in which they are sent to."""
        self._sinks = sinks
        self._taken: dict[int, tuple[int, int, int]] = {}  # by shard: first, count of the call, sinks that have it

    @property
    def every_s(self) -> float:
        """See `Sink.every_s`: as the sink that minds most."""
        return max((sink.every_s for sink in self._sinks), default=0.0)

    def take(self, shard: int) -> None:
        """See `Sink.take`."""
        for sink in self._sinks:
            sink.take(shard)

    async def release(self, shard: int) -> None:
        """See `Sink.release`."""
        self._taken.pop(shard, None)
        await asyncio.gather(*(sink.release(shard) for sink in self._sinks))

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`. A call that is repeated goes on with the sink that failed."""
        at = self._taken.pop(shard, (0, 0, 0))
        done = at[2] if at[:2] == (first, len(outputs)) else 0
        try:
            for sink in self._sinks[done:]:
                await sink.send(shard, first, outputs)
                done += 1
        except BaseException:
            self._taken[shard] = (first, len(outputs), done)
            raise
