"""Snapshots of a deployment: taken while it runs, and put back where its store is lost."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from engine.ports.clock import Clock
from engine.ports.copies import HEAD, Copies, CopyLost, DamagedSnapshot, Manifest, Piece, Shelf
from engine.ports.store import StateStore, StoreMisconfigured, StoreUnavailable
from engine.service.marks import KEY_PARTITIONS, NO_LOG, count

SHARDS_MAX: Final = 16_384
RETRY_S: Final = 60.0

logger = logging.getLogger("steward.snapshots")


class NothingStored(Exception):
    """The store holds no shard, or the directory no snapshot."""


async def shards(store: StateStore) -> int:
    """How many shards the deployment has, as any of them says; 0 where none was ever committed."""
    for shard in range(SHARDS_MAX):
        (born,) = await store.load(shard, [KEY_PARTITIONS])
        if born is not None:
            return max(1, count(born, NO_LOG))
    return 0


async def take(store: StateStore, copies: Copies, shelf: Shelf, clock: Clock, now_ms: Callable[[], int]) -> Manifest:
    """Copy every shard into a new snapshot. The owners of the shards go on meanwhile.

    Raises `NothingStored`, `CopyLost`, `StoreMisconfigured`, `StoreUnavailable`, `OSError`; no half snapshot stays.
    """
    number = await shards(store)
    if not number:
        raise NothingStored("the store holds no shard: nothing was ever committed under this prefix")
    began_s = clock.now_s()
    draft = shelf.draft(now_ms())
    try:
        offsets = await copies.copy(range(number), draft.take)
        manifest = await draft.finish(offsets, await copies.archive(), clock.now_s() - began_s)
    except BaseException:
        draft.discard()
        raise
    logger.info("snapshot %s: %d shards, %d keys in %.2f s", manifest.name, number, manifest.keys, manifest.seconds)
    return manifest


async def restore(
    copies: Copies, shelf: Shelf, clock: Clock, *, name: str = "", replace: bool = False, journal: bool = True
) -> tuple[Manifest, float]:
    """Put a snapshot back, the newest by default; returns it and how many seconds that took.

    Every file is read before the first shard is touched. A shard that is half put back cannot be opened: begin again
    with `replace`. `journal`: what a shard's journal holds past the snapshot is kept, to be read back.

    Raises `NothingStored`, `DamagedSnapshot`, `ShardThere`, `StoreMisconfigured`, `StoreUnavailable`.
    """
    found = [manifest for manifest in shelf.manifests() if not name or manifest.name == name]
    if not found:
        raise NothingStored(f"there is no snapshot {name} in this directory" if name else "there is no snapshot")
    manifest, began_s = found[-1], clock.now_s()
    archive = shelf.archive(manifest)
    for shard in manifest.offsets:
        for _ in shelf.pieces(manifest, shard):
            """Read for its checksum and its form."""
    await copies.restore_archive(archive)
    for shard, offset in manifest.offsets.items():
        await copies.claim(shard, offset, replace=replace, journal=journal)
    for shard, offset in manifest.offsets.items():
        await _put(copies, shelf, manifest, shard, offset)
    seconds = clock.now_s() - began_s
    logger.info("snapshot %s is back after %.2f s", manifest.name, seconds)
    return manifest, seconds


async def _put(copies: Copies, shelf: Shelf, manifest: Manifest, shard: int, offset: int) -> None:
    head: Piece | None = None
    for pieces in shelf.pieces(manifest, shard):
        head = next((piece for piece in reversed(pieces) if piece.name == HEAD), head)
        await copies.put(shard, [piece for piece in pieces if piece.name != HEAD])
    if head is None:
        raise DamagedSnapshot(f"shard {shard} of snapshot {manifest.name} has no head")
    await copies.finish(shard, head if offset >= 0 else None)


class Rounds:
    """Takes a snapshot every so often, for as long as it runs; a failed one is tried again.

    Of several processes that share a directory, or a store, one at a time takes one.
    """

    def __init__(
        self,
        store: StateStore,
        copies: Copies,
        shelf: Shelf,
        clock: Clock,
        *,
        every_s: float,
        keep: int,
        now_ms: Callable[[], int],
        on_taken: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        self._store, self._copies, self._shelf, self._clock = store, copies, shelf, clock
        self._every_s, self._keep, self._now_ms, self._on_taken = every_s, keep, now_ms, on_taken

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(max(self._due_s(), 0.0))
            if self._due_s() <= 0 and not await self._take():
                await self._clock.sleep(min(RETRY_S, self._every_s))

    def _due_s(self) -> float:
        """Seconds until the next one is due."""
        newest = 0
        with suppress(OSError):
            newest = max((manifest.created_ms for manifest in self._shelf.manifests()), default=0)
        return newest / 1000 + self._every_s - self._now_ms() / 1000

    async def _take(self) -> bool:
        try:
            self._on_taken(await take(self._store, self._copies, self._shelf, self._clock, self._now_ms))
            self._shelf.prune(self._keep)
        except NothingStored:
            return False
        except (CopyLost, StoreMisconfigured, StoreUnavailable, OSError) as error:
            logger.warning("no snapshot was taken: %s", error)
            return False
        return True
