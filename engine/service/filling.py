"""Filling shards that nobody owns yet with state from elsewhere: ordinary commits at offset 0."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from engine.domain.ops import SET, Op, pack
from engine.ports.generation import MovableStore
from engine.ports.store import Commit
from engine.service import marks

BYTES_MAX: Final = 1 << 20  # of one commit: nobody else waits for the server
TTL_HOURS_MAX: Final = 0xFFFF
HOUR_MS: Final = 3_600_000
UNTOLD_S: Final = 1e9  # longer than any answer is kept


@dataclass(slots=True)
class _Waiting:
    ops: list[bytes] = field(default_factory=list)
    answers: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    size: int = 0
    begun: bool = False


class Filling:
    """What is on its way to the shards of a store.

    Args:
        store: of the shards.
        now_ms: the time, in milliseconds since 1970, of expiries.

    Attributes:
        keys: how many were put.
    """

    def __init__(self, store: MovableStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._shards: dict[int, _Waiting] = {}
        self.keys = 0

    async def put(self, shard: int, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Set a state key; `expires_ms` 0 for never. Nothing where it has expired."""
        left_ms = expires_ms - self._now_ms()
        if expires_ms and left_ms <= 0:
            return
        hours = min(TTL_HOURS_MAX, math.ceil(left_ms / HOUR_MS)) if expires_ms else 0
        self.keys += 1
        await self.ops(shard, pack(Op(SET, key, value, hours)))

    async def ops(self, shard: int, packed: bytes) -> None:
        """Add packed operations."""
        waiting = self._at(shard)
        waiting.ops.append(packed)
        waiting.size += len(packed)
        await self._bound(shard, waiting)

    async def answer(self, shard: int, key: bytes, body: bytes, expires_ms: int) -> None:
        """Keep the answer to a synchronous call."""
        seconds = math.ceil((expires_ms - self._now_ms()) / 1000)
        if seconds > 0:
            waiting = self._at(shard)
            waiting.answers.append((key, body, seconds))
            waiting.size += len(key) + len(body)
            await self._bound(shard, waiting)

    async def given(self, shard: int, key: bytes, body: bytes, expires_ms: int) -> None:
        """Keep what a caller was told without the state."""
        seconds = math.ceil((expires_ms - self._now_ms()) / 1000)
        if seconds > 0:
            await self._store.give(shard, key, body, seconds, UNTOLD_S)

    async def flush(self, shard: int) -> None:
        """Store what waits for a shard; it is at offset 0 then, whatever waits."""
        waiting = self._at(shard)
        lineage = marks.lineage(b"", 0, b"")
        commit = Commit(
            shard,
            expected=0 if waiting.begun else -1,
            next_offset=0,
            ops=b"".join(waiting.ops),
            answers=waiting.answers,
            lineage=lineage if waiting.begun else b"",
            next_lineage=lineage,
        )
        await self._store.commit(commit)
        self._shards[shard] = _Waiting(begun=True)

    def _at(self, shard: int) -> _Waiting:
        return self._shards.setdefault(shard, _Waiting())

    async def _bound(self, shard: int, waiting: _Waiting) -> None:
        if waiting.size > BYTES_MAX:
            await self.flush(shard)
