"""What the fraud model publishes: immutable, versioned, checksummed, and a pure function of what it was made from."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from engine.scoring import blob
from engine.scoring.calibration import IDENTITY, Curve
from engine.scoring.learners.base import Learner, Predictor, Task
from engine.scoring.packing import unpack_inputs
from engine.scoring.rows import LabelledRows, joined, newest
from engine.scoring.tails import bounded
from engine.scoring.tally import BINS, Floats, counted, curve_of, nothing

MAGIC: Final = b"SFM2"
ARRAYS: Final = 7  # of a blob
SNAPSHOT_BYTES_MAX: Final = 64 << 20
"""Of a snapshot that comes from elsewhere. Those of the default learner have 0.2 MB."""

WHAT: Final = "fraud model snapshot"
_IDENTITY: Final = re.compile(r"(\w{1,16}) over (\d{1,4}): ")
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def model_hash(data: bytes) -> str:
    """The name of a snapshot in the archive and in control events: 32 letters from a to p, by content.

    A digest of 16 bytes, a letter for each half of one. No digits: in the log they might read as a card number.
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest().translate(_LETTERS)


class Description(NamedTuple):
    """What a snapshot says of itself.

    Attributes:
        model: its name by content (`model_hash`).
        version: what decisions name, such as `gbt1-7f3a21c0`.
        boundary_ms: it knows labels that had arrived by then, event time.
        known, frauds: payments that its rows stood for, and how many rows were frauds.
        inputs: how many it takes.
    """

    model: str
    version: str
    boundary_ms: int
    known: float
    frauds: int
    inputs: int


def describe(data: bytes) -> Description:
    """Read a snapshot as far as no configuration is needed for it. Raises `ValueError` where it is damaged."""
    if len(data) > SNAPSHOT_BYTES_MAX:
        raise ValueError(f"{WHAT} has {len(data):,} bytes; at most {SNAPSHOT_BYTES_MAX:,} are taken")
    arrays = blob.read(MAGIC, data, WHAT)
    told = _IDENTITY.match(arrays[0].tobytes().decode("utf-8", "replace")) if len(arrays) == ARRAYS else None
    if told is None:
        raise ValueError(f"{WHAT} does not say which learner made it")
    boundary_ms, frauds = blob.expect(arrays[1], "<i8", (2,), WHAT).tolist()
    known = float(blob.expect(arrays[2], "<f8", (2,), WHAT)[0])
    return Description(model_hash(data), version_of(told[1], data), boundary_ms, known, frauds, int(told[2]))


