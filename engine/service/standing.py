"""What is in force, read from the store while it is there, for the time when it is not."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from engine.core.degraded import Standing, keys
from engine.core.settings import CoreSettings
from engine.ports.clock import Clock
from engine.ports.store import StateStore, StoreUnavailable
from engine.ruleset.degraded import DegradedRules
from engine.ruleset.ruleset import RuleSet
from engine.service.rule_sets import RuleLibrary

EVERY_S: Final = 2.0  # how old what is known of lists, rates and rules may be when the store goes
READ_SHARD: Final = 0  # lists, snoozes, rates and rules are changed in every shard alike

logger = logging.getLogger("steward.service")


class StandingReader:
    """Reads what is in force from time to time.

    Args:
        store: the shards' state; library: the rule sets; settings: as the shards are told.

    Attributes:
        standing: as last read; None until the store was read once.
    """

    def __init__(self, store: StateStore, library: RuleLibrary, settings: CoreSettings, clock: Clock) -> None:
        self.standing: Standing | None = None
        self._store = store
        self._library = library
        self._settings = settings
        self._clock = clock
        self._values: Sequence[bytes | None] = ()

    async def run(self) -> None:
        """Read now and then, for as long as the process runs."""
        while True:
            try:
                await self.read()
            except StoreUnavailable:
                pass  # said by those who need it for more; what was read last stands
            except Exception:
                logger.exception("what is in force could not be read; what was read last stands")
            await self._clock.sleep(EVERY_S)

    async def read(self) -> None:
        """Read once. Raises `StoreUnavailable`."""
        ruleset = await self._ruleset()
        if ruleset is None:
            return
        names = keys(ruleset)
        values = await self._store.load(READ_SHARD, names)
        known = self.standing.rules.ruleset.hash if self.standing is not None else ""
        if known == ruleset.hash and values == self._values:
            return
        head = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        self.standing = await asyncio.to_thread(self._made, ruleset, head)
        self._values = values

    async def _ruleset(self) -> RuleSet | None:
        """The rule set in force, the first one where no shard has committed; None where it cannot be had."""
        (stored,) = await self._store.load(READ_SHARD, keys(self._library.first)[:1])
        return self._library.first if stored is None else await self._library.fetch(stored.decode())

    def _made(self, ruleset: RuleSet, head: dict[bytes, bytes]) -> Standing:
        same = self.standing is not None and self.standing.rules.ruleset is ruleset
        rules = self.standing.rules if same and self.standing is not None else DegradedRules(ruleset)
        return Standing(rules, head, self._settings)
