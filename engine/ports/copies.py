"""Copies of shards: all that a store holds of a shard as of one offset, and how it is put back."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

GONE: Final = "none"
HEAD: Final = b"H"  # name of the piece that lets a shard be opened


class Piece(NamedTuple):
    """One key of a shard. Of several pieces with one name the last counts.

    Attributes:
        name: the key's name within its shard.
        kind: `string`, `list`, `set`, `hash` or `zset`; `GONE` where there is no such key any more.
        expires_ms: when it expires, in milliseconds since 1970; 0 for never.
        value: of a string its bytes; else its members in order (hash: field, value; sorted set: member, score).
    """

    name: bytes
    kind: str
    expires_ms: int
    value: bytes | Sequence[bytes]


class CopyLost(Exception):
    """A copy could not be finished: it took too long, or somebody else began one. Begin again."""


class ShardThere(Exception):
    """A copy was to be put where a shard is: say so, or use another store."""


class Copies(Protocol):
    """Takes copies of shards from a store, and puts them back."""

    async def copy(
        self, shards: Sequence[int], take: Callable[[int, Sequence[Piece]], Awaitable[None]]
    ) -> dict[int, int]:
        """Read shards while their owners go on, and hand every piece to `take`.

        Returns the offset each is copied as of (-1: it has none of its own). Touches that one shard owes another are in
        one of the two copies. Raises `CopyLost`, `StoreMisconfigured`, `StoreUnavailable`.
        """

    async def claim(self, shard: int, offset: int, *, replace: bool, journal: bool = True) -> None:
        """Begin to put a copy back: from here to `finish` nobody can open the shard. What it held goes, but for its
        journal where `journal` is said: the shard's owner reads that back (`KeptJournal`).

        Raises `ShardThere` where it holds something and `replace` is not said.
        """

    async def put(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Write pieces of a claimed shard."""

    async def finish(self, shard: int, head: Piece | None) -> None:
        """End: with its head the shard can be opened. None for one that has no offset of its own."""

    async def archive(self) -> list[Piece]:
        """Rule sets that were in force, which shards need to be opened; names are theirs within the archive."""

    async def restore_archive(self, pieces: Sequence[Piece]) -> None:
        """Put rule sets back."""


class KeptJournal(Protocol):
    """The journal that a shard had before it was rebuilt."""

    async def kept_journal(self, shard: int, after: int) -> list[tuple[int, bytes]]:
        """Some entries, oldest first, whose offset is past `after`: the input offset after each, and its bytes. Empty
        where there are no more. Raises `StoreUnavailable`."""

    async def drop_kept_journal(self, shard: int) -> None:
        """It has been read back. Raises `StoreUnavailable`."""


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is.

    Attributes:
        version: of its form.
        name: its name in its directory; names sort by time.
        created_ms, seconds: when it was begun, and how long that took.
        offsets: by shard, what it is as of; -1 for one without an offset of its own.
        keys: how many the shards had together.
        checksums: SHA-256 of each file, hexadecimal.
    """

    version: int
    name: str
    created_ms: int
    seconds: float
    offsets: dict[int, int]
    keys: int
    checksums: dict[str, str]


class Draft(Protocol):
    """A snapshot that is being written."""

    async def take(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Write pieces of a shard."""

    async def finish(self, offsets: dict[int, int], archive: Sequence[Piece], seconds: float) -> Manifest:
        """Close it; from here on it is there, whole."""

    def discard(self) -> None:
        """Throw it away, where it is not finished."""


class Shelf(Protocol):
    """Where snapshots are kept."""

    def draft(self, now_ms: int) -> Draft:
        """Begin one. Raises `OSError`."""

    def manifests(self) -> list[Manifest]:
        """Those that are whole, oldest first. Raises `OSError`."""

    def pieces(self, manifest: Manifest, shard: int) -> Iterator[list[Piece]]:
        """What one holds of a shard, in the order written. Raises `DamagedSnapshot`."""

    def archive(self, manifest: Manifest) -> list[Piece]:
        """The rule sets in it. Raises `DamagedSnapshot`."""

    def prune(self, keep: int) -> None:
        """Delete all but the newest `keep`."""


class DamagedSnapshot(Exception):
    """A file of a snapshot is missing, cut off or changed: use an earlier one."""
