"""The fraud score: learned from labels that arrive days late, on event time, the same in any replay.

Scoring, on the hot path, uses what was published last. Learning happens at boundaries of event time: a job of immutable
data is handed to a trainer, and what comes out is adopted `adopt_after_ms` of event time later, whoever worked it out
and however long it took. So what is published when follows from the log alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import DAY_MS, rfc3339
from engine.domain.trainer import Handle, Trainer
from engine.scoring.draw import draw
from engine.scoring.fraud_storage import ClockRecord, FraudStorage
from engine.scoring.fraud_types import HOUR_MS, FraudReasons, FraudScores, LearnerSettings
from engine.scoring.learners import registry
from engine.scoring.packing import pack_inputs, unpack_inputs
from engine.scoring.publishing import Published
from engine.scoring.rank import Rank
from engine.scoring.rows import LabelledRows
from engine.scoring.snapshot import WHAT, Snapshot, TrainingJob, load, work
from engine.scoring.tails import bounded
from engine.scoring.training_set import TrainingSet

__all__ = [
    "FraudModel",
    "FraudReasons",
    "FraudScores",
    "LabelledRows",
    "LearnerSettings",
    "pack_inputs",
    "unpack_inputs",
]

INPUTS_MAX: Final = 256
DRAWN_MAX: Final = 10_000  # payments drawn in a day; of each further so many, half as large a share
SHARE_FIRST: Final = 0.3  # before a first day has been counted
VOLUME_DAYS: Final = 7
PROBLEMS_MAX: Final = 100  # kept in words; of more the last

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]


class FraudModel:
    """A learner at work on one shard.

    Args:
        inputs: names of the inputs, in order.
        settings: how it learns.
        trainer: where training is done.
        backed: a state store stands behind; without one nothing is kept for it.

    Raises `ValueError` on an unknown learner or on no inputs or too many.
    """

    def __init__(self, inputs: Sequence[str], settings: LearnerSettings, trainer: Trainer, *, backed: bool) -> None:
        if not 0 < len(inputs) <= INPUTS_MAX:
            raise ValueError(f"a fraud model of {len(inputs)} inputs; 1 to {INPUTS_MAX} allowed")
        self.inputs = tuple(inputs)
        self._settings = settings
        self._trainer = trainer
        self._learner = registry.create(settings.learner, len(inputs), settings.seed)
        self._identity = f"{self._learner.identity} {settings} {' '.join(inputs)}"
        self._rows = TrainingSet(len(inputs), self._learner.memory_days, backed=backed)
        self._rank = Rank(settings.rank_memory)
        self._clock = ClockRecord()
        self._pending: Handle[Snapshot | None] | None = None
        self._storage = FraudStorage(self._identity, backed=backed)
        self._published = Published(self._storage)

    @property
    def ready(self) -> bool:
        """Whether the next payment gets a score."""
        return self.snapshot is not None

    @property
    def version(self) -> str:
        """Short name of what serves, by content, such as `gbt1-7f3a21c0`; `gbt1-none` before there is anything."""
        return self.snapshot.version if self.snapshot is not None else f"{self._learner.code}-none"

    @property
    def snapshot(self) -> Snapshot | None:
        """What serves: pinned, or else published last; None before there is enough to learn from."""
        return self._published.serving

    @property
    def pinned(self) -> bool:
        """Whether what serves is pinned."""
        return self._published.pinned is not None

    @property
    def rows(self) -> int:
        """How many labelled rows are held."""
        return self._rows.n

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, in words: stored state that was damaged (it was put aside), training that failed."""
        return tuple(self._storage.problems)

    def score(self, x: Matrix, plain: Floats, labelled: Floats) -> FraudScores:
        """Score payments, in order; nothing is learned but how margins are distributed.

        Args:
            x: inputs float32 `(n, inputs)`, C-contiguous, NaN where missing; as unpacked from the packed ones, so that
                what is learned is what was scored.
            plain, labelled: evidence of both anomaly scores, float64 `(n,)`; NaN counts as 0.

        Raises `ValueError` on any other shape or type.
        """
        if x.ndim != 2 or x.shape[1] != len(self.inputs) or x.dtype != np.float32 or not x.flags.c_contiguous:
            wanted = f"C-contiguous float32 (n, {len(self.inputs)})"
            raise ValueError(f"inputs {x.dtype} of shape {x.shape}; {wanted} expected")
        serving = self.snapshot
        if serving is None:
            return FraudScores(*(np.full(len(x), np.nan) for _ in range(3)))
        margin = serving.predictor.margins(x)
        margin += self._settings.plain_weight * bounded(plain)
        margin += self._settings.labelled_weight * bounded(labelled)
        probability, rank = np.empty(len(x)), np.empty(len(x))
        start = 0
        while start < len(x):  # the distribution is stored after a fixed number of decisions, however they are cut
            part = slice(start, start + self._storage.until_rank)
            probability[part], rank[part], codes = self._rank.finish(margin[part], serving.curve)
            self._storage.ranked(codes, self._rank)
            start += len(codes)
        return FraudScores(probability, margin, rank)

    def draw(self, payments: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Whether payments that are being decided are to be kept as examples, should they prove legitimate.

        Takes hashes of payment ids, uint64 `(n,)`. Returns float32 `(n,)`: the share in force for those that are drawn,
        which goes into `LabelledRows.share`, and 0 for the others. Frauds are all kept.
        """
        shares = np.zeros(len(payments), np.float32)
        numbers = draw(payments, self._settings.seed)
        start = 0
        while start < len(payments):  # the share falls as soon as enough were drawn: a flood must not fill the store
            share = np.float32(self._share() * 0.5 ** (self._clock.drawn // DRAWN_MAX))
            hits = start + np.flatnonzero(numbers[start:] < share)
            hits = hits[: DRAWN_MAX - self._clock.drawn % DRAWN_MAX]
            shares[hits] = share
            self._clock.drawn += len(hits)
            full = len(hits) > 0 and self._clock.drawn % DRAWN_MAX == 0
            start = int(hits[-1]) + 1 if full else len(payments)
        self._clock.decided += len(payments)
        return shares

    def _share(self) -> float:
        volumes = self._clock.volumes
        return self._learner.share(sum(volumes) / len(volumes)) if volumes else SHARE_FIRST

    def learn(self, rows: LabelledRows) -> None:
        """Remember labelled rows, in the order in which their labels arrived; they count from the next boundary on.

        A row of a payment that came before replaces the earlier one. Raises `ValueError` on another number of inputs.
        """
        if rows.n:
            first = int(rows.arrived_ms[0])
            hour_ms = self._clock.hour_ms if self._clock.hour_ms is not None else first - first % HOUR_MS
            self._rows.append(hour_ms, rows)

    def advance(self, hour_ms: int) -> None:
        """Tell the event time, once it has passed a full hour, before anything of that hour is scored or learned.

        Hours may be left out; one that is not past the last is passed over. Adopts what was learned at an earlier
        boundary when that is due, waiting for it if need be, and hands in a job where a boundary has been passed.
        """
        clock = self._clock
        if clock.hour_ms is not None and hour_ms <= clock.hour_ms:
            return
        self._adopt_by(hour_ms)
        boundary_ms = hour_ms - hour_ms % self._learner.period_ms
        if clock.hour_ms is not None:
            if hour_ms // DAY_MS > clock.hour_ms // DAY_MS:
                clock.end_day(VOLUME_DAYS)
            if boundary_ms > clock.boundary_ms:
                self._adopt_by(None)
                clock.hour_ms = hour_ms
                self._submit(boundary_ms)
                self._adopt_by(hour_ms)
        clock.hour_ms = hour_ms
        clock.boundary_ms = boundary_ms

    def _submit(self, boundary_ms: int) -> None:
        """Hand in the job of a boundary. What it sees follows from the rows, the boundary and the last one alone."""
        fresh = self._rows.since(self._clock.boundary_ms, boundary_ms)
        daily = boundary_ms // DAY_MS > self._clock.boundary_ms // DAY_MS
        rows = self._rows.close(boundary_ms) if daily else None
        self._clock.before_ms, self._clock.pending_ms = self._clock.boundary_ms, boundary_ms
        self._hand_in(fresh, rows, boundary_ms)

    def _hand_in(
        self, fresh: tuple[LabelledRows, ...], rows: tuple[LabelledRows, ...] | None, boundary_ms: int
    ) -> None:
        s, before = self._settings, self._published.line
        enough, weights = (s.frauds_min, s.known_min), (s.plain_weight, s.labelled_weight)
        job = TrainingJob(self._learner, self._identity, before, boundary_ms, fresh, rows, *enough, weights)
        self._pending = self._trainer.submit(partial(work, job))

    def _adopt_by(self, hour_ms: int | None) -> None:
        """Take the result of the pending job, if it is due by then; None takes it whenever it is due. One that failed
        leaves what is published as it is: a fault in learning must not stop the payments."""
        pending_ms = self._clock.pending_ms
        if pending_ms is None or (hour_ms is not None and hour_ms < pending_ms + self._settings.adopt_after_ms):
            return
        assert self._pending is not None
        try:
            made = self._pending.result()
        except Exception as error:  # payments go on with what is published, and the next boundary tries again
            made = None
            self._storage.problems.append(f"training at {rfc3339(pending_ms)}: {type(error).__name__}: {error}")
            del self._storage.problems[:-PROBLEMS_MAX]
        self._pending, self._clock.pending_ms = None, None
        if made is not None:
            self._published.publish(made)

    def install(self, data: bytes) -> str:
        """Publish a snapshot that was made elsewhere or earlier, now; learning goes on from it, and nothing is pinned
        any more. Returns its version.

        Raises `ValueError`, changing nothing, where it is damaged, of another configuration, or knows labels of more
        than a day after the shard's clock: learning would wait until the clock had come there.
        """
        made = load(data, self._learner, self._identity)
        hour_ms = self._clock.hour_ms
        if hour_ms is not None and made.boundary_ms > hour_ms + DAY_MS:
            raise ValueError(f"{WHAT} is of {rfc3339(made.boundary_ms)}, and this shard has come to {rfc3339(hour_ms)}")
        self._published.publish(made)
        self._published.pin(None)
        self._clock.pending_ms, self._pending = None, None  # what is being learned is of what was published before
        return self.version

    def pin(self, data: bytes) -> str:
        """Serve exactly this snapshot until `follow`; learning goes on behind it. Returns its version.

        Raises `ValueError`, changing nothing, where it is damaged or of another configuration.
        """
        self._published.pin(load(data, self._learner, self._identity))
        return self.version

    def follow(self) -> None:
        """Serve what has been learned, and what will be."""
        self._published.pin(None)

    def untold(self) -> list[bytes]:
        """Snapshots, as bytes, that were published or found in the state since the last call: for the archive."""
        return self._published.untold()

    def conclude(self) -> Snapshot | None:
        """Learn all that is known now, as at the next boundary of a day: for the end of a history. What serves then."""
        if self._clock.hour_ms is not None:
            end_ms = (self._clock.hour_ms // DAY_MS + 1) * DAY_MS
            self.advance(end_ms)
            self.advance(end_ms + self._settings.adopt_after_ms)
        return self.snapshot

    def reasons(self, row: Matrix, plain: float, labelled: float) -> FraudReasons:
        """What moved the margin of one payment: `score`'s arguments for it, `row` float32 `(inputs,)`.

        Raises `ValueError` before the model is ready.
        """
        if self.snapshot is None:
            raise ValueError("the fraud model gives no reasons before it gives scores")
        parts = self.snapshot.predictor.parts(row)
        evidence = bounded(np.array([plain, labelled]))
        weights = self._settings.plain_weight, self._settings.labelled_weight
        return FraudReasons(parts.base, parts.inputs, float(weights[0] * evidence[0]), float(weights[1] * evidence[1]))

    def ops(self) -> list[bytes]:
        """State operations for what changed since the last call: keys of the shard's head under `hfraud/`."""
        return [*self._rows.ops(), *self._storage.ops(self._clock)]

    def restore(self, head: Mapping[bytes, bytes]) -> None:
        """Go on where the stored state ends; for a model that has done nothing yet.

        A stored snapshot that is damaged is put aside and the one before it serves; see `problems`. What was learned
        under other inputs or settings is of no use: it is deleted with the next `ops`.
        """
        stored = self._storage.restore(head, self._clock, self._rank)
        if not stored:
            return
        self._storage.problems += self._rows.restore(head)
        read = partial(load, learner=self._learner, identity=self._identity)
        self._published.restore(head, read)
        pending_ms = self._clock.pending_ms
        if pending_ms is not None:
            fresh = self._rows.since(self._clock.before_ms, pending_ms)
            daily = pending_ms // DAY_MS > self._clock.before_ms // DAY_MS
            self._hand_in(fresh, self._rows.close(pending_ms) if daily else None, pending_ms)

    def forget(self) -> list[bytes]:
        """State operations that delete all that is stored for this model: another one begins."""
        return [*self._rows.forget(), *self._storage.forget()]
