"""Tail surprise: how far out in its upper tail each input lies, added up with weight on the few that are far out."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring import blob
from engine.scoring import tails_kernel as kernel

MAGIC: Final = b"TLS1"
INPUTS_MAX: Final = 256
MEMORY_MAX: Final = 10_000_000
EVIDENCE_LOW, EVIDENCE_HIGH = -3.0, 5.0
EVIDENCE_AT: Final = 0.01  # the share of payments at which the evidence is nil
ORDINARY_AT: Final = 0.02  # a payment among the most unusual of this share is not wholly ordinary
SCORE_STEP: Final = 1e-6

Floats = NDArray[np.float64]


class TailSurprise:
    """Tail surprise: each input against its own fading histogram.

    For each input a histogram of everything seen, fading by event count, gives `p`, the share of events at or above the
    value; the event's surprise is the sum over inputs of `(-ln p) ** 3`. The cube keeps many mildly unusual inputs from
    outweighing one that is far out. The same structure ranks the surprise among recent ones: the score is one less its
    tail share, so that a threshold of 0.99 alerts on one event in a hundred, through drift.

    Bins are those of the float32 itself, eight to an octave from 2**-16 to 2**16: no range is fitted, nothing is
    scaled, and a shifted population is followed as the histogram fades.

    Caveats: an input must be declared so that more is worse, and inputs should say different things, as each adds its
    part; what is unusual only in combination is not seen. A missing, negative or tiny value lies in the lowest bin,
    which is no surprise; an infinite one in the highest. There is no score for the first 256 events.

    Parameters
    ----------
    inputs
        Number of input features.
    memory
        Events after which one counts a third.

    Examples
    --------
    >>> import numpy as np
    >>> model = TailSurprise(inputs=2, memory=5_000)
    >>> usual = np.random.default_rng(1).lognormal(size=(2, 2_000))
    >>> scores = model.score_then_learn(usual)
    >>> print(np.isnan(scores).sum(), f"{np.mean(scores[1_000:] > 0.9):.2f}")
    256 0.12
    >>> print(model.score_then_learn(np.array([[1.0, 100.0], [1.0, 1.0]])).round(3))
    [0.414 1.   ]

    References
    ----------
    Li, Z., Zhao, Y., Hu, X., Botta, N., Ionescu, C. and Chen, G., 2022. ECOD: unsupervised outlier detection using
    empirical cumulative distribution functions. IEEE Transactions on Knowledge and Data Engineering.
    Goldstein, M. and Dengel, A., 2012. Histogram-based outlier score (HBOS). KI-2012, poster and demo track.
    """

    def __init__(self, inputs: int, memory: int = 50_000) -> None:
        """Raises `ValueError` where a parameter is out of its range."""
        given: tuple[tuple[str, object, int], ...] = (("inputs", inputs, INPUTS_MAX), ("memory", memory, MEMORY_MAX))
        for name, value, highest in given:
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
                raise ValueError(f"{name} must be a whole number from 1 to {highest}, not {value!r}")
        self._inputs, self._memory = inputs, memory
        self._fade = 1.0 + 1.0 / memory
        self._tables = [np.zeros((rows, kernel.BINS)) for rows in (inputs, inputs, 1, 1)]
        self._clock = np.array([0.0, 1.0])

    @property
    def inputs(self) -> int:
        """How many input features it takes."""
        return self._inputs

    @property
    def ready(self) -> bool:
        """Whether the first 256 events have been learned."""
        return bool(self._clock[kernel.EVENTS] >= kernel.REFRESH)

    @property
    def version(self) -> str:
        """The configuration, such as `tails1-m50000-i8`: scores of the same version can be compared."""
        return f"tails1-m{self._memory}-i{self._inputs}"

    def score_then_learn(self, x: Floats) -> Floats:
        """Score each event, then count it, in order.

        Takes float64 `(inputs, n)` of any range; returns float64 `(n,)` in [0, 1), NaN for the first 256 events.
        Raises `ValueError` on any other shape.
        """
        if x.ndim != 2 or len(x) != self._inputs:
            raise ValueError(f"inputs of shape {x.shape}; ({self._inputs}, n) expected")
        with np.errstate(over="ignore"):  # beyond the range of a float32: infinite, in the highest bin
            rows = np.ascontiguousarray(x.T, np.float32)
        mass, surprise, rank_mass, rank_surprise = self._tables
        return kernel.score_then_learn(rows, mass, surprise, rank_mass, rank_surprise, self._clock, self._fade)

    def surprise(self, row: Floats) -> Floats:
        """What each input adds to the surprise of an event, float64 `(inputs,)`, by what has been learned up to now."""
        bits = np.asarray(row, np.float32).view(np.int32)
        table = self._tables[1]
        return np.array([table[f, kernel.bin_of(int(word))] for f, word in enumerate(bits)])

    def dump(self) -> bytes:
        """The masses, the sums in force and the clock: 4 KB an input, fewer where they are packed."""
        return blob.write(MAGIC, [blob.text(self.version), self._clock, *self._tables])

    def load(self, data: bytes) -> None:
        """Replace the state by a dumped one.

        Raises `ValueError`, and changes nothing, where `data` is damaged or from other parameters.
        """
        what = "detector state"
        arrays = blob.read(MAGIC, data, what)
        if len(arrays) != 2 + len(self._tables) or arrays[0].tobytes() != self.version.encode():
            raise ValueError(f"{what} belongs to another configuration than {self.version}")
        clock = blob.expect(arrays[1], "<f8", (2,), what)
        tables = [blob.expect(array, "<f8", mine.shape, what) for array, mine in zip(arrays[2:], self._tables)]
        if not all(np.isfinite(array).all() and (array >= 0.0).all() for array in (clock, *tables)):
            raise ValueError(f"{what} is inconsistent: it has masses that are no numbers")
        self._clock, self._tables = clock.copy(), [table.copy() for table in tables]


def evidence(score: Floats) -> Floats:
    """An anomaly score as evidence for the fraud model: log odds against one in a hundred, from -3 to 5.

    Takes and returns float64 `(n,)`; NaN (not ready) stays NaN, which counts as no evidence.
    """
    odds: Floats = np.clip(np.log(EVIDENCE_AT / np.maximum(1.0 - score, SCORE_STEP)), EVIDENCE_LOW, EVIDENCE_HIGH)
    return odds


def bounded(given: Floats) -> Floats:
    """Evidence as it may enter a margin: within its bounds, 0 where there is none (NaN)."""
    inside: Floats = np.where(np.isnan(given), 0.0, np.clip(given, EVIDENCE_LOW, EVIDENCE_HIGH))
    return inside


def ordinary(score: Floats) -> Floats:
    """How ordinary payments looked to the label-free detector, in [0, 1]: 1 for 98 in a hundred; NaN (not ready) is 1.

    A fraud that was ordinary for its customer says something about where it happened: `unexplained_frauds`.
    """
    how: Floats = np.where(np.isnan(score), 1.0, np.clip((1.0 - score) / ORDINARY_AT, 0.0, 1.0))
    return how
