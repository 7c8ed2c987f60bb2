"""The event log: where a shard's input comes from, in order, by offset."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class LogUnavailable(Exception):
    """The log cannot be reached for now: wait, back off, try again."""


class OffsetLost(Exception):
    """The stored offset is not on the log any more, or not yet: stop and say why, never jump silently."""


class LogRecord(Protocol):
    """One record of one partition; what a Kafka client returns fits as it is."""

    @property
    def offset(self) -> int:
        """Position on the partition. Offsets grow, and may have gaps (compaction, transaction markers)."""

    @property
    def key(self) -> bytes | None:
        """The record's key, as it came."""

    @property
    def value(self) -> bytes | None:
        """The event as JSON bytes; `None` is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The record's headers, as they came."""


class LogBounds(NamedTuple):
    """What a partition holds.

    Attributes:
        first: its oldest offset.
        end: the offset its next record will get; `None` where only a read tells (then a read beyond it must raise
            `OffsetLost`).
        reached: where it begins past 0, the offset up to which this deployment is known to have processed it; -1 where
            nobody says.
    """

    first: int
    end: int | None
    reached: int = -1


class EventLog(Protocol):
    """The position of one consumer on each partition of the input topic."""

    async def bounds(self, partition: int) -> LogBounds:
        """Oldest and next offset of `partition`. Raises `LogUnavailable`."""

    def seen_end(self, partition: int) -> int | None:
        """The offset after the last record of `partition` as the last fetch saw it; None before the first."""

    async def seek(self, partition: int, offset: int) -> None:
        """Deliver `offset` next; nothing read before this call is delivered after it. Raises `LogUnavailable`."""
