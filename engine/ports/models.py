"""The archive of fraud models: every snapshot that a shard published, by content, so that any can serve again."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

ELSEWHERE: Final = -1
"""In the place of a shard's number: learned from a history, or brought in a file."""


class ModelNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive knows of a snapshot without reading it.

    Attributes:
        model: its name by content (`engine.scoring.snapshot.model_hash`).
        version: what decisions name, such as `gbt1-7f3a21c0`.
        shard: that published it, or `ELSEWHERE`.
        boundary_ms: it knows labels that had arrived by then, event time.
        known: payments that its rows stood for.
        frauds: frauds among its rows.
        inputs: how many it takes.
        archived_ms: wall time.
    """

    model: str
    version: str
    shard: int
    boundary_ms: int
    known: float
    frauds: int
    inputs: int
    archived_ms: int


class ModelArchive(Protocol):
    """Snapshots by content hash: immutable, forgotten some time after they were last of use."""

    async def put(self, note: ModelNote, data: bytes) -> None:
        """Keep a snapshot; putting one again is harmless and keeps it longer. Raises `StoreUnavailable`."""

    async def get(self, model: str) -> bytes | None:
        """The snapshot of a hash, `None` where the archive does not have it. Raises `StoreUnavailable`."""

    async def keep(self, model: str) -> None:
        """A control event names it: keep it as long as a replay may need it. Raises `StoreUnavailable`."""

    async def notes(self) -> list[ModelNote]:
        """Of every snapshot that can be had, one for each shard that published it, the oldest boundary first.

        Raises `StoreUnavailable`.
        """


class ModelOrders(Protocol):
    """Control events that somebody else wants on the log of an owner that has none but its own queue."""

    async def order(self, record: bytes) -> None:
        """Ask for one. Raises `StoreUnavailable`."""

    async def orders(self) -> Sequence[bytes]:
        """Those that wait, oldest first. Raises `StoreUnavailable`."""

    async def done(self, record: bytes) -> None:
        """One is on the log. Raises `StoreUnavailable`."""
