"""The servers of a run, which outlive every process: a store that can go back in time, and a broker."""

import copy
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from engine.adapters.memory_store import MemoryStore, _Shard
from engine.ports.sink import SinkOutput
from engine.ports.store import Commit, Delivery, Fenced

EMPTIED: Final = 0.15  # of the rollbacks lose everything


class ProducerIsFenced(OSError):
    """Another process has taken over the transactional id."""


class Store(MemoryStore):
    """A memory store that remembers what it was after each change.

    Attributes:
        replies: what was published to those who wait, `(channel, payload)`.
        commits, fenced: how many were stored, and refused by the fence.
    """

    def __init__(self, now: Callable[[], float], *, remembers: bool) -> None:
        super().__init__(now)
        self.replies: list[tuple[str, bytes]] = []
        self.commits = self.fenced = 0
        self._history: list[tuple[int, _Shard]] | None = [] if remembers else None

    async def commit(self, commit: Commit) -> None:
        try:
            await super().commit(commit)
        except Fenced:
            self.fenced += 1
            raise
        self.commits += 1
        self.replies += commit.replies
        self._remember(commit.shard)

    async def deliver(self, delivery: Delivery) -> int:
        applied = await super().deliver(delivery)
        self._remember(delivery.home)
        return applied

    def _remember(self, shard: int) -> None:
        if self._history is not None:
            self._history.append((shard, _copied(self._shards[shard])))

    def roll_back(self, changes: int, shards: Sequence[int]) -> None:
        """Lose what of the last `changes` of all shards concerns `shards`; what is left is all there ever was."""
        assert self._history is not None
        kept = self._history[: max(0, len(self._history) - changes)]
        for shard in shards:
            states = [state for number, state in kept if number == shard]
            if states:
                self._shards[shard] = _copied(states[-1])
            else:
                self._shards.pop(shard, None)
        self._history = kept + [change for change in self._history[len(kept) :] if change[0] not in shards]

    @property
    def changes(self) -> int:
        """How many changes can be lost."""
        return len(self._history or ())


def _copied(held: _Shard) -> _Shard:
    fresh = copy.copy(held)
    for name in _Shard.__dataclass_fields__:
        value = getattr(held, name)
        if hasattr(value, "copy"):
            setattr(fresh, name, value.copy())
    fresh.state = {key: bytearray(value) for key, value in held.state.items()}
    return fresh


class Sent(NamedTuple):
    """One output as a consumer gets it; its ordinal where the sink was told."""

    shard: int
    ordinal: int | None
    output: SinkOutput


class Broker:
    """Topics as lists, with Kafka's transactions as far as the relay uses them.

    Attributes:
        sent: outputs in the order in which a consumer that reads what is committed gets them.
        positions: the committed records of the relay's topic, by shard.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.positions: dict[int, list[bytes]] = {}
        self.refused = 0
        self._epochs: dict[int, int] = {}
        self._open: dict[int, tuple[list[Sent], list[bytes]]] = {}

    async def append(self, sent: Sequence[Sent]) -> None:
        """Take outputs outside of any transaction."""
        self.sent += sent

    async def take_over(self, shard: int) -> int:
        """Give the shard's transactional id a new owner, known by the epoch returned; end what the last left open."""
        self._open.pop(shard, None)
        self._epochs[shard] = self._epochs.get(shard, 0) + 1
        return self._epochs[shard]

    async def read(self, shard: int) -> list[bytes]:
        """The committed records of the relay's topic."""
        return list(self.positions.get(shard, ()))

    async def add(self, shard: int, epoch: int, sent: Sequence[Sent], position: bytes) -> None:
        """Add to the open transaction, or open one."""
        self._check(shard, epoch)
        outputs, positions = self._open.setdefault(shard, ([], []))
        outputs += sent
        positions.append(position)

    async def end(self, shard: int, epoch: int) -> None:
        """Commit the open transaction."""
        self._check(shard, epoch)
        outputs, positions = self._open.pop(shard, ([], []))
        self.sent += outputs
        self.positions.setdefault(shard, []).extend(positions)

    def _check(self, shard: int, epoch: int) -> None:
        if self._epochs.get(shard) != epoch:
            self.refused += 1
            raise ProducerIsFenced(f"shard {shard}: epoch {epoch}, which is over")

    def ids(self, shard: int) -> list[str]:
        """Ids of what a consumer got of a shard, in order, repeats included."""
        return [sent.output.id for sent in self.sent if sent.shard == shard]
