"""Snapshots in a directory: one folder each, with a file a shard, the rule sets, and a manifest that is written last.

    DIR/20260131T120000.000Z/shard-00000.gz   frames: length u32 LE, MessagePack [name, kind, expires_ms, value]
                             archive.gz       the same, of the rule sets
                             manifest.json    `engine.ports.copies.Manifest`

A file ends with a frame of length 0. A folder without a manifest is one that was not finished.
"""

import asyncio
import gzip
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from engine.ports.copies import DamagedSnapshot, Manifest, Piece

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
ARCHIVE: Final = "archive.gz"
PIECES_MAX: Final = 1_000  # handed over at once
_LENGTH: Final = struct.Struct("<I")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[bytes, str, int, bytes | list[bytes]]).decode


class _PiecesFile:
    """A file of pieces that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = gzip.GzipFile(path, "wb", compresslevel=1)

    def write(self, pieces: Sequence[Piece]) -> None:
        frames = []
        for piece in pieces:
            body = _encode(tuple(piece))
            frames += [_LENGTH.pack(len(body)), body]
        self._file.write(b"".join(frames))

    def close(self) -> str:
        """End the file on disk; its checksum."""
        self._file.write(_LENGTH.pack(0))
        self._file.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()

    def abandon(self) -> None:
        self._file.close()


class DirectoryDraft:
    """Implements `engine.ports.copies.Draft`."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self._folder = folder
        self._created_ms = now_ms
        self._files: dict[int, _PiecesFile] = {}
        self._keys = 0
        folder.mkdir(parents=True)

    async def take(self, shard: int, pieces: Sequence[Piece]) -> None:
        """See `Draft.take`."""
        self._keys += len(pieces)
        await asyncio.to_thread(self._file(shard).write, pieces)

    async def finish(self, offsets: dict[int, int], archive: Sequence[Piece], seconds: float) -> Manifest:
        """See `Draft.finish`."""
        return await asyncio.to_thread(self._finish, offsets, archive, seconds)

    def discard(self) -> None:
        """See `Draft.discard`."""
        for file in self._files.values():
            file.abandon()
        if not (self._folder / MANIFEST).exists():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, shard: int) -> _PiecesFile:
        if shard not in self._files:
            self._files[shard] = _PiecesFile(self._folder / _name(shard))
        return self._files[shard]

    def _finish(self, offsets: dict[int, int], archive: Sequence[Piece], seconds: float) -> Manifest:
        rules = _PiecesFile(self._folder / ARCHIVE)
        rules.write(archive)
        files = [rules, *(self._file(shard) for shard in offsets)]
        checksums = {file.path.name: file.close() for file in files}
        name = self._folder.name
        manifest = Manifest(VERSION, name, self._created_ms, round(seconds, 3), offsets, self._keys, checksums)
        draft = self._folder / f"{MANIFEST}.new"
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._folder / MANIFEST)
        _sync(self._folder)
        _sync(self._folder.parent)
        return manifest


class SnapshotDirectory:
    """Implements `engine.ports.copies.Shelf`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def draft(self, now_ms: int) -> DirectoryDraft:
        """See `Shelf.draft`."""
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        name = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z"
        return DirectoryDraft(self._directory / name, now_ms)

    def manifests(self) -> list[Manifest]:
        """See `Shelf.manifests`. One of another version is left out."""
        found = []
        for path in sorted(self._directory.glob(f"*/{MANIFEST}")):
            try:
                manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
            except (msgspec.MsgspecError, OSError):
                continue
            if manifest.version == VERSION and manifest.name == path.parent.name:
                found.append(manifest)
        return found

    def pieces(self, manifest: Manifest, shard: int) -> Iterator[list[Piece]]:
        """See `Shelf.pieces`."""
        return self._read(manifest, _name(shard))

    def archive(self, manifest: Manifest) -> list[Piece]:
        """See `Shelf.archive`."""
        return [piece for pieces in self._read(manifest, ARCHIVE) for piece in pieces]

    def prune(self, keep: int) -> None:
        """See `Shelf.prune`."""
        for manifest in self.manifests()[:-keep]:
            shutil.rmtree(self._directory / manifest.name, ignore_errors=True)

    def _read(self, manifest: Manifest, name: str) -> Iterator[list[Piece]]:
        path = self._directory / manifest.name / name
        try:
            with path.open("rb") as plain:
                if hashlib.file_digest(plain, "sha256").hexdigest() != manifest.checksums.get(name):
                    raise DamagedSnapshot(f"{path}: its checksum is not that of the manifest")
            with gzip.open(path, "rb") as file:
                pieces: list[Piece] = []
                while length := _LENGTH.unpack(file.read(_LENGTH.size))[0]:
                    pieces.append(Piece(*_decode(file.read(length))))
                    if len(pieces) == PIECES_MAX:
                        yield pieces
                        pieces = []
                yield pieces
        except (OSError, EOFError, struct.error, msgspec.MsgspecError) as error:
            raise DamagedSnapshot(f"{path}: {error}") from error


def _name(shard: int) -> str:
    return f"shard-{shard:05d}.gz"


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
