"""What a shard's anomaly detectors have learned, stored so that a commit does not carry all of it.

A detector's state is big (two masses a leaf: 25 trees of height 12 are 400 KB before they are deflated), and a batch
changes little of it. So the head holds two keys: a snapshot of the detector after every `every` events it learned, and
the inputs of those it has learned since, appended with each batch. To restore it, the snapshot is loaded and the inputs
are learned again, and nothing else: no output, no state of any customer.

The inputs are stored because the log does not hold them: they are features as of the moment the event was processed,
and the state that gave them has moved on. What is stored follows from the events alone: not from the size of batches,
nor from crashes.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.scoring.base import Detector

HEAD_ANOMALY: Final = KEY_HEAD + b"anomaly"  # `Detector.dump` at the last snapshot
HEAD_LEARNED: Final = KEY_HEAD + b"learned"  # float64 LE, inputs of one event after another: what it learned since
ANOMALY: Final = (HEAD_ANOMALY, HEAD_LEARNED)
PLAIN: Final = (KEY_HEAD + b"plain", KEY_HEAD + b"plain_learned")
"""Keys of the snapshot and of what was learned since, of the anomaly detector and of the label-free one."""

SNAPSHOT_EVERY: Final = 4_096
"""Events between two snapshots. With six inputs at most 192 KB in the head and 10 ms of a restart; docs/state.md."""

Matrix = NDArray[np.float64]
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
            self.detector.load(head[snapshot])
        learned = np.frombuffer(head.get(since, b""), _VALUE)
        events, rest = divmod(learned.size, self.detector.inputs)
        if rest:
            raise ValueError(f"{learned.size} inputs learned since the snapshot do not fit {self.detector.version}")
        if events:
            self.detector.score_then_learn(np.ascontiguousarray(learned.reshape(events, -1).T, np.float64))
        self._since = events

    def score(self, x: Matrix) -> Matrix:
        """Score each event, then learn it, in order: see `Detector.score_then_learn`."""
        if not self._backed:
            return self.detector.score_then_learn(x)
        scores = []
        start, end = 0, x.shape[1]
        while start < end:
            stop = min(end, start + max(1, self._every - self._since))
            part = np.ascontiguousarray(x[:, start:stop])
            scores.append(self.detector.score_then_learn(part))
            self._learned.append(part.T.astype(_VALUE).tobytes())
            self._since += stop - start
            start = stop
            if self._since >= self._every:
                self._snapshot = self.detector.dump()
                self._learned.clear()
                self._since = 0
        return np.concatenate(scores) if scores else np.empty(0)

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
