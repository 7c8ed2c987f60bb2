"""What a runtime that assigns partitions (Faust) and the owner of their shards say to each other."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from engine.ports.log import LogRecord


class PartitionOwner(Protocol):
    """Owns the shards of the assigned partitions. `engine.service.assignment.Assignment` is the one there is."""

    def assign(self, partitions: Iterable[int]) -> None:
        """These are the partitions now. Returns at once; each is `wanted` as soon as its shard is open."""

    async def revoke(self, partitions: Iterable[int], seconds: float) -> None:
        """Finish and let go of `partitions` within `seconds`."""

    async def drain(self, seconds: float) -> None:
        """Finish and let go of everything within `seconds`."""

    def deliver(self, partition: int, records: Sequence[LogRecord]) -> None:
        """Take records of a wanted partition, in offset order."""

    def wanted(self) -> set[int]:
        """The partitions to fetch from now."""

    def offsets(self) -> dict[int, int]:
        """The next offset of each partition that has committed, for lag monitoring."""
