"""Synchronous calls that are answered although the state is away: by the event's own fields and `on_degraded`."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from engine.ports.clock import Clock
from engine.ports.sync import (
    ACCEPTED,
    DECISION,
    DEGRADED,
    DUPLICATE,
    IN_MEMORY,
    ON_LOG,
    REJECTED,
    SyncResult,
    Taker,
    Undecided,
)
from engine.service.given import GivenAnswers, Told
from engine.service.replies import event_key
from engine.service.standing import StandingReader

EVALUATION_S: Final = 0.01  # of the caller's time, kept for the rules: a thousand of them take a few milliseconds
LOOK_UP_S: Final = 0.05  # of the caller's time, at most a quarter of it: for an answer that the store has from before


class DegradedDecider:
    """`engine.ports.sync.Decider` around one that needs the state.

    A call of one event that gets no decision in time is answered without the state, where the event is certain to be
    decided later: on the log, or in this process's queue (the answer says `event_not_stored` then). What was told is
    the first answer, and so the answer to repeats. Calls of several events are passed on as they are: nobody's payment
    waits for them.

    Args:
        inner: takes events and decides.
        reader: what is in force; nothing is answered before it was read once.
        given: what was told.
        on_answer: told the outcome of each answer given.
    """

    def __init__(
        self,
        inner: Taker,
        reader: StandingReader,
        given: GivenAnswers,
        *,
        clock: Clock,
        on_answer: Callable[[str], None],
    ) -> None:
        self._inner = inner
        self._reader = reader
        self._given = given
        self._clock = clock
        self._on_answer = on_answer
        self._tasks: list[asyncio.Task[None]] = []
        self._was_ready = False

    def start(self) -> None:
        """Begin to read what is in force and to keep what is given; returns at once."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._reader.run()), loop.create_task(self._given.run())]

    async def stop(self) -> None:
        """Keep what can be kept, and end."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        with suppress(TimeoutError):
            await asyncio.wait_for(self._given.keep(), 1.0)

    @property
    def degraded_ready(self) -> bool:
        """See `Decider.degraded_ready`: not before decisions could be had once."""
        return self._was_ready and self._reader.standing is not None and self._inner.taking

    async def not_ready(self) -> list[str]:
        """See `Decider.not_ready`."""
        reasons = await self._inner.not_ready()
        self._was_ready = self._was_ready or not reasons
        return reasons

    async def decide(self, events: Sequence[bytes], seconds: float, *, explain: bool = False) -> list[SyncResult]:
        """See `Decider.decide`."""
        if len(events) != 1:
            results = await self._inner.decide(events, seconds, explain=explain)
            return [self._as_told(event, result) for event, result in zip(events, results, strict=True)]
        (event,) = events
        told = self._told(event)
        if told is not None:
            return [SyncResult(DEGRADED, told)]
        began_s = self._clock.now_s()
        look_up_s = min(LOOK_UP_S, seconds / 4)
        try:
            inner_s = max(seconds / 2, seconds - EVALUATION_S - look_up_s)
            (result,) = await self._inner.decide(events, inner_s, explain=explain)
        except Undecided as undecided:
            first = await self._looked_up(event, undecided, look_up_s)
            answer = self._answer(event, undecided, began_s) if first is None else first
            if answer is None:
                raise
            return [answer]
        return [self._as_told(event, result)]

    async def _looked_up(self, event: bytes, undecided: Undecided, seconds: float) -> SyncResult | None:
        """What the store has from before, where nobody has looked yet: the shard may be busy opening."""
        key = event_key(event)
        if undecided.kept != IN_MEMORY or key is None:
            return None
        found = await self._given.look_up(undecided.shard, key, seconds)
        return None if found is None else SyncResult(DUPLICATE, found)

    def _answer(self, event: bytes, undecided: Undecided, began_s: float) -> SyncResult | None:
        """What can be told; None where nothing can."""
        key, standing = event_key(event), self._reader.standing
        if not undecided.kept or standing is None:
            return None
        stored = undecided.kept == ON_LOG
        made = standing.answer(event, stored=stored)
        if made.refused:
            return SyncResult(REJECTED, made.body)
        if not made.body or key is None:
            return SyncResult(ACCEPTED, b"null") if stored else None
        told = self._told(event)  # to a repeat that waited at the same time
        if told is None:
            self._given.note(key, Told(undecided.shard, made.body, made.decision, began_s))
        self._on_answer(made.decision)
        return SyncResult(DEGRADED, made.body if told is None else told)

    def _as_told(self, event: bytes, result: SyncResult) -> SyncResult:
        """A decision that came after another answer was given gives way to it."""
        told = self._told(event) if result.status in (DECISION, DUPLICATE) else None
        return result if told is None else SyncResult(DUPLICATE, told)

    def _told(self, event: bytes) -> bytes | None:
        return self._given.find(event_key(event)) if self._given else None
