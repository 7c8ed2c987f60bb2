"""Which snapshot serves: what was published last, or one that is pinned while learning goes on behind it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from engine.scoring.fraud_storage import HEAD_BEFORE, FraudStorage
from engine.scoring.snapshot import Snapshot, describe

UNTOLD_MAX: Final = 100  # published and not asked for: of a model that nobody archives the last ones


class Published:
    """What a fraud model has published.

    Attributes:
        line: the last snapshot of the line that goes on learning; None before there is one.
        pinned: what serves in its place; None where nothing is pinned.
    """

    def __init__(self, storage: FraudStorage) -> None:
        self.line: Snapshot | None = None
        self.pinned: Snapshot | None = None
        self._storage = storage
        self._untold: list[bytes] = []

    @property
    def serving(self) -> Snapshot | None:
        """What scores payments now; None before there is anything."""
        return self.line if self.pinned is None else self.pinned

    def publish(self, made: Snapshot) -> None:
        """Go on from this one; it serves unless another is pinned."""
        before, self.line = self.line, made
        self._storage.published(made.data, before.data if before is not None else None)
        self._tell(made)

    def pin(self, snapshot: Snapshot | None) -> None:
        """Serve exactly this one from now on; None: what is published again."""
        if self.pinned is not None or snapshot is not None:
            self._storage.pinned(None if snapshot is None else snapshot.data)
        self.pinned = snapshot
        self._tell(snapshot)

    def restore(self, head: Mapping[bytes, bytes], load: Callable[[bytes], Snapshot]) -> None:
        """Go on where the stored state ends; the archive, which may have lost it all, is given what is there."""
        if HEAD_BEFORE in head:
            with suppress(ValueError):  # it is read in full where it is needed, and put aside then
                describe(head[HEAD_BEFORE])
                self._untold.append(head[HEAD_BEFORE])
        self.line = self._storage.restored_snapshot(head, load)
        self.pinned = self._storage.restored_pin(head, load)
        for snapshot in (self.line, self.pinned):
            self._tell(snapshot)

    def untold(self) -> list[bytes]:
        """Snapshots that the archive should have and that were not named since the last call."""
        untold, self._untold = self._untold, []
        return untold

    def _tell(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None and snapshot.data not in self._untold:
            self._untold = [*self._untold, snapshot.data][-UNTOLD_MAX:]
