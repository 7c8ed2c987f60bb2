"""Synchronous decisions: an event goes in, and what became of it comes back to the caller who waits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

DECISION = "decision"
DUPLICATE = "duplicate"
ACCEPTED = "accepted"
REJECTED = "rejected"


class SyncResult(NamedTuple):
    """What became of one event.

    Attributes:
        status: `decision` (`body`: the decision), `duplicate` (`body`: the first answer, `null` where there was none or
            it is not kept any more), `accepted` (an event without a decision; `null`) or `rejected` (`body`:
            `{"reason", "detail"}`).
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
    """No answer within the caller's time. The events were taken: a repeat of the call gets their answer."""


class Decider(Protocol):
    """Whatever owns the shard, or knows the way to its owner."""

    async def decide(self, events: Sequence[bytes], seconds: float, *, explain: bool = False) -> list[SyncResult]:
        """What became of each event, in order, within `seconds`. Raises `Busy`, `Undecided`.

        `explain` asks for the `explanation` of each decision.
        """

    async def not_ready(self) -> list[str]:
        """Why no decision can be had now, a line each; empty where one can."""


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
