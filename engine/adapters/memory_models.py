"""An archive of fraud models in memory: the shipped fake of `engine.ports.models`."""

from collections.abc import Sequence

from engine.ports.models import ModelNote
from engine.ports.store import StoreUnavailable


class MemoryModels:
    """Implements `ModelArchive` and `ModelOrders`.

    Attributes:
        held: snapshots by hash.
        kept: hashes that control events name.
        failures: how many of the next calls raise `StoreUnavailable`.
    """

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.kept: set[str] = set()
        self.failures = 0
        self._notes: dict[tuple[int, str], ModelNote] = {}
        self._orders: list[bytes] = []

    async def put(self, note: ModelNote, data: bytes) -> None:
        """See `ModelArchive.put`."""
        self._fail()
        self.held.setdefault(note.model, data)
        self._notes.setdefault((note.shard, note.model), note)

    async def get(self, model: str) -> bytes | None:
        """See `ModelArchive.get`."""
        self._fail()
        return self.held.get(model)

    async def keep(self, model: str) -> None:
        """See `ModelArchive.keep`."""
        self._fail()
        self.kept.add(model)

    async def notes(self) -> list[ModelNote]:
        """See `ModelArchive.notes`."""
        self._fail()
        found = [note for note in self._notes.values() if note.model in self.held]
        return sorted(found, key=lambda note: (note.boundary_ms, note.archived_ms, note.shard, note.model))

    async def order(self, record: bytes) -> None:
        """See `ModelOrders.order`."""
        self._fail()
        self._orders.append(record)

    async def orders(self) -> Sequence[bytes]:
        """See `ModelOrders.orders`."""
        self._fail()
        return tuple(self._orders)

    async def done(self, record: bytes) -> None:
        """See `ModelOrders.done`."""
        self._fail()
        if record in self._orders:
            self._orders.remove(record)

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("the test asked for a failure")
