"""The relay: carries committed outputs to their sink, in order, and remembers how far it came."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from engine.core.effects import Output
from engine.ports.clock import Clock
from engine.ports.sink import Sink, SinkUnavailable
from engine.service.backoff import Backoff
from engine.service.deadline import Deadline
from engine.service.outage import Outage, until_it_works
from engine.service.outbox import Entry, decode

QUEUED_ENTRIES_MAX: Final = 64  # some 30 MB of full batches; past that the shard waits: a slow sink slows the intake
CANCEL_AGAIN_S: Final = 0.2
SEND_OUTPUTS_MAX: Final = 2_000  # outputs of several commits go out in one call, up to this many


class _Left(Exception):
    """The shard is another's, and so is the sending."""


class Relay:
    """Hands the outputs of one shard to its sink after their commit; at least once, in order.

    A sink that stores a position with the outputs (`engine.adapters.kafka_transactions`) makes that once.
    In the steady state outputs come from memory (`offer`); what an earlier owner committed and did not acknowledge
    comes from the store (`adopt`). What has arrived is acknowledged by the shard's next commit, which drops it from
    the outbox.

    Attributes:
        acknowledged: outbox entries below this sequence number have reached the sink.
    """

    def __init__(
        self,
        shard: int,
        sink: Sink,
        *,
        clock: Clock,
        backoff: Backoff,
        outage: Outage,
        on_fatal: Callable[[BaseException], None],
        queued_entries_max: int = QUEUED_ENTRIES_MAX,
    ) -> None:
        self.acknowledged = 0
        self._shard = shard
        self._sink = sink
        self._clock = clock
        self._backoff = backoff
        self._outage = outage
        self._on_fatal = on_fatal
        self._queued_entries_max = queued_entries_max
        self._queue: deque[tuple[int, Entry]] = deque()
        self._queued_outputs = 0
        self._offered = 0  # the sequence number the next entry will have
        self._opened = False
        self._leaving = False
        self._rollbacks = 0
        self._next_s = 0.0  # when the next call may begin
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def entries(self) -> int:
        """Commits whose outputs are not yet with the sink."""
        return len(self._queue)

    @property
    def pending(self) -> int:
        """Outputs committed but not yet with the sink."""
        return self._queued_outputs

    def start(self) -> None:
        """Begin to send. Idempotent."""
        if self._task is None or self._task.done():
            self._sink.take(self._shard)
            self._task = asyncio.get_running_loop().create_task(self._guarded())

    def adopt(self, outbox: Sequence[tuple[int, bytes]], outbox_next: int, *, anew: bool = False) -> None:
        """Take over the store's view: `(sequence, payload)` of what is not acknowledged, and the next number.

        Called whenever a shard is opened. Entries that are in the queue already are not taken twice. Where the store
        has gone back in time (a failover that lost its last second), what waits is dropped: replaying the log makes
        the same outputs again. So it is where others have committed meanwhile (`anew`): they may have gone back and
        cut other batches, and the same sequence number is another entry then.
        """
        first = outbox[0][0] if outbox else outbox_next
        if not self._opened:
            self._opened = True
            self.acknowledged = self._offered = first
        elif anew or outbox_next < self._offered:
            self._rollbacks += 1
            self._queue.clear()
            self._queued_outputs = 0
            self.acknowledged = min(self.acknowledged, first)
            self._offered = first
        for sequence, payload in outbox:
            if sequence >= self._offered:
                self._put(sequence, decode(payload))
        self._offered = outbox_next

    def offer(self, sequence: int, entry: Entry) -> None:
        """Queue the outputs of a commit that succeeded. Sequence numbers follow each other."""
        if sequence != self._offered:
            raise ValueError(f"outbox entry {sequence} where {self._offered} is next")
        self._put(sequence, entry)
        self._offered = sequence + 1

    async def room(self) -> None:
        """Return once the queue has room for the outputs of another batch."""
        while len(self._queue) >= self._queued_entries_max:
            await self._next_move()

    async def flush(self, deadline: Deadline) -> bool:
        """Wait until everything is sent, or the deadline; whether everything was."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty(), deadline.left_s())
        return not self._queue

    async def leave(self, deadline: Deadline) -> None:
        """Stop sending after the call under way, or at the deadline: the shard has another owner now.

        The other has taken what is queued from the outbox. To send on would be to take the sink from each other.
        """
        self._leaving = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=deadline.left_s())
        await self.close()

    async def close(self) -> None:
        """Stop sending. What is queued stays in the store's outbox for the next owner."""
        if self._task is not None:
            task, self._task = self._task, None
            while not task.done():  # told again until it ends: a call of a sink can swallow a cancellation
                task.cancel()
                await asyncio.wait([task], timeout=CANCEL_AGAIN_S)
            await self._sink.release(self._shard)

    def _put(self, sequence: int, entry: Entry) -> None:
        self._queue.append((sequence, entry))
        self._queued_outputs += len(entry.outputs)
        self._wake.set()

    async def _empty(self) -> None:
        while self._queue:
            await self._next_move()

    async def _next_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _guarded(self) -> None:
        try:
            await self._run()
        except _Left:
            return
        except Exception as error:
            self._on_fatal(error)

    async def _run(self) -> None:
        while not self._leaving:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            began_s = self._clock.now_s()
            if began_s < self._next_s and self._queued_outputs < SEND_OUTPUTS_MAX:
                await self._clock.sleep(self._next_s - began_s)  # for what goes out with this call
                continue
            entries, first, outputs = self._gather()
            rollbacks = self._rollbacks
            await until_it_works(
                lambda first=first, outputs=outputs: self._send(first, outputs),  # type: ignore[misc]
                SinkUnavailable,
                self._outage,
                self._backoff,
                self._clock,
            )
            self._next_s = began_s + self._sink.every_s
            if rollbacks == self._rollbacks:
                self._sent(entries)
            self._moved.set()

    async def _send(self, first: int, outputs: Sequence[Output]) -> None:
        if self._leaving:
            raise _Left
        await self._sink.send(self._shard, first, outputs)

    def _gather(self) -> tuple[int, int, Sequence[Output]]:
        """Entries at the head of the queue that go out in one call: how many, first ordinal, outputs."""
        first, outputs = self._queue[0][1]
        entries = 1
        while entries < len(self._queue):
            entry = self._queue[entries][1]
            if entry.first != first + len(outputs) or len(outputs) + len(entry.outputs) > SEND_OUTPUTS_MAX:
                break
            outputs = [*outputs, *entry.outputs]
            entries += 1
        return entries, first, outputs

    def _sent(self, entries: int) -> None:
        for _ in range(entries):
            sequence, entry = self._queue.popleft()
            self._queued_outputs -= len(entry.outputs)
            self.acknowledged = sequence + 1
