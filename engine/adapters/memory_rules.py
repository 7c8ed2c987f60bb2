"""An archive of rule sets in memory: the shipped fake of `engine.ports.rules.RuleArchive`."""

from collections.abc import Mapping

from engine.ports.store import StoreUnavailable


class MemoryRules:
    """Implements `RuleArchive`.

    Attributes:
        held: files by hash.
        failures: how many of the next calls raise `StoreUnavailable`.
    """

    def __init__(self) -> None:
        self.held: dict[str, dict[str, str]] = {}
        self.failures = 0

    async def put(self, ruleset: str, files: Mapping[str, str]) -> None:
        """See `RuleArchive.put`."""
        self._fail()
        self.held[ruleset] = dict(files)

    async def get(self, ruleset: str) -> dict[str, str] | None:
        """See `RuleArchive.get`."""
        self._fail()
        files = self.held.get(ruleset)
        return None if files is None else dict(files)

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("the test asked for a failure")
