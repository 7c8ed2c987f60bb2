"""Synchronous calls through the log: produced like any other event, answered by the shard's owner after its commit."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final, Protocol

import msgspec

from engine.ports.clock import Clock
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreUnavailable
from engine.ports.sync import ON_LOG, REJECTED, Busy, EventWriter, ReplyChannel, SyncResult, Undecided
from engine.service.backoff import Backoff
from engine.service.breaker import Breaker
from engine.service.deadline import Deadline
from engine.service.outage import Outage
from engine.service.replies import EXPLAIN, NO_CONTROL, REPLY_TO, REQUEST_ID, event_key

PROBE_S: Final = 1.0
LOOK_UP_S: Final = 0.1  # of the caller's time, at most half of it: for the stored answer, once no reply has come
HASTY_S: Final = 0.05  # for a reply while the store is taken to be away: one that comes at all comes at once
PENDING_MAX: Final = 10_000  # calls that wait at one node; some seconds of traffic

logger = logging.getLogger("steward.service")


class _Reply(msgspec.Struct):
    request: str
    status: str
    body: msgspec.Raw
    explanation: msgspec.Raw = msgspec.Raw()


_REPLY: Final = msgspec.json.Decoder(_Reply)


class _Decoder(Protocol):
    def decode(self, records: Sequence[bytes | None]) -> Any:
        """`engine.core.decode.Decoder.decode`."""


class LogDecider:
    """`engine.ports.sync.Decider` over the log and the owners' replies.

    Events are validated before they are written, so that what would be refused is answered at once and does not reach
    the log; card numbers are masked before that, too. A reply that got lost (publishing is at most once) is looked up
    in the store, where the owner keeps it.

    A log that did not take an event in time is taken to be away until a probe says otherwise: the first calls end in
    `Undecided`, for their events may have got there, those after them in `Busy`, for nothing of theirs was sent.

    Args:
        decoder: validates events; a call must not change it.
        writer, replies: the log and the line the replies come over.
        answer: `StateStore.answer`: the kept answer of a shard by event key.
        on_fatal: called once, with what ended the listener for good.
        hasty: somebody answers without the state where this one cannot in time. Events are then taken also while no
            reply can be heard, and a call of one event gives up soon while the store is taken to be away.
    """

    degraded_ready = False

    def __init__(
        self,
        decoder: _Decoder,
        writer: EventWriter,
        replies: ReplyChannel,
        answer: Callable[[int, bytes], Awaitable[bytes | None]],
        *,
        clock: Clock,
        backoff: Backoff,
        outage: Outage,
        on_fatal: Callable[[BaseException], None],
        hasty: bool = False,
    ) -> None:
        self._decoder = decoder
        self._writer = writer
        self._replies = replies
        self._answer = answer
        self._clock = clock
        self._backoff = backoff
        self._outage = outage
        self._on_fatal = on_fatal
        self._hasty = hasty
        self._log = Breaker(writer.check, LogUnavailable, clock, within_s=PROBE_S)
        self._store = Breaker(lambda: answer(0, b"probe"), StoreUnavailable, clock, within_s=LOOK_UP_S)
        self._channel = f"steward:replies:{uuid.uuid4().hex}"
        self._requests = count(1)
        self._pending: dict[str, asyncio.Future[SyncResult]] = {}
        self._listening = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for replies; returns at once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._guarded())

    async def decide(self, events: Sequence[bytes], seconds: float, *, explain: bool = False) -> list[SyncResult]:
        """See `Decider.decide`."""
        if self._stopping or len(self._pending) + len(events) > PENDING_MAX:
            raise Busy("this process is stopping" if self._stopping else "too many calls are waiting")
        if self._log.away:
            raise Busy("the event log is not available")
        if not (self._listening or self._hasty):
            raise Busy("replies cannot be received: the store is not available")
        deadline = Deadline(self._clock, seconds)
        decoded = self._decoder.decode(list(events))
        results: dict[int, SyncResult] = {}
        for reject in decoded.rejects:
            body = msgspec.json.encode({"reason": reject.reason, "detail": reject.detail})
            results[reject.index] = SyncResult(REJECTED, body)
        calls = []
        for index, raw, event in zip(decoded.index.tolist(), decoded.raw, decoded.columns.events, strict=True):
            calls.append(self._call(index, raw, event.customer_id.encode(), deadline, results, explain))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        refused = SyncResult(REJECTED, NO_CONTROL)
        return [results.get(index, refused) for index in range(len(events))]

    async def _call(
        self, index: int, raw: bytes, key: bytes, deadline: Deadline, results: dict[int, SyncResult], explain: bool
    ) -> None:
        request = str(next(self._requests))
        answer: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        self._pending[request] = answer
        headers = [(REPLY_TO, self._channel.encode()), (REQUEST_ID, request.encode())]
        headers += [(EXPLAIN, b"true")] * explain
        reserve_s = min(LOOK_UP_S, deadline.left_s() / 2)
        try:
            partition = await self._write(key, raw, headers, deadline)
            found = await self._reply(answer, deadline.left_s() - reserve_s) or await self._look_up(
                partition, raw, deadline
            )
        finally:
            del self._pending[request]
        if found is None:
            raise Undecided("no answer in time: is a worker running?", ON_LOG, partition)
        results[index] = found

    async def _write(self, key: bytes, raw: bytes, headers: list[tuple[str, bytes]], deadline: Deadline) -> int:
        try:
            async with asyncio.timeout(deadline.left_s()):
                return await self._writer.write(key, raw, headers)
        except TimeoutError:
            self._log.trip()
            raise Undecided("the event log did not take the event in time") from None
        except LogUnavailable as error:
            self._log.trip()
            raise Busy(str(error)) from error

    async def _reply(self, answer: asyncio.Future[SyncResult], seconds: float) -> SyncResult | None:
        if self._hasty and (self._store.away or not self._listening):
            seconds = min(seconds, HASTY_S)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await answer
        except TimeoutError:
            return None

    async def _look_up(self, partition: int, raw: bytes, deadline: Deadline) -> SyncResult | None:
        key = event_key(raw)
        if key is None or self._store.away:
            return None
        try:
            body = await asyncio.wait_for(self._answer(partition, key), min(LOOK_UP_S, deadline.left_s()))
        except (StoreUnavailable, TimeoutError):
            self._store.trip()
            return None
        return None if body is None else SyncResult("decision", body)

    @property
    def taking(self) -> bool:
        """Whether the log is there and this process goes on."""
        return not (self._stopping or self._log.away)

    async def not_ready(self) -> list[str]:
        """See `Decider.not_ready`."""
        if self._stopping:
            return ["stopping"]
        reasons = [] if self._listening else ["replies cannot be received: the store cannot be reached"]
        try:
            await asyncio.wait_for(self._answer(0, b"probe"), PROBE_S)
            self._store.worked()
        except (StoreUnavailable, TimeoutError) as error:
            self._store.trip()
            reasons.append(f"the store cannot be reached: {str(error) or 'no answer in time'}")
        try:
            await asyncio.wait_for(self._writer.check(), PROBE_S)
            self._log.worked()
        except (LogUnavailable, TimeoutError) as error:
            self._log.trip()
            reasons.append(f"the log cannot be reached: {str(error) or 'no answer in time'}")
        return reasons

    async def drain(self, seconds: float) -> bool:
        """Take nothing more and wait for the replies still due; whether all came."""
        self._stopping = True
        waiting = list(self._pending.values())
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._log.close()
        await self._store.close()
        return all(answer.done() for answer in waiting)

    async def _guarded(self) -> None:
        try:
            while True:
                with suppress(StoreUnavailable):
                    await self._listen()
                self._listening = False
                await self._clock.sleep(self._backoff.next_s())
        except Exception as error:
            self._stopping = True
            self._on_fatal(error)

    async def _listen(self) -> None:
        try:
            async with self._replies.subscribe(self._channel) as payloads:
                self._listening = True
                self._outage.worked()
                self._backoff.reset()
                async for payload in payloads:
                    self._take(payload)
        except StoreUnavailable as error:
            self._outage.failed(error)
            raise

    def _take(self, payload: bytes) -> None:
        try:
            reply = _REPLY.decode(payload)
        except msgspec.MsgspecError:
            logger.warning("a reply of %d bytes is not one of ours", len(payload))
            return
        answer = self._pending.get(reply.request)
        if answer is not None and not answer.done():
            answer.set_result(SyncResult(reply.status, bytes(reply.body), bytes(reply.explanation)))
