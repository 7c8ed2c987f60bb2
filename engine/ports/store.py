"""The state store: where a shard's state, input offset and outbox live, changed together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Place = tuple[int, bytes]
"""Where a shard is: its stored offset (-1 before its first commit) and its lineage."""


class StoreUnavailable(Exception):
    """The store cannot be reached or refuses work for now: wait, back off, try again. Nothing was decided."""


class StoreMisconfigured(Exception):
    """The store can never be used as it is set up (an eviction policy, a layout version): stop and say why."""


class Fenced(Exception):
    """The stored offset or lineage is not the expected one: another owner has committed, or the store was rolled back.

    The caller drops every cached state of the shard and opens it again.
    """

    def __init__(self, shard: int, expected: int, stored: int) -> None:
        by_others = ", which other commits led to" if stored == expected else ""
        super().__init__(f"shard {shard}: expected offset {expected}, stored {stored}{by_others}")
        self.shard = shard
        self.expected = expected
        self.stored = stored


class DeliveryGap(Exception):
    """A home does not have the touches that a source delivered to it before: it was rolled back."""

    def __init__(self, home: int, source: int, previous: int, applied: int) -> None:
        super().__init__(f"shard {home} has touches of shard {source} up to offset {applied}, not {previous}")
        self.home = home
        self.source = source
        self.previous = previous
        self.applied = applied


@dataclass(frozen=True, slots=True)
class Head:
    """What an owner needs before its first batch.

    Attributes:
        offset: the next input offset to read; -1 where the shard has never committed.
        outbox_next: the sequence number the next outbox entry gets (0 in a new shard).
        outbox: entries committed but not yet acknowledged as relayed, `(sequence, payload)`, oldest first.
        state: the `KEY_HEAD` keys of the shard and their values.
        touches: entries of the list of touches that are kept, `(sequence, payload)`, oldest first.
        touches_next: the sequence number the next of them gets.
        lineage: names the commits that led here (`Commit.next_lineage` of the last).
    """

    offset: int
    outbox_next: int
    outbox: Sequence[tuple[int, bytes]]
    state: dict[bytes, bytes]
    touches: Sequence[tuple[int, bytes]] = ()
    touches_next: int = 0
    lineage: bytes = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """One micro-batch, to be stored in one atomic call.

    Attributes:
        shard: the shard it belongs to.
        expected: the offset that must be stored now (the fence); -1 for a new shard.
        next_offset: the offset stored after it.
        ops: packed state operations (`engine.domain.ops`), applied in order.
        outbox: one entry to append, empty for none; it gets the sequence number `Head.outbox_next` + entries since.
        relayed: outbox entries below this sequence number have reached their sink and are dropped.
        journal: the raw input, stored with the state where no log holds it; empty for none.
        answers: `(event key, decision JSON, ttl seconds)` kept for repeats of a synchronous call.
        touches: one entry to append to the list of touches of entities at home in other shards, empty for none; it
            gets the sequence number `Head.touches_next` + entries since.
        delivered: entries of that list below this sequence number are no longer needed and are dropped.
        replies: `(channel, payload)` published to the nodes that wait for a decision, after all else succeeded.
        lineage: that must be stored now, the other half of the fence: the same offset can be reached through other
            batches, after a rollback, and sequence numbers mean other entries then.
        next_lineage: stored after it.
    """

    shard: int
    expected: int
    next_offset: int
    ops: bytes
    outbox: bytes = b""
    relayed: int = 0
    journal: bytes = b""
    answers: Sequence[tuple[bytes, bytes, int]] = field(default=())
    replies: Sequence[tuple[str, bytes]] = field(default=())
    touches: bytes = b""
    delivered: int = 0
    lineage: bytes = b""
    next_lineage: bytes = b""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Touches of shared entities, carried from the shard whose events they come from to the entities' home.

    A home applies the touches of each record of a source once, whatever batch they come in: an operation from a record
    at an offset that it has had already is passed over.

    Attributes:
        home, source: the two shards.
        previous: `next_offset` of the source's delivery to this home before this one; -1 where there was none. A home
            that has not had that one refuses this.
        first: offset of the first record of the batch.
        next_offset: the source's input offset after the batch.
        offsets: of the record that each operation comes from, less `first`, u32 little endian, ascending.
        ops: as many packed operations, of kinds `APPEND` and `REWRITE`, on entity logs.
    """

    home: int
    source: int
    previous: int
    first: int
    next_offset: int
    offsets: bytes
    ops: bytes


class StateStore(Protocol):
    """A durable map of byte keys per shard with an atomic, fenced commit."""

    async def start(self) -> None:
        """Connect and check the server. Raises `StoreMisconfigured` or `StoreUnavailable`."""

    async def close(self) -> None:
        """Let go of every connection."""

    async def open(self, shard: int) -> Head:
        """Read what an owner needs before its first batch."""

    async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        """Values of the given keys, in order; `None` where there is none.

        `at`: where the shard has to be; values and check are of one moment. Without, the values of many keys may be of
        several. Raises `Fenced` where the shard is elsewhere, `StoreUnavailable`.
        """

    async def commit(self, commit: Commit) -> None:
        """Apply all of `commit` or nothing. Raises `Fenced`, `StoreUnavailable`."""

    async def deliver(self, delivery: Delivery) -> int:
        """Apply what of `delivery` its home has not had, in one atomic call. Not fenced: it changes logs only.

        Returns the source's offset up to which the home has its touches. Raises `DeliveryGap`, `StoreUnavailable`.
        """

    async def layout(self) -> bytes | None:
        """What the filters and fields in the logs of the deployment mean; None where nothing is agreed yet."""

    async def extend_layout(self, before: bytes | None, after: bytes) -> bool:
        """Replace the layout where it still is `before`; whether it was."""

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        """The stored decision of an earlier synchronous call, by event key."""
