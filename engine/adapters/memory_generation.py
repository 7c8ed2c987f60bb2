"""All state of a deployment in memory, as one: the shipped fake of `engine.ports.generation.Generation`."""

from collections.abc import Awaitable, Callable, Sequence

from engine.adapters.memory_store import MemoryStore
from engine.ports import generation
from engine.ports.copies import Piece
from engine.ports.store import Head


class MemoryGeneration:
    """Implements `Generation` over one memory store.

    Args:
        store: which.
        now_ms: the time, in milliseconds since 1970, from which expiries are told.
    """

    def __init__(self, store: MemoryStore, now_ms: Callable[[], int]) -> None:
        self.store = store
        self._now_ms = now_ms
        self._note = ""
        self._members: dict[tuple[int, bytes], Piece] = {}

    async def state(self) -> str:
        """See `Generation.state`."""
        if self._note:
            return generation.OUT_OF_SERVICE
        return generation.IN_SERVICE if self.store.held() else generation.EMPTY

    async def note(self) -> str:
        """See `Generation.note`."""
        return self._note

    async def owners(self) -> list[str]:
        """See `Generation.owners`: nobody signs in to a store in memory."""
        return []

    async def close_down(self, note: str) -> None:
        """See `Generation.close_down`."""
        self._note = note

    async def seal(self, shard: int, head: Head) -> bool:
        """See `Generation.seal`."""
        found = await self.store.open(shard)
        if (found.offset, found.lineage) != (head.offset, head.lineage):
            return False
        self.store.sealed.add(shard)
        return True

    async def open_up(self, shards: Sequence[int]) -> None:
        """See `Generation.open_up`."""
        self.store.sealed.difference_update(shards)
        self._note = ""

    async def read(self, shards: Sequence[int], take: Callable[[int, Sequence[Piece]], Awaitable[None]]) -> None:
        """See `Generation.read`."""
        for shard in shards:
            members = [piece for (of, _), piece in self._members.items() if of == shard]
            await take(shard, [*self.store.pieces(shard, self._now_ms()), *members])

    async def guests(self, shard: int) -> dict[bytes, bytes]:
        """See `Generation.guests`."""
        found: dict[bytes, bytes] = {}
        for (of, name), piece in self._members.items():
            if of == shard and name.startswith(generation.GUESTS) and not isinstance(piece.value, bytes):
                found.update(zip(piece.value[::2], piece.value[1::2], strict=True))
        return found

    async def merge(self, shard: int, piece: Piece) -> None:
        """See `Generation.merge`."""
        held = self._members.get((shard, piece.name), piece._replace(value=()))
        values = (*held.value, *piece.value) if not isinstance(piece.value, bytes | str) else ()
        pairs = dict(zip(values[::2], values[1::2], strict=True))
        self._members[shard, piece.name] = piece._replace(value=[part for pair in pairs.items() for part in pair])

    async def archive(self) -> list[Piece]:
        """See `Generation.archive`: rule sets are not kept with this store."""
        return []

    async def restore_archive(self, pieces: Sequence[Piece]) -> None:
        """See `Generation.restore_archive`."""

    async def clear(self) -> None:
        """See `Generation.clear`."""
        self.store.clear()
        self._members.clear()

    async def drop(self) -> None:
        """See `Generation.drop`."""
        await self.clear()
        self._note = ""
