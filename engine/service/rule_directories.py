"""Rule sets out of directories on disk, by content hash: the archive of a replay."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.ports.rules import RuleArchive
from engine.ruleset import files
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.compiler import content_hash
from engine.ruleset.errors import RuleError, RuleErrors
from engine.ruleset.ruleset import RuleSet

SETS_MAX: Final = 1_000
"""Rules directories that are read; a deployment that changes its rules each day fills it in three years."""


class RuleDirectories:
    """Implements `engine.ports.rules.RuleArchive` over rules directories, and over another archive behind them.

    Attributes:
        held: files by content hash.
    """

    def __init__(self, directories: Sequence[Path], behind: RuleArchive | None = None) -> None:
        """Each of `directories` is a rules directory, or contains such as its subdirectories.

        Raises `RuleErrors` where one is neither, or where there are more than `SETS_MAX`.
        """
        self.held: dict[str, dict[str, str]] = {}
        self._behind = behind
        for directory in directories:
            inner = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
            if not [path for path in (directory, *inner) if self._hold(path)]:
                raise RuleErrors(
                    [RuleError(str(directory), 0, 0, "neither a rules directory nor one that contains such")]
                )
        if len(self.held) > SETS_MAX:
            raise RuleErrors([RuleError(str(directories[0]), 0, 0, f"more than {SETS_MAX:,} rule sets")])

    async def put(self, ruleset: str, files: Mapping[str, str]) -> None:
        """Directories are only read: see `RuleArchive.put` of the archive behind them."""
        if self._behind is not None:
            await self._behind.put(ruleset, files)

    async def get(self, ruleset: str) -> dict[str, str] | None:
        """See `RuleArchive.get`."""
        found = self.held.get(ruleset)
        if found is None and self._behind is not None:
            return await self._behind.get(ruleset)
        return found

    def compiled(self, ruleset: str) -> RuleSet | None:
        """The rule set of a hash out of the directories, None where they do not have it. Raises `RuleErrors`."""
        found = self.held.get(ruleset)
        return None if found is None else compile_rules(found)

    def _hold(self, directory: Path) -> bool:
        """Read a directory; whether it holds rule files. Whether those can be used shows when they are wanted."""
        try:
            texts = files.read(directory)
        except RuleErrors:
            return False
        self.held[content_hash(texts)] = texts
        return True
