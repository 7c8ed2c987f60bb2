"""What the fraud model keeps in the head of its shard, key by key.

| key | holds |
|---|---|
| `hfraud/identity` | digest of learner, settings and names of the inputs |
| `hfraud/clock` | hour, boundaries, what is pending, decisions counted and drawn |
| `hfraud/snapshot`, `hfraud/before` | what is published, and what was before it |
| `hfraud/pinned` | what serves instead of what is published, while a version is pinned |
| `hfraud/rank`, `hfraud/ranked` | the distribution of margins, and bins counted since |
| `hfraud/rows/<day>` | labelled rows (`engine.scoring.training_set`) |
| `hfraud/quarantined`, `hfraud/quarantined/rows/<day>` | what could not be read |
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.scoring import blob
from engine.scoring.rank import Rank
from engine.scoring.snapshot import Snapshot

HEAD_FRAUD: Final = KEY_HEAD + b"fraud/"
HEAD_IDENTITY: Final = HEAD_FRAUD + b"identity"
HEAD_CLOCK: Final = HEAD_FRAUD + b"clock"
HEAD_SNAPSHOT: Final = HEAD_FRAUD + b"snapshot"
HEAD_BEFORE: Final = HEAD_FRAUD + b"before"
HEAD_PINNED: Final = HEAD_FRAUD + b"pinned"
HEAD_RANK: Final = HEAD_FRAUD + b"rank"
HEAD_RANKED: Final = HEAD_FRAUD + b"ranked"  # u16 LE each
HEAD_QUARANTINED: Final = HEAD_FRAUD + b"quarantined"
RANKED_MAX: Final = 8_192  # bins in `ranked`, after which `rank` is written again
MAGIC: Final = b"FMC1"
NONE: Final = -1


@dataclass(slots=True)
class ClockRecord:
    """Where the model is in event time.

    Attributes:
        hour_ms: the last hour it was told; None before the first.
        boundary_ms: the last boundary that was passed.
        pending_ms: the boundary of the job that is under way; None without one.
        before_ms: the boundary before that.
        decided, drawn: payments of this day that were decided, and those of them drawn to be kept.
        volumes: decisions of the last whole days.
    """

    hour_ms: int | None = None
    boundary_ms: int = 0
    pending_ms: int | None = None
    before_ms: int = 0
    decided: int = 0
    drawn: int = 0
    volumes: list[int] = field(default_factory=list)

    def end_day(self, days: int) -> None:
        """Begin a day; a day without decisions is not counted."""
        if self.decided:
            self.volumes = [*self.volumes, self.decided][-days:]
        self.decided = self.drawn = 0

    def dump(self) -> bytes:
        """As bytes."""
        times = [self.hour_ms, self.boundary_ms, self.pending_ms, self.before_ms, self.decided, self.drawn]
        numbers = [NONE if number is None else number for number in times]
        return blob.write(MAGIC, [np.array([*numbers, *self.volumes], np.int64)])

    def load(self, data: bytes) -> None:
        """From bytes. Raises `ValueError` where they are damaged."""
        arrays = blob.read(MAGIC, data, "fraud model clock")
        numbers = blob.expect(arrays[0], "<i8", (-1,), "fraud model clock").tolist()
        hour_ms, self.boundary_ms, pending_ms, self.before_ms, self.decided, self.drawn = numbers[:6]
        self.hour_ms = None if hour_ms == NONE else hour_ms
        self.pending_ms = None if pending_ms == NONE else pending_ms
        self.volumes = numbers[6:]


class FraudStorage:
    """State operations of a fraud model.

    Args:
        identity: learner, settings and names of the inputs, as text.
        backed: a state store stands behind; without one there are no operations.

    Attributes:
        problems: what could not be read at `restore`, in words.
    """

    def __init__(self, identity: str, *, backed: bool) -> None:
        self.problems: list[str] = []
        self._identity = hashlib.blake2b(identity.encode(), digest_size=16).digest()
        self._backed = backed
        self._ops = [pack(Op(SET, HEAD_IDENTITY, self._identity))] if backed else []
        self._clock = b""  # as stored
        self._ranked = 0  # bins stored since the rank was
        self._codes: list[bytes] = []
        self._rank: bytes | None = None

    @property
    def until_rank(self) -> int:
        """How many margins more may be counted before `ranked` has to be told of them."""
        return RANKED_MAX - self._ranked

    def ranked(self, codes: NDArray[np.uint16], rank: Rank) -> None:
        """Margins of these bins were counted by `rank`."""
        if not self._backed:
            return
        self._ranked += len(codes)
        if self._ranked == RANKED_MAX:
            self._rank, self._ranked = rank.dump(), 0
            self._codes.clear()
        else:
            self._codes.append(codes.tobytes())

    def published(self, data: bytes, before: bytes | None) -> None:
        """A snapshot was published in place of another."""
        if self._backed:
            if before is not None:
                self._ops.append(pack(Op(SET, HEAD_BEFORE, before)))
            self._ops.append(pack(Op(SET, HEAD_SNAPSHOT, data)))

    def pinned(self, data: bytes | None) -> None:
        """A snapshot serves until further notice; None: no longer."""
        if self._backed:
            self._ops.append(pack(Op(DELETE, HEAD_PINNED, b"") if data is None else Op(SET, HEAD_PINNED, data)))

    def ops(self, clock: ClockRecord) -> list[bytes]:
        """State operations for what changed since the last call."""
        if not self._backed:
            return []
        ops, self._ops = self._ops, []
        written = clock.dump()
        if written != self._clock:
            self._clock = written
            ops.append(pack(Op(SET, HEAD_CLOCK, written)))
        if self._rank is not None:
            ops += [pack(Op(SET, HEAD_RANK, self._rank)), pack(Op(DELETE, HEAD_RANKED, b""))]
            self._rank = None
        if self._codes:
            ops.append(pack(Op(APPEND, HEAD_RANKED, b"".join(self._codes))))
            self._codes.clear()
        return ops

    def restore(self, head: Mapping[bytes, bytes], clock: ClockRecord, rank: Rank) -> bool:
        """Read clock and rank; False where there is nothing stored that is of use."""
        if HEAD_IDENTITY not in head:
            return False
        if head[HEAD_IDENTITY] != self._identity:
            old = [key for key in head if key.startswith(HEAD_FRAUD) and key != HEAD_IDENTITY]
            self._ops = [*(pack(Op(DELETE, key, b"")) for key in sorted(old)), *self._ops]
            return False
        self._ops.clear()
        self._read("clock", head, HEAD_CLOCK, clock.load)
        self._clock = head.get(HEAD_CLOCK, b"")
        self._read("distribution of margins", head, HEAD_RANK, rank.load)
        self._read("bins of margins", head, HEAD_RANKED, partial(self._recount, rank))
        return True

    def _recount(self, rank: Rank, data: bytes) -> None:
        codes = np.frombuffer(data, "<u2")
        rank.recount(codes)
        self._ranked = len(codes)

    def _read(self, what: str, head: Mapping[bytes, bytes], key: bytes, load: Callable[[bytes], object]) -> None:
        if key in head:
            try:
                load(head[key])
            except ValueError as error:
                self._aside(what, key, head[key], error)

    def _aside(self, what: str, key: bytes, data: bytes, error: ValueError) -> None:
        self.problems.append(f"{what}: {error}")
        aside = HEAD_QUARANTINED + b"/" + key[len(HEAD_FRAUD) :] if key != HEAD_SNAPSHOT else HEAD_QUARANTINED
        self._ops += [pack(Op(SET, aside, data)), pack(Op(DELETE, key, b""))]

    def restored_snapshot(self, head: Mapping[bytes, bytes], load: Callable[[bytes], Snapshot]) -> Snapshot | None:
        """What was published; where that is damaged, what was before it; None where that is gone too."""
        for what, key in (("snapshot", HEAD_SNAPSHOT), ("snapshot before it", HEAD_BEFORE)):
            if key in head:
                try:
                    snapshot = load(head[key])
                except ValueError as error:
                    self._aside(what, key, head[key], error)
                    continue
                if key == HEAD_BEFORE:
                    self._ops.append(pack(Op(SET, HEAD_SNAPSHOT, snapshot.data)))
                return snapshot
        return None

    def restored_pin(self, head: Mapping[bytes, bytes], load: Callable[[bytes], Snapshot]) -> Snapshot | None:
        """What was pinned; None where nothing was, or where it is damaged: what is published serves then."""
        if HEAD_PINNED in head:
            try:
                return load(head[HEAD_PINNED])
            except ValueError as error:
                self._aside("pinned snapshot", HEAD_PINNED, head[HEAD_PINNED], error)
        return None

    def forget(self) -> list[bytes]:
        """State operations that delete these keys. What was put aside stays."""
        keys = HEAD_IDENTITY, HEAD_CLOCK, HEAD_SNAPSHOT, HEAD_BEFORE, HEAD_PINNED, HEAD_RANK, HEAD_RANKED
        return [pack(Op(DELETE, key, b"")) for key in keys]
