"""Putting a control event onto a shard's log, from wherever it is decided that one is needed."""

from typing import Protocol


class Announcer(Protocol):
    """Writes records that every replay must see to one shard's own history."""

    async def announce(self, shard: int, record: bytes) -> None:
        """Append one control event (JSON) to the log of `shard`; returns once the log holds it safely.

        Raises `LogUnavailable`: it may or may not be there. Control events are idempotent, so announce it again. Must
        not be awaited by the task that processes the shard: where there is no log, that task is what takes the record.
        """
