"""The rule sets of this process, by content hash: compiled once, remembered, and fetched from the archive."""

import asyncio
import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from engine.ports.rules import RuleArchive
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.compiler import content_hash
from engine.ruleset.errors import RuleErrors
from engine.ruleset.ruleset import RuleSet
from engine.service.model_library import ModelLibrary

COMPILED_MAX: Final = 16
"""Rule sets held compiled, besides the first: what the shards of one process have in force, and the last few changes.
A compiled one takes some megabytes."""
WALKED_MAX: Final = 100_000  # new objects the collector may walk at once: some 20 ms

logger = logging.getLogger("steward.rules")


def compile_aside(files: Mapping[str, str]) -> RuleSet:
    """Compile in a thread beside the event loop. Raises `RuleErrors`.

    Without the cyclic collector: it would walk the growing heap of the compiler again and again, and hold every other
    thread meanwhile. With 600 long rules that is half a second at a time, against 20 ms without it. A rule set holds
    no cycle, so that a very large one can be kept from the collector for good.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return compile_rules(files)
    finally:
        if gc.get_count()[0] > WALKED_MAX:
            gc.freeze()
        if collecting:
            gc.enable()


class RuleLibrary:
    """Rule sets by hash; every shard of the process shares one, so that the same set is compiled once.

    Attributes:
        first: the rule set this process started with; a new shard begins under it.
        archive: where rule sets outlive the process; it may be named after the library is made, and before it is used.
        models: the fraud models of the process, likewise.
    """

    def __init__(
        self, archive: RuleArchive | None, first: RuleSet, trial: Callable[[RuleSet], None] = lambda ruleset: None
    ) -> None:
        """Without an archive, no rule set outlives the process.

        `trial` runs a new rule set over made-up events and lets any exception through; called in a thread by `add`.
        """
        self.first = first
        self.archive = archive
        self.models = ModelLibrary()
        self._trial = trial
        self._held: OrderedDict[str, RuleSet] = OrderedDict()

    def get(self, ruleset: str) -> RuleSet | None:
        """The rule set of a hash, as far as it is in memory."""
        if ruleset == self.first.hash:
            return self.first
        found = self._held.get(ruleset)
        if found is not None:
            self._held.move_to_end(ruleset)
        return found

    async def fetch(self, ruleset: str) -> RuleSet | None:
        """The rule set of a hash, out of the archive if need be; `None` where it is unknown or unusable.

        Compiled beside the event loop. One that this version cannot compile, or whose content does not have its hash,
        is logged and counts as unknown. Raises `StoreUnavailable`.
        """
        found = self.get(ruleset)
        if found is not None or self.archive is None:
            return found
        files = await self.archive.get(ruleset)
        if files is None:
            return None
        if content_hash(files) != ruleset:
            logger.error("the archived rule set %s does not have that hash; it is not used", ruleset)
            return None
        try:
            return self._keep(await asyncio.to_thread(compile_aside, files))
        except RuleErrors as errors:
            logger.error("the archived rule set %s cannot be used by this version: %s", ruleset, errors.lines()[0])
            return None

    async def add(self, files: Mapping[str, str]) -> RuleSet:
        """Compile the files beside the event loop, archive them and remember the result.

        It is in the archive when this returns, so that its hash may be announced. Raises `RuleErrors`, or what the
        trial raises, and nothing is kept then; `StoreUnavailable`: try again.
        """
        found = self.get(content_hash(files))
        if found is None:
            found = await asyncio.to_thread(self._tried, dict(files))
        if self.archive is not None:
            await self.archive.put(found.hash, files)
        return self._keep(found)

    async def start(self) -> None:
        """Archive the first rule set: before a shard begins under it. Raises `StoreUnavailable`."""
        await self.refresh([self.first.hash])

    async def refresh(self, rulesets: Iterable[str]) -> None:
        """Archive the rule sets of these hashes again, as far as they are in memory. Raises `StoreUnavailable`."""
        for name in dict.fromkeys(rulesets):
            found = self.get(name)
            if found is not None and self.archive is not None:
                await self.archive.put(found.hash, found.texts)

    def _tried(self, files: Mapping[str, str]) -> RuleSet:
        ruleset = compile_aside(files)
        self._trial(ruleset)
        return ruleset

    def _keep(self, ruleset: RuleSet) -> RuleSet:
        if ruleset.hash != self.first.hash:
            self._held[ruleset.hash] = ruleset
            self._held.move_to_end(ruleset.hash)
            while len(self._held) > COMPILED_MAX:
                self._held.popitem(last=False)
        return ruleset
