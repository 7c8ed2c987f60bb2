"""What a runtime that assigns partitions (Faust) and the owner of their shards say to each other."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from engine.ports.log import LogRecord


class PartitionOwner(Protocol):
    """Owns the shards of the assigned partitions. `engine.service.assignment.Assignment` is the one there is."""

    async def assign(self, partitions: Iterable[int], seconds: float) -> None:
        """These are the partitions now, and no others.

        Those that were here before go on as if nothing had been. Each new one is `wanted` as soon as its shard is open.
        Those that are no longer here finish in the background and are let go of, within `seconds`; this waits only for
        such as come back before they have.
        """

    async def drain(self, seconds: float) -> None:
        """Finish and let go of everything within `seconds`."""

    def deliver(self, partition: int, records: Sequence[LogRecord]) -> None:
        """Take records of a wanted partition, in offset order."""

    def held(self) -> set[int]:
        """The partitions that are here."""

    def wanted(self) -> set[int]:
        """The partitions to fetch from now."""

    def offsets(self) -> dict[int, int]:
        """The next offset of each partition that has committed, for lag monitoring."""
