"""Labelled rows: what a learner is told of payments whose label has arrived."""

import struct
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring.blob import CHECKSUM_BYTES, checksum

FIELDS: Final = (  # name of the attribute, type as stored
    ("payments", "<u8"),
    ("decided_ms", "<i8"),
    ("arrived_ms", "<i8"),
    ("plain", "<f4"),
    ("labelled", "<f4"),
    ("margin", "<f4"),
    ("share", "<f4"),
    ("fraud", "u1"),
)
HEAD: Final = struct.Struct("<qI")  # hour, rows


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Labelled payments, in the order in which their labels arrived.

    Attributes:
        payments: hash of the payment's id, uint64 `(n,)`. A later row of the same payment replaces the earlier.
        decided_ms: event time of the decision, int64 `(n,)`.
        arrived_ms: when the label became known, int64 `(n,)`.
        fraud: 1 a fraud, 0 legitimate, uint8 `(n,)`.
        inputs: the inputs as they were at the decision, packed (`engine.scoring.packing`), uint16 `(n, inputs)`.
        plain, labelled: evidence of the two anomaly scores at the decision (`engine.scoring.tails.evidence`), float32
            `(n,)`; NaN counts as 0.
        margin: `FraudScores.margin` of the decision, float32 `(n,)`; NaN where there was none. For monitors: learners
            are judged by what they would say now.
        share: the share of payments like this one that are kept, in (0, 1]: a row stands for `1 / share` payments
            (`FraudModel.draw`), float32 `(n,)`; rows with 0 are passed over. Frauds are all kept: theirs counts as 1.
            Below 0 it is of a control sample: a row stands for `-1 / share` payments whatever its label, and is kept.
    """

    payments: NDArray[np.uint64]
    decided_ms: NDArray[np.int64]
    arrived_ms: NDArray[np.int64]
    fraud: NDArray[np.uint8]
    inputs: NDArray[np.uint16]
    plain: NDArray[np.float32]
    labelled: NDArray[np.float32]
    margin: NDArray[np.float32]
    share: NDArray[np.float32]

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.payments)

    @property
    def weight(self) -> NDArray[np.float64]:
        """How many payments each row stands for, float64 `(n,)`."""
        kept = np.where(self.fraud == 1, 1.0, self.share)
        return 1.0 / np.where(self.share < 0.0, -self.share, kept)

    def take(self, places: NDArray[Any] | slice) -> "LabelledRows":
        """Those rows."""
        return LabelledRows(*(getattr(self, entry.name)[places] for entry in fields(self)))


def no_rows(inputs: int) -> LabelledRows:
    """No rows, of so many inputs."""
    return _of(np.empty(0, _kind(inputs)))


def joined(parts: list[LabelledRows]) -> LabelledRows:
    """The rows of one or more parts, in order."""
    if len(parts) == 1:
        return parts[0]
    return LabelledRows(*(np.concatenate([getattr(p, entry.name) for p in parts]) for entry in fields(LabelledRows)))


def newest(rows: LabelledRows) -> LabelledRows:
    """Of each payment its last row, in order."""
    _, last = np.unique(rows.payments[::-1], return_index=True)
    return rows if len(last) == rows.n else rows.take(np.sort(rows.n - 1 - last))


def dump_rows(hour_ms: int, rows: LabelledRows) -> bytes:
    """Rows that were learned in an hour as bytes that can be put one after another."""
    body = np.empty(rows.n, _kind(rows.inputs.shape[1]))
    for name, _ in FIELDS:
        body[name] = getattr(rows, name)
    body["inputs"] = rows.inputs
    packed = HEAD.pack(hour_ms, rows.n) + body.tobytes()
    return checksum(packed) + packed


def load_rows(data: bytes, inputs: int) -> tuple[list[tuple[int, LabelledRows]], int]:
    """What `dump_rows` put one after another, as pairs of hour and rows, and how many bytes of `data` that was.

    Less than all of them where what follows is damaged.
    """
    kind = _kind(inputs)
    found: list[tuple[int, LabelledRows]] = []
    position = 0
    while position + CHECKSUM_BYTES + HEAD.size <= len(data):
        start = position + CHECKSUM_BYTES
        hour_ms, n = HEAD.unpack_from(data, start)
        end = start + HEAD.size + n * kind.itemsize
        if end > len(data) or checksum(data[start:end]) != data[position:start]:
            break
        found.append((hour_ms, _of(np.frombuffer(data, kind, n, start + HEAD.size))))
        position = end
    return found, position


def _kind(inputs: int) -> np.dtype[Any]:
    return np.dtype([*FIELDS, ("inputs", "<u2", (inputs,))])


def _of(body: NDArray[Any]) -> LabelledRows:
    return LabelledRows(**{name: np.ascontiguousarray(body[name]) for name in ("inputs", *dict(FIELDS))})
