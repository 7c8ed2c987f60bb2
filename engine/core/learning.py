"""What a shard's anomaly detectors have learned, stored so that a commit does not carry all of it.

A detector's state is big (two masses a leaf: 25 trees of height 12 are 400 KB before they are deflated), and a batch
changes little of it. So the head holds two keys: a snapshot of the detector after every `every` events it learned, and
the inputs of those it has learned since, appended with each batch. To restore it, the snapshot is loaded and the inputs
are learned again, and nothing else: no output, no state of any customer.

With a detector goes where its scores stand among recent ones (`engine.scoring.rank`): it is part of the snapshot, and
scores that are learned again are ranked again.

The inputs are stored because the log does not hold them: they are features as of the moment the event was processed,
and the state that gave them has moved on. What is stored follows from the events alone: not from the size of batches,
nor from crashes.
"""

import struct
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.scoring.base import Detector
from engine.scoring.rank import Rank

HEAD_ANOMALY: Final = KEY_HEAD + b"anomaly"  # detector and rank at the last snapshot
HEAD_LEARNED: Final = KEY_HEAD + b"learned"  # float64 LE, inputs of one event after another: what it learned since
ANOMALY: Final = (HEAD_ANOMALY, HEAD_LEARNED)
PLAIN: Final = (KEY_HEAD + b"plain", KEY_HEAD + b"plain_learned")
"""Keys of the snapshot and of what was learned since, of the anomaly detector and of the label-free one."""

SNAPSHOT_EVERY: Final = 4_096
"""Events between two snapshots. With six inputs at most 192 KB in the head and 10 ms of a restart; docs/state.md."""

RANK_MEMORY: Final = 10_000
"""Scores after which one counts a third for where others stand."""

Matrix = NDArray[np.float64]
_LENGTH: Final = struct.Struct("<I")  # of the detector's state in a snapshot; the rank's follows it
_VALUE: Final = np.dtype("<f8")


class Learner:
    """A detector that goes on where its stored state ends.

    Args:
        detector: that has learned nothing.
        every: events between two snapshots.
        backed: a state store stands behind; without one nothing is kept for it.
        replaces: the head holds the state of an earlier detector, which is to go.
        keys: where its state is.
    """

    def __init__(
        self,
        detector: Detector,
        every: int,
        *,
        backed: bool,
        replaces: bool = False,
        keys: tuple[bytes, bytes] = ANOMALY,
    ) -> None:
        self.detector = detector
        self._rank = Rank(RANK_MEMORY)
        self._keys = keys
        self._every = every
        self._backed = backed
        self._since = 0  # events learned since the last snapshot
        self._snapshot: bytes | None = None  # taken since the last `ops`
        self._learned: list[bytes] = []  # since the last `ops`, or since that snapshot
        self._replaces = replaces

    def restore(self, head: Mapping[bytes, bytes]) -> None:
        """Load the last snapshot and learn what came after it. Raises `ValueError` where either does not fit."""
        snapshot, since = self._keys
        if snapshot in head:
            self._load(head[snapshot])
        learned = np.frombuffer(head.get(since, b""), _VALUE)
        events, rest = divmod(learned.size, self.detector.inputs)
        if rest:
            raise ValueError(f"{learned.size} inputs learned since the snapshot do not fit {self.detector.version}")
        if events:
            self._take(np.ascontiguousarray(learned.reshape(events, -1).T, np.float64))
        self._since = events

    def _load(self, snapshot: bytes) -> None:
        if len(snapshot) < _LENGTH.size:
            raise ValueError("detector state is damaged: it is too short")
        end = _LENGTH.size + _LENGTH.unpack_from(snapshot)[0]
        self.detector.load(snapshot[_LENGTH.size : end])
        self._rank.load(snapshot[end:])

    def _take(self, x: Matrix) -> tuple[Matrix, Matrix]:
        scores = self.detector.score_then_learn(x)
        return scores, self._rank.tops(scores)

    def score(self, x: Matrix) -> tuple[Matrix, Matrix]:
        """Score each event, then learn it, in order: see `Detector.score_then_learn`.

        Returns the scores, and the share of recent events with at least this score, float64 `(n,)` each.
        """
        if not self._backed:
            return self._take(x)
        scores: list[tuple[Matrix, Matrix]] = []
        start, end = 0, x.shape[1]
        while start < end:
            stop = min(end, start + max(1, self._every - self._since))
            part = np.ascontiguousarray(x[:, start:stop])
            scores.append(self._take(part))
            self._learned.append(part.T.astype(_VALUE).tobytes())
            self._since += stop - start
            start = stop
            if self._since >= self._every:
                state = self.detector.dump()
                self._snapshot = _LENGTH.pack(len(state)) + state + self._rank.dump()
                self._learned.clear()
                self._since = 0
        if not scores:
            return np.empty(0), np.empty(0)
        return np.concatenate([part for part, _ in scores]), np.concatenate([part for _, part in scores])

    def ops(self) -> list[bytes]:
        """State operations for what was learned since the last call."""
        if not self._backed:
            return []
        learned = b"".join(self._learned)
        snapshot, since = self._keys
        packed = []
        if self._snapshot is not None:
            packed = [pack(Op(SET, snapshot, self._snapshot)), _rest(since, learned)]
        elif self._replaces:
            packed = [pack(Op(DELETE, snapshot, b"")), _rest(since, learned)]
        elif learned:
            packed = [pack(Op(APPEND, since, learned))]
        self._snapshot, self._replaces = None, False
        self._learned.clear()
        return packed


def forget(keys: tuple[bytes, bytes] = ANOMALY) -> list[bytes]:
    """State operations where no detector is left."""
    return [pack(Op(DELETE, key, b"")) for key in keys]


def _rest(key: bytes, learned: bytes) -> bytes:
    return pack(Op(SET, key, learned) if learned else Op(DELETE, key, b""))
