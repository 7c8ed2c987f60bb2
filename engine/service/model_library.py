"""The fraud models of this process, by content hash: fetched from the archive, and given to it as shards publish."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from engine.ports.models import ModelArchive, ModelNote
from engine.scoring.snapshot import describe, model_hash

HELD_MAX: Final = 16
"""Snapshots that control events named and that are in memory, 0.2 MB each: those of the events being adopted."""

logger = logging.getLogger("steward.models")


def wall_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class ModelLibrary:
    """Snapshots by hash; every shard of the process shares one.

    Attributes:
        archive: where snapshots outlive their shards; None: nowhere. It may be named after the library is made.
    """

    def __init__(self, archive: ModelArchive | None = None, now_ms: Callable[[], int] = wall_ms) -> None:
        self.archive = archive
        self._now_ms = now_ms
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def get(self, model: str) -> bytes | None:
        """The snapshot of a hash, as far as it is in memory."""
        data = self._held.get(model)
        if data is not None:
            self._held.move_to_end(model)
        return data

    async def fetch(self, model: str) -> bytes | None:
        """The snapshot of a hash, out of the archive if need be; `None` where it is unknown or damaged.

        One that a control event names is kept as long as a replay may need it. Raises `StoreUnavailable`.
        """
        found = self.get(model)
        if found is not None or self.archive is None:
            return found
        data = await self.archive.get(model)
        if data is None:
            return None
        if model_hash(data) != model:
            logger.error("the archived model %s does not have that hash; it is not used", model)
            return None
        await self.archive.keep(model)
        self._held[model] = data
        while len(self._held) > HELD_MAX:
            self._held.popitem(last=False)
        return data

    async def add(self, shard: int, snapshots: Sequence[bytes]) -> None:
        """Archive what a shard has published. Raises `StoreUnavailable`."""
        if self.archive is not None:
            for data in snapshots:
                await self.archive.put(note_of(data, shard, self._now_ms()), data)


def note_of(data: bytes, shard: int, now_ms: int) -> ModelNote:
    """What the archive notes of a snapshot. Raises `ValueError` where it is damaged."""
    told = describe(data)
    return ModelNote(
        model=told.model,
        version=told.version,
        shard=shard,
        boundary_ms=told.boundary_ms,
        known=told.known,
        frauds=told.frauds,
        inputs=told.inputs,
        archived_ms=now_ms,
    )
