"""Cases that wait to mature, to the shards that their customers go to."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.core.label_desk import HEAD_LABELS, HEAD_MATURING
from engine.core.maturing import bucket_key
from engine.core.moving_cases import buckets, divided, done, waiting
from engine.ports.generation import Generation
from engine.ports.store import Head
from engine.service.filling import Filling
from engine.service.owners import UNKNOWN, Routes


class WaitingCases:
    """What waits in some shards.

    Args:
        heads: of the old shards.
        after: how many new ones there are.

    Attributes:
        hours: of which something waits, by new shard.
        unplaced: cases whose customer nobody named.
    """

    def __init__(self, heads: Mapping[int, Head], after: int) -> None:
        self._heads = heads
        self._after = after
        self._routes = Routes()
        self.hours: dict[int, set[int]] = {}
        self.unplaced = 0

    def learn(self, shard: int, book: bytes, route: int) -> None:
        """A customer's key, and the customer's route."""
        identities = waiting(book, self._done(shard))
        if len(identities):
            self._routes.learn(identities, np.full(len(identities), route, np.uint32))

    async def move(self, past: Generation, homes: Mapping[int, Sequence[int]], filling: Filling) -> None:
        """Bring all there. `homes`: by old shard, those its customers can go to; cases whose customer nobody
        named go to the first."""
        hours = {shard: buckets(head.state.get(HEAD_MATURING, b"")) for shard, head in self._heads.items()}
        for hour in sorted(set().union(*hours.values())):
            found: dict[int, list[bytes]] = {}
            for shard in (shard for shard, waits in hours.items() if hour in waits):
                (bucket,) = await past.store.load(shard, [bucket_key(hour)])
                home = partial(self._home, homes[shard])
                parts = divided(bucket or b"", self._done(shard), home, range(self._after))
                for new, part in parts.items():
                    found.setdefault(new, []).append(part)
            for new, of_hour in found.items():
                self.hours.setdefault(new, set()).add(hour)
                await filling.put(new, bucket_key(hour), b"".join(of_hour))

    def _home(self, among: Sequence[int], identities: NDArray[np.uint64]) -> NDArray[np.int64]:
        routes = self._routes.find(identities)
        if len(among) > 1:
            self.unplaced += int((routes == UNKNOWN).sum())
        homes: NDArray[np.int64] = np.where(routes == UNKNOWN, among[0], routes % self._after)
        return homes

    def _done(self, shard: int) -> int:
        return done(self._heads[shard].state.get(HEAD_LABELS, b""))
