"""All state of a deployment under one key prefix, taken as a whole: what it takes to move it to other shards."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from engine.ports.copies import Piece
from engine.ports.log import LogBounds, LogRecord
from engine.ports.store import Head, StateStore
from engine.ports.sync import AnswerBook

EMPTY: Final = "empty"
IN_SERVICE: Final = "in service"
OUT_OF_SERVICE: Final = "out of service"  # being filled, or moved: nothing opens or commits to it

GUESTS: Final = b"Z"
"""Begins the names of hashes: by state key, 8 bytes of BLAKE2b of a value that was put into this shard and others, for
nobody could say to which its customer goes. Bucketed by the key's last byte."""


class MovableStore(StateStore, AnswerBook, Protocol):
    """A state store with the answers that are kept for repeats."""


class Generation(Protocol):
    """One key prefix. Every method raises `StoreUnavailable`."""

    @property
    def store(self) -> MovableStore:
        """Of its shards."""

    async def state(self) -> str:
        """`EMPTY`, `IN_SERVICE` or `OUT_OF_SERVICE`."""

    async def note(self) -> str:
        """What was said when it was put out of service; empty for nothing."""

    async def owners(self) -> list[str]:
        """Names of the processes that own shards now."""

    async def close_down(self, note: str) -> None:
        """Put it out of service: no process can start on it."""

    async def seal(self, shard: int, head: Head) -> bool:
        """See that nothing can be committed to a shard or delivered to it any more; False, and nothing is done, where
        it is not at `head` any more."""

    async def open_up(self, shards: Sequence[int]) -> None:
        """Put it in service again, whose sealed shards are named: the last step of a move, or its undoing."""

    async def read(self, shards: Sequence[int], take: Callable[[int, Sequence[Piece]], Awaitable[None]]) -> None:
        """Hand every key of some shards to `take`, some maybe twice. Raises `CopyLost`."""

    async def guests(self, shard: int) -> dict[bytes, bytes]:
        """What a shard's `GUESTS` hold: by state key, the digest of its value as it was put there."""

    async def merge(self, shard: int, piece: Piece) -> None:
        """Add the members of a hash or a sorted set to those that are there."""

    async def archive(self) -> list[Piece]:
        """Rule sets that were in force."""

    async def restore_archive(self, pieces: Sequence[Piece]) -> None:
        """Put rule sets back."""

    async def clear(self) -> None:
        """Delete everything under this prefix, but for whether it is in service."""

    async def drop(self) -> None:
        """Delete everything under this prefix."""


class PastLog(Protocol):
    """The topic that the state of a generation was made from, and what else names customers. Every method raises
    `LogUnavailable`."""

    async def bounds(self) -> Mapping[int, LogBounds]:
        """What each partition holds; empty where there is no such topic."""

    async def left(self, partition: int, offset: int) -> int:
        """How many records a partition holds from an offset on."""

    def records(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[bytes | None]]]:
        """All records that are kept, by partition from the offset in `since` on: partition, and the values of some
        that follow each other."""

    def rest(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, LogRecord]]:
        """The same, as records."""

    async def carried(self) -> set[str]:
        """Places of the records that were copied to the new topic."""

    async def carry(self, partition: int, record: LogRecord, place: str) -> None:
        """Copy a record to a partition of the new topic, with its place; it is there when `settle` returns."""

    async def settle(self) -> None:
        """Wait until all that was copied is there."""

    def customers(self) -> AsyncIterator[str]:
        """Customers that are known from elsewhere, some of them often."""