def version_of(code: str, data: bytes) -> str:
    """What decisions name: the learner's code and a short digest of the content."""
    return f"{code}-{hashlib.blake2b(data, digest_size=4).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published model.

    Attributes:
        predictor: what the learner made.
        tally: what margins of models like it came to (`engine.scoring.tally`).
        curve: from its margins, evidence added, to probabilities.
        boundary_ms: it knows labels that had arrived by then.
        known: how many payments the rows in memory stood for.
        frauds: how many of the rows were frauds.
        data: all of it as bytes, for `load`.
        version: short name of the content, such as `gbt1-7f3a21c0`.
    """

    predictor: Predictor
    tally: Floats
    curve: Curve
    boundary_ms: int
    known: float
    frauds: int
    data: bytes
    version: str


class TrainingJob(NamedTuple):
    """What is worked out at a boundary: immutable.

    Attributes:
        learner: who learns.
        identity: what snapshots must have in common: learner, settings and names of the inputs.
        before: what is published; None at first.
        boundary_ms: event time.
        fresh: rows that arrived since the last boundary, in parts.
        rows: all rows in memory, those of `fresh` among them; None at boundaries within a day.
        frauds_min, known_min: fewer frauds or payments are not enough to begin with.
        evidence: weights of the plain and the labelled evidence.
    """

    learner: Learner
    identity: str
    before: Snapshot | None
    boundary_ms: int
    fresh: tuple[LabelledRows, ...]
    rows: tuple[LabelledRows, ...] | None
    frauds_min: int
    known_min: float
    evidence: tuple[float, float]


def work(job: TrainingJob) -> Snapshot | None:
    """Learn at a boundary; None where too little has arrived to begin with."""
    fresh = newest(joined(list(job.fresh)))
    rows = fresh if job.rows is None else newest(joined(list(job.rows)))
    known, frauds = float(rows.weight.sum()), int(rows.fraud.sum())
    before = job.before
    if before is None and (frauds < job.frauds_min or known < job.known_min):
        return None
    if job.rows is None and before is not None:
        known, frauds = before.known + known, before.frauds + frauds
    predictor = job.learner.learn(before.predictor if before is not None else None, Task(job.boundary_ms, fresh, rows))
    tally, curve = nothing(), IDENTITY
    if before is not None:
        tally = _judged(before, fresh, job)
        curve = before.curve if job.rows is None else curve_of(tally)
    return made(job.learner, job.identity, predictor, tally, curve, job.boundary_ms, known, frauds)


def _judged(before: Snapshot, fresh: LabelledRows, job: TrainingJob) -> Floats:
    """The tally with the fresh rows, at the margins that the published model gives them before it learns them."""
    margin = before.predictor.margins(unpack_inputs(fresh.inputs))
    for weight, evidence in zip(job.evidence, (fresh.plain, fresh.labelled), strict=True):
        margin += weight * bounded(evidence.astype(np.float64))
    since_ms = max(0, job.boundary_ms - before.boundary_ms)  # what was started with may be of later days
    return counted(before.tally, since_ms, margin, fresh.fraud, fresh.weight)


def made(
    learner: Learner,
    identity: str,
    predictor: Predictor,
    tally: Floats,
    curve: Curve,
    boundary_ms: int,
    known: float,
    frauds: int,
) -> Snapshot:
    """The snapshot of these parts."""
    arrays = [
        blob.text(identity),
        np.array([boundary_ms, frauds], np.int64),
        np.array([known, curve.slope]),
        curve.margin,
        curve.odds,
        tally,
        np.frombuffer(predictor.dump(), np.uint8),
    ]
    data = blob.write(MAGIC, arrays)
    return Snapshot(predictor, tally, curve, boundary_ms, known, frauds, data, version_of(learner.code, data))


def load(data: bytes, learner: Learner, identity: str) -> Snapshot:
    """The snapshot of these bytes. Raises `ValueError` where they are damaged or of another configuration."""
    what = WHAT
    arrays = blob.read(MAGIC, data, what)
    if len(arrays) != ARRAYS or arrays[0].tobytes() != identity.encode():
        raise ValueError(f"{what} belongs to another configuration: its learner, settings or inputs differ")
    whole = blob.expect(arrays[1], "<i8", (2,), what)
    known, slope = blob.expect(arrays[2], "<f8", (2,), what).tolist()
    margin = blob.expect(arrays[3], "<f8", (-1,), what)
    odds = blob.expect(arrays[4], "<f8", (len(margin),), what)
    rising = len(margin) and slope > 0.0 and (np.diff(margin) > 0.0).all() and (np.diff(odds) > 0.0).all()
    if not rising or not np.isfinite([known, slope, margin[0], margin[-1], odds[0], odds[-1]]).all():
        raise ValueError(f"{what} has a calibration that is not increasing")
    tally = blob.expect(arrays[5], "<f8", (2, BINS), what)
    if not (np.isfinite(tally).all() and (tally >= 0.0).all()):
        raise ValueError(f"{what} has a tally that is no count")
    predictor = learner.load(blob.expect(arrays[6], "u1", (-1,), what).tobytes())
    return made(learner, identity, predictor, tally, Curve(margin, odds, slope), int(whole[0]), known, int(whole[1]))
