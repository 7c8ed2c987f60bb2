"""Snapshots every so often: when they are due, what a failed one does, and how many are kept."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_store import MemoryStore
from engine.adapters.snapshot_files import SnapshotDirectory
from engine.ports.copies import CopyLost, Manifest, Piece
from engine.ports.store import Commit
from engine.service import marks
from engine.service.snapshots import RETRY_S, Rounds

START_MS = 1_800_000_000_000
EVERY_S = 600.0


class Copier:
    """Copies nothing, or fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[Sequence[int]] = []

    async def copy(self, shards: Sequence[int], take: Any) -> dict[int, int]:
        self.calls.append(list(shards))
        if self.failures:
            self.failures -= 1
            raise CopyLost("simulated")
        await take(0, [Piece(b"H", "hash", 0, [b"offset", b"3"])])
        return dict.fromkeys(shards, 3)

    async def archive(self) -> list[Piece]:
        return []


class Until(ManualClock):
    """Stands still for ever once so many seconds are over: nothing is under way then."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end_s = seconds
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.now_s() >= self._end_s:
            self.over.set()
            await asyncio.Event().wait()


async def running(directory: Path, copier: Copier, seconds: float, shards: int = 2) -> list[Manifest]:
    """The snapshots there are after some seconds of rounds."""
    store, clock, taken = MemoryStore(), Until(seconds), []
    if shards:
        await store.commit(Commit(1, -1, 3, marks.birth(shards)))
    shelf = SnapshotDirectory(directory)
    rounds = Rounds(
        store, copier, shelf, clock, every_s=EVERY_S, keep=2,  # type: ignore[arg-type]
        now_ms=lambda: START_MS + int(clock.now_s() * 1000), on_taken=taken.append,
    )  # fmt: skip
    task = asyncio.ensure_future(rounds.run())
    await clock.over.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [manifest.name for manifest in taken[-2:]] == [manifest.name for manifest in shelf.manifests()][-2:]
    return taken


async def test_one_is_taken_at_once_and_then_as_often_as_asked_for(tmp_path: Path) -> None:
    copier = Copier()
    taken = await running(tmp_path, copier, 3 * EVERY_S)
    gaps = [b.created_ms - a.created_ms for a, b in pairwise(taken)]
    assert len(taken) >= 3
    assert gaps == [EVERY_S * 1000] * len(gaps)
    assert copier.calls[0] == [0, 1]
    assert len(SnapshotDirectory(tmp_path).manifests()) == 2


async def test_a_failed_one_is_tried_again_soon_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copier = Copier(failures=2)
    taken = await running(tmp_path, copier, 3 * RETRY_S)
    assert len(copier.calls) - len(taken) == 2
    assert taken[0].created_ms == START_MS + int(2 * RETRY_S * 1000)
    assert caplog.text.count("no snapshot was taken: simulated") == 2


async def test_a_store_without_shards_is_not_copied(tmp_path: Path) -> None:
    copier = Copier()
    assert await running(tmp_path, copier, 3 * RETRY_S, shards=0) == []
    assert copier.calls == []
