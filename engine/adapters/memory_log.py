"""An event log in memory: the shipped fake of `engine.ports.log.EventLog`."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.ports.log import LogBounds, LogUnavailable


class MemoryRecord(NamedTuple):
    """One record; fits `engine.ports.log.LogRecord`."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class MemoryLog:
    """Partitions as lists, and one read position for each.

    Attributes:
        partitions: records by partition, in offset order.
        position: the offset delivered next, by partition; set by `seek`.
        failures: how many of the next calls raise `LogUnavailable`.
    """

    def __init__(self) -> None:
        self.partitions: dict[int, list[MemoryRecord]] = {}
        self.position: dict[int, int] = {}
        self.failures = 0

    def append(self, partition: int, *values: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Add records at the end of `partition`."""
        records = self.partitions.setdefault(partition, [])
        for value in values:
            offset = records[-1].offset + 1 if records else 0
            records.append(MemoryRecord(offset, value, headers=headers))

    def poll(self, partition: int, records_max: int) -> list[MemoryRecord]:
        """The next records of `partition`; moves its position."""
        position = self.position.get(partition, 0)
        found = [r for r in self.partitions.get(partition, []) if r.offset >= position][:records_max]
        if found:
            self.position[partition] = found[-1].offset + 1
        return found

    def truncate(self, partition: int, first: int) -> None:
        """Drop the records below offset `first`, as retention does."""
        self.partitions[partition] = [r for r in self.partitions.get(partition, []) if r.offset >= first]

    async def bounds(self, partition: int) -> LogBounds:
        """Oldest and next offset of `partition`."""
        self._fail()
        records = self.partitions.get(partition, [])
        return LogBounds(records[0].offset, records[-1].offset + 1) if records else LogBounds(0, 0)

    def seen_end(self, partition: int) -> int | None:
        """The offset after the last record."""
        records = self.partitions.get(partition)
        return records[-1].offset + 1 if records else None

    async def seek(self, partition: int, offset: int) -> None:
        """Set the read position."""
        self._fail()
        self.position[partition] = offset

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise LogUnavailable("the test asked for a failure")
