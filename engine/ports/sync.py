"""Synchronous decisions: an event goes in, and what became of it comes back to the caller who waits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

DECISION = "decision"
DUPLICATE = "duplicate"
ACCEPTED = "accepted"
REJECTED = "rejected"
DEGRADED = "degraded"

ON_LOG = "log"
IN_MEMORY = "memory"


class SyncResult(NamedTuple):
    """What became of one event.

    Attributes:
        status: `decision` (`body`: the decision), `duplicate` (`body`: the first answer, `null` where there was none or
            it is not kept any more), `accepted` (an event without a decision; `null`), `rejected` (`body`:
            `{"reason", "detail"}`) or `degraded` (`body`: a decision made without the state).
        explanation: of a decision, where one was asked for: what every rule saw, as JSON. Not kept for repeats.
        body: JSON, the same bytes for every repeat.
    """

    status: str
    body: bytes
    explanation: bytes = b""


class Busy(Exception):
    """Too much is waiting already, or nothing is taken for now: none of the events of the call was taken.

    Attributes:
        retry_after_s: when it is worth trying again, whole seconds.
    """

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Undecided(Exception):
    """No answer within the caller's time. The events may have been taken: a repeat of the call gets their answer.

    Attributes:
        kept: where the event of a call of one is certain to wait for its decision: `ON_LOG`, or `IN_MEMORY` of this
            process alone; "" where it is not known whether it was taken.
        shard: whose event it is, where that is known; -1 else.
    """

    def __init__(self, reason: str, kept: str = "", shard: int = -1) -> None:
        super().__init__(reason)
        self.kept = kept
        self.shard = shard


class Decider(Protocol):
    """Whatever owns the shard, or knows the way to its owner."""

    async def decide(self, events: Sequence[bytes], seconds: float, *, explain: bool = False) -> list[SyncResult]:
        """What became of each event, in order, within `seconds`. Raises `Busy`, `Undecided`.

        `explain` asks for the `explanation` of each decision.
        """

    async def not_ready(self) -> list[str]:
        """Why no decision can be had now, a line each; empty where one can."""

    @property
    def degraded_ready(self) -> bool:
        """Whether calls are answered without the state, as far as rules go, where there are reasons not to be ready."""


class Taker(Decider, Protocol):
    """A decider that takes events and gives up in time, so that somebody else may answer without the state."""

    @property
    def taking(self) -> bool:
        """Whether a further event would be taken."""


class AnswerBook(Protocol):
    """Where answers are kept for repeats."""

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        """What was told first, by event key. Raises `StoreUnavailable`."""

    async def give(self, shard: int, key: bytes, body: bytes, ttl_s: int, age_s: float) -> tuple[bool, bytes | None]:
        """Keep the answer given to a call that began `age_s` seconds ago, by event key, ahead of the owner's.

        Not kept where the owner's is older than the call: the event had been decided before. Returns whether it is
        kept now, and the owner's answer, `None` where there is none yet. Raises `StoreUnavailable`.
        """


class EventWriter(Protocol):
    """The writing end of the event log."""

    async def write(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
        """Append one event and return its partition once the log holds it safely. Raises `LogUnavailable`."""

    async def check(self) -> None:
        """Raises `LogUnavailable` where the log cannot be reached now."""


class ReplyChannel(Protocol):
    """Where the owners of the shards publish their replies."""

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Payloads published to `channel` once the block is entered. Raises `StoreUnavailable` when the line breaks."""
