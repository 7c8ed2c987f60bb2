"""What callers were told without the state: the first answer to their call, and so the answer to every repeat."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from engine.ports.clock import Clock
from engine.ports.store import StoreUnavailable
from engine.ports.sync import AnswerBook
from engine.ruleset.model import OUTCOMES

GIVEN_MAX: Final = 50_000
"""Answers held by one process: some 50 MB. The oldest go first; they are in the store by then, if it came back."""
EVERY_S: Final = 1.0  # between two attempts to keep them in the store, and to ask one that did not answer
ROUND_MAX: Final = 500  # of them in one attempt, one after the other: a fraction of a second of the store's time
SETTLED_S: Final = 600.0  # after which nobody asks any more what the owner made of the event

SAME: Final = "same"
STRONGER: Final = "stronger"
WEAKER: Final = "weaker"
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class Told:
    """An answer that was given.

    Attributes:
        shard: whose event it answers.
        body, decision: the answer and its outcome.
        began_s: when the call began.
        open: the owner's own decision has not been seen.
    """

    shard: int
    body: bytes
    decision: str
    began_s: float
    open: bool = True


class _Outcome(msgspec.Struct):
    decision: str = ""


_OUTCOME: Final = msgspec.json.Decoder(_Outcome)


class GivenAnswers:
    """The answers this process gave without the state.

    They are put into the store when it is back, where every node and the owner find them. One whose event turns out
    to have been decided before the call is forgotten: its first answer is that decision.

    Args:
        book: where answers are kept for repeats; ttl_s: for how long.
        on_settled: told how the owner's decision compares with what the caller was told: `SAME`, `STRONGER` (the owner
            is stricter), `WEAKER`, or `UNKNOWN` where none was seen.
    """

    def __init__(self, book: AnswerBook, clock: Clock, *, ttl_s: int, on_settled: Callable[[str], None]) -> None:
        self._book = book
        self._clock = clock
        self._ttl_s = ttl_s
        self._on_settled = on_settled
        self._told: OrderedDict[bytes, Told] = OrderedDict()
        self._silent_until_s = -math.inf

    def __len__(self) -> int:
        return len(self._told)

    def find(self, key: bytes | None) -> bytes | None:
        """What was told under an event key, if anything was."""
        told = self._told.get(key) if key is not None else None
        return None if told is None else told.body

    async def look_up(self, shard: int, key: bytes, seconds: float) -> bytes | None:
        """What the store has under an event key; None where it does not say in time, or did not a moment ago."""
        if self._clock.now_s() < self._silent_until_s:
            return None
        try:
            return await asyncio.wait_for(self._book.answer(shard, key), seconds)
        except (TimeoutError, StoreUnavailable):
            self._silent_until_s = self._clock.now_s() + EVERY_S
            return None

    def note(self, key: bytes, told: Told) -> None:
        """Remember an answer that is given now."""
        if len(self._told) >= GIVEN_MAX:
            _, oldest = self._told.popitem(last=False)
            self._settle(oldest, None)
        self._told[key] = told

    async def run(self) -> None:
        """Keep what was given in the store, for as long as the process runs."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.keep()

    async def keep(self) -> None:
        """One attempt; the rest stays for the next one."""
        now_s = self._clock.now_s()
        while self._told and now_s - next(iter(self._told.values())).began_s > self._ttl_s:
            self._told.popitem(last=False)
        pending = list(islice(((key, told) for key, told in self._told.items() if told.open), ROUND_MAX))
        for key, told in pending:
            try:
                kept, owners = await self._book.give(told.shard, key, told.body, self._ttl_s, now_s - told.began_s)
            except (TimeoutError, StoreUnavailable):
                return
            if not kept:
                self._told.pop(key, None)
            if owners is not None or now_s - told.began_s > SETTLED_S:
                self._settle(told, owners)
        # Those whose owner has not decided yet go to the end of the line.
        for key, told in pending:
            if told.open and key in self._told and len(pending) == ROUND_MAX:
                self._told.move_to_end(key)

    def _settle(self, told: Told, owners: bytes | None) -> None:
        if told.open:
            told.open = False
            self._on_settled(_compared(told.decision, owners))


def _compared(told: str, owners: bytes | None) -> str:
    known: Sequence[str] = OUTCOMES
    try:
        decided = _OUTCOME.decode(owners or b"").decision
    except msgspec.MsgspecError:
        return UNKNOWN
    if told not in known or decided not in known:
        return UNKNOWN
    difference = known.index(decided) - known.index(told)
    return SAME if difference == 0 else (STRONGER if difference > 0 else WEAKER)
