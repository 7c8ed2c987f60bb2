"""The archive of rule sets: every set that was ever in force, by its hash, so that any owner can adopt it again."""

from collections.abc import Mapping
from typing import Protocol


class RuleArchive(Protocol):
    """Texts of rules directories by content hash. A shard's stored state and its log name rule sets by that hash."""

    async def put(self, ruleset: str, files: Mapping[str, str]) -> None:
        """Keep the files (name to text) of a rule set; putting one again is harmless. Raises `StoreUnavailable`."""

    async def get(self, ruleset: str) -> dict[str, str] | None:
        """The files of a rule set, `None` where the archive does not have it. Raises `StoreUnavailable`."""
