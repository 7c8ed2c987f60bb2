"""Fraud models out of files: the archive of a replay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.ports.models import ModelArchive, ModelNote
from engine.scoring.snapshot import SNAPSHOT_BYTES_MAX, describe

SUFFIX: Final = ".model"
FILES_MAX: Final = 10_000
"""Files that are looked at; held in memory are those alone that an event names."""


class ModelFilesError(Exception):
    """A file that should hold a model cannot be used."""


def read_model(path: Path) -> bytes:
    """The snapshot in a file. Raises `ModelFilesError`, naming the file, where it cannot be read or is damaged."""
    try:
        if path.stat().st_size > SNAPSHOT_BYTES_MAX:
            raise ModelFilesError(f"{path}: larger than {SNAPSHOT_BYTES_MAX:,} bytes")
        data = path.read_bytes()
        describe(data)
    except OSError as error:
        raise ModelFilesError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelFilesError(f"{path}: {error}") from error
    return data


class ModelFiles:
    """Implements `engine.ports.models.ModelArchive` over directories of `*.model` files, and over an archive behind.

    Attributes:
        paths: files by the hash of what they hold.
    """

    def __init__(self, directories: Sequence[Path], behind: ModelArchive | None = None) -> None:
        """Raises `ModelFilesError` where a file cannot be used, or where a directory has too many or none."""
        self.paths: dict[str, Path] = {}
        self._behind = behind
        for directory in directories:
            found = sorted(directory.glob(f"*{SUFFIX}"))
            if not 0 < len(found) <= FILES_MAX:
                raise ModelFilesError(f"{directory}: {len(found):,} files *{SUFFIX}; 1 to {FILES_MAX:,} expected")
            for path in found:
                self.paths[describe(read_model(path)).model] = path

    async def put(self, note: ModelNote, data: bytes) -> None:
        """Files are only read: see `ModelArchive.put` of the archive behind them."""
        if self._behind is not None:
            await self._behind.put(note, data)

    async def get(self, model: str) -> bytes | None:
        """See `ModelArchive.get`. Raises `ModelFilesError` where the file has changed meanwhile."""
        path = self.paths.get(model)
        if path is not None:
            return read_model(path)
        return await self._behind.get(model) if self._behind is not None else None

    async def keep(self, model: str) -> None:
        """See `ModelArchive.keep` of the archive behind the files."""
        if self._behind is not None and model not in self.paths:
            await self._behind.keep(model)

    async def notes(self) -> list[ModelNote]:
        """See `ModelArchive.notes` of the archive behind the files."""
        return await self._behind.notes() if self._behind is not None else []
