"""The drift monitor of a shard: fed with what is scored and what is learned, asked at each full hour.

It looks at four subjects: how the inputs of the models are distributed, the mean fraud score, the share of frauds among
labels that arrive, and how the frauds among them had been scored. A day that ends (UTC, by the clock of the labels) is
compared with the weeks before; there is at most one alarm a subject and day. What it says depends on the sequence of
payments and labels only, never on how they are cut into batches.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.domain.times import DAY_MS
from engine.scoring import blob
from engine.scoring.drift import texts
from engine.scoring.drift.alarm import LABELS, SCORE, SKILL, DriftAlarm
from engine.scoring.drift.histogram import BINS, medians
from engine.scoring.drift.inputs import InputWatch
from engine.scoring.drift.means import Means, Shift, losses
from engine.scoring.drift.sample import Sample
from engine.scoring.drift.settings import DriftSettings
from engine.scoring.rows import LabelledRows

HEAD_PAST: Final = KEY_HEAD + b"drift/past"  # all that closed days left behind; rewritten once a day
HEAD_ROWS: Final = KEY_HEAD + b"drift/rows"  # inputs counted since, appended to
HEAD_TODAY: Final = KEY_HEAD + b"drift/today"  # sums since, a few numbers

MAGIC: Final = b"DRF1"
_WHAT: Final = "state of the drift monitor"
_UNSET: Final = -1
Floats = NDArray[np.float64]


class DriftMonitor:
    """See the module.

    Args:
        inputs: names of the inputs, in the order of the columns that `observe` takes.
        settings: see `DriftSettings`.
        whole: which inputs are whole numbers or conditions, for how figures are shown; none unless told.
        backed: a state store stands behind; without one `ops` gives nothing.
        replaces: the head holds the state of an earlier monitor, which is to go.

    Attributes:
        problems: what could not be read at `restore`, in words.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        settings: DriftSettings | None = None,
        *,
        whole: Sequence[bool] = (),
        backed: bool = True,
        replaces: bool = False,
    ) -> None:
        self._settings = settings or DriftSettings()
        self._names = tuple(inputs)
        self._digest = blob.checksum("\n".join(self._names).encode()).hex()
        self._whole = np.array(whole or [False] * len(self._names), np.bool_)
        self._backed = backed
        self._replaces = replaces
        self.problems: list[str] = []
        self._begin()

    def _begin(self) -> None:
        """Nothing has been seen."""
        settings = self._settings
        self._sample = Sample(len(self._names), settings.sample_max)
        self._inputs = InputWatch(len(self._names), settings)
        self._means = {subject: Means(subject, settings) for subject in (SCORE, LABELS, SKILL)}
        self._day = _UNSET  # the day since 1970 that is being filled
        self._usual: Floats | None = None
        self._kept: list[bytes] = []  # rows counted since the last `ops`
        self._closed = False  # a block has ended since then
        self._today = b""  # as it was stored last

    def observe(self, x: NDArray[np.float32], score: Floats) -> None:
        """Take in scored payments, in order: inputs float32 `(n, inputs)`; fraud scores `(n,)`, NaN where not ready."""
        kept = self._sample.add(x)
        if kept and self._backed:
            self._kept.append(kept)
        self._means[SCORE].add(score)

    def labels(self, rows: LabelledRows) -> None:
        """Take in labelled payments, in the order in which their labels arrived."""
        kept = rows.take(np.flatnonzero(rows.share != 0.0))
        weights = np.maximum(np.rint(kept.weight), 1.0).astype(np.int64)
        self._means[LABELS].add(np.repeat(kept.fraud.astype(np.float64), weights))
        self._means[SKILL].add(losses(kept.margin[kept.fraud == 1].astype(np.float64)))

    def hour(self, hour_ms: int) -> list[DriftAlarm]:
        """The clock has come to a full hour, nothing of which was taken in. Returns the alarms of a day that ended.

        A day with too few payments is joined to the next.
        """
        day = hour_ms // DAY_MS
        if self._day == _UNSET:
            self._day = day
        if day <= self._day:
            return []
        self._day = day
        if self._sample.seen < self._settings.payments_min:
            return []
        return self._close(day * DAY_MS)

    def _close(self, at_ms: int) -> list[DriftAlarm]:
        sample = self._sample
        drifted = self._inputs.close(sample.counts, float(sample.counted))
        sample.begin(sample.seen)
        self._kept.clear()
        self._closed, self._usual = True, None
        moved = texts.most_moved(self._names, self._inputs)
        alarms = []
        if drifted is not None:
            size, places = drifted
            alarms.append(texts.of_inputs(self._names, self._inputs, places, size, at_ms))
        for subject in (SCORE, LABELS, SKILL):
            shift: Shift | None = self._means[subject].close()
            if shift is not None:
                alarms.append(texts.of_shift(shift, moved, at_ms))
        return alarms

    def usual(self) -> Floats:
        """The median of each input over the weeks before today, `(inputs,)`; NaN where unknown or mostly missing."""
        if self._usual is None:
            self._usual = medians(self._inputs.reference(), self._whole)
        return self._usual

    def ops(self) -> list[bytes]:
        """State operations for what changed since the last call."""
        if not self._backed:
            return []
        packed: list[bytes] = []
        if self._closed or self._replaces:
            packed = [pack(Op(SET, HEAD_PAST, self.dump())), pack(Op(DELETE, HEAD_ROWS, b""))]
        if self._kept:
            packed.append(pack(Op(APPEND, HEAD_ROWS, b"".join(self._kept))))
        sums = [number for mean in self._means.values() for number in (mean.count, mean.total)]
        today = blob.write(MAGIC, [np.array([self._day, *self._sample.state(), *sums], np.int64)])
        if today != self._today:
            packed.append(pack(Op(SET, HEAD_TODAY, today)))
        self._kept.clear()
        self._closed = self._replaces = False
        self._today = today
        return packed

    def restore(self, head: Mapping[bytes, bytes]) -> None:
        """Go on from stored state. Where it is damaged or of other inputs, the monitor begins anew, see `problems`."""
        try:
            if HEAD_PAST in head:
                self.load(head[HEAD_PAST])
            if HEAD_TODAY in head:
                self._restore_today(head[HEAD_TODAY], head.get(HEAD_ROWS, b""))
        except ValueError as error:
            self._begin()
            self._replaces = True
            self.problems.append(str(error))

    def _restore_today(self, today: bytes, rows: bytes) -> None:
        numbers = blob.expect(blob.read(MAGIC, today, _WHAT)[0], "<i8", (5 + 2 * len(self._means),), _WHAT).tolist()
        self._sample.replay(rows, numbers[1:5])
        for mean, count, total in zip(self._means.values(), numbers[5::2], numbers[6::2], strict=True):
            mean.count, mean.total = count, total
        self._day, self._today = numbers[0], today

    def dump(self) -> bytes:
        """What closed days left behind, with a checksum and a digest of the names of the inputs."""
        windows = [mean.window.dump() for mean in self._means.values()]
        return blob.write(MAGIC, [blob.text(self._digest), *self._inputs.dump(), *windows])

    def load(self, data: bytes) -> None:
        """Replace what closed days left behind. Raises `ValueError`, and changes nothing, where `data` is damaged or of
        other inputs."""
        arrays = blob.read(MAGIC, data, _WHAT)
        if len(arrays) != 4 + len(self._means) or arrays[0].tobytes().decode() != self._digest:
            raise ValueError(f"{_WHAT} is of other inputs, or of another version")
        n = len(self._names)
        shapes = ((3,), (n, BINS), (-1, n), *((-1, 5) for _ in self._means))
        held = [blob.expect(array, "<f8", shape, _WHAT) for array, shape in zip(arrays[1:], shapes, strict=True)]
        means = {subject: Means(subject, self._settings) for subject in self._means}
        for mean, window in zip(means.values(), held[3:], strict=True):
            mean.window.load(window)
        inputs = InputWatch(n, self._settings)
        inputs.load(*held[:3])
        self._means, self._inputs, self._usual = means, inputs, None


def forget() -> list[bytes]:
    """State operations where no monitor is left."""
    return [pack(Op(DELETE, key, b"")) for key in (HEAD_PAST, HEAD_ROWS, HEAD_TODAY)]
