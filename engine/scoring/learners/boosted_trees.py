"""Boosted trees at three memories in a hedge: the learner shipped as the default."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import DAY_MS
from engine.scoring import blob
from engine.scoring.draw import draw
from engine.scoring.learners import hedge
from engine.scoring.learners.base import Parts, Predictor, Task
from engine.scoring.learners.gbdt import Forest, Growth, add_parts, add_scores, arrays_of, forest_of, train
from engine.scoring.packing import unpack_inputs
from engine.scoring.rows import LabelledRows

MAGIC: Final = b"BTM1"
FRAUDS_MIN: Final = 20  # a memory with fewer learns from all rows instead
KNOWN_MIN: Final = 1_000.0  # payments that have to become known before a memory is refitted
GROWTH_REFIT: Final = 1.5  # a memory that holds so many times what it was fitted to is refitted out of turn
SHRUNK_REFIT: Final = 0.5
"""A memory that holds less than this share of what it was fitted to is not refitted while that fit is still within the
memory's days: after a start from another history, or a gap in the stream, little would replace much."""

FLOOD_SHARE: Final = 0.5  # of the rows of a memory may be frauds; of more the newest
SHARE_MIN: Final = 0.001
ARRAYS_FIXED, ARRAYS_EACH = 2, 6  # of a blob


class Expert(NamedTuple):
    """One memory.

    Attributes:
        memory_days: rows that arrived within so many days are learned from.
        every_days: how often it is refitted.
        share_max: of the legitimate rows, at most.
        rows_max: frauds and legitimate rows together.
        growth: how its trees grow.
    """

    memory_days: int
    every_days: int
    share_max: float
    rows_max: int
    growth: Growth


EXPERTS: Final = (
    Expert(90, 7, 0.1, 60_000, Growth(trees=150, depth=5, rate=0.07)),
    Expert(28, 1, 0.2, 12_000, Growth(trees=80, depth=4, rate=0.10)),
    Expert(7, 1, 0.3, 6_000, Growth(trees=50, depth=4, rate=0.15)),
)


class Fitted(NamedTuple):
    """What an expert knows: its trees, when they were fitted, and how many payments its memory stood for then."""

    forest: Forest
    fitted_ms: int
    known: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """A predictor: the experts, their faded losses and the weights those make, and when all was brought up to date."""

    identity: str
    experts: tuple[Fitted, ...]
    losses: NDArray[np.float64]
    boundary_ms: int
    weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", hedge.weights(self.losses))

    def each(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log odds of each expert, float64 `(experts, n)`."""
        margins = np.empty((len(self.experts), len(x)))
        for k, (forest, _, _) in enumerate(self.experts):
            margins[k] = forest.base
            add_scores(x, forest.feature, forest.threshold, forest.value, margins[k])
        return margins

    def margins(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Predictor`."""
        margins = hedge.clip(self.each(x))
        total = np.zeros(len(x))
        for weight, margin in zip(self.weights, margins, strict=True):
            total += weight * margin  # one after another: a product of matrices adds up as it likes
        return total

    def parts(self, row: NDArray[np.float32]) -> Parts:
        """See `Predictor`. What the bounds of an expert cut off is in the base."""
        each = self.each(row.reshape(1, -1))[:, 0]
        parts = np.zeros(len(row))
        for weight, (forest, _, _) in zip(self.weights, self.experts, strict=True):
            add_parts(row, forest.feature, forest.threshold, forest.value, float(weight), parts)
        return Parts(float((self.weights * hedge.clip(each)).sum() - parts.sum()), parts)

    def dump(self) -> bytes:
        """See `Predictor`."""
        arrays = [blob.text(self.identity), np.array([*self.losses, self.boundary_ms])]
        for forest, fitted_ms, known in self.experts:
            arrays += [np.array([fitted_ms, known], np.float64), *arrays_of(forest)]
        return blob.write(MAGIC, arrays)


class BoostedTrees:
    """Gradient-boosted trees refitted in event time: one expert for the season, one for the month, one for the week.

    Each learns from all frauds of its memory and from legitimate rows drawn by the payment's id. At a boundary the
    experts are first judged on the rows that arrived since the last one, then those that are due are refitted. The
    margin is the mean of theirs, weighted by recent loss: in calm times the long memory leads, days after a change the
    short one.

    Caveats: the first days after a change have no labels of the new world yet, and no weights help there (the evidence
    of the anomaly scores does, see `FraudModel`). Refits cost by the day, not by the event. Trees do not extrapolate:
    beyond the largest amount learned every amount is alike.

    Parameters
    ----------
    inputs
        Number of inputs.
    seed
        Draws rows and columns. The same seed and rows give the same trees.
    experts
        The memories; the first is the longest.

    References
    ----------
    Friedman, J. H., 2001. Greedy function approximation: a gradient boosting machine. Annals of Statistics 29.
    Vovk, V., 1990. Aggregating strategies. Proceedings of the Third Annual Workshop on Computational Learning Theory.
    """

    def __init__(self, inputs: int, seed: int = 1, experts: tuple[Expert, ...] = EXPERTS) -> None:
        self.inputs = inputs
        self._experts = tuple(e._replace(growth=e.growth._replace(seed=seed)) for e in experts)
        self._seed = seed

    @property
    def code(self) -> str:
        """See `Learner`."""
        return "gbt1"

    @property
    def identity(self) -> str:
        """See `Learner`."""
        return f"{self.code} over {self.inputs}: {[(*e[:-1], *e.growth) for e in self._experts]}"

    @property
    def period_ms(self) -> int:
        """A day."""
        return DAY_MS

    @property
    def memory_days(self) -> int:
        """That of the longest expert."""
        return max(expert.memory_days for expert in self._experts)

    def share(self, volume: float) -> float:
        """As many as the most demanding memory can use."""
        return max(min(e.share_max, e.rows_max / e.memory_days / max(volume, 1.0)) for e in self._experts)

    def learn(self, before: Predictor | None, task: Task) -> Mixture:
        """Judge the experts on the fresh rows, then refit those that are due."""
        known = before if isinstance(before, Mixture) else None
        losses = np.zeros(len(self._experts)) if known is None else self._judged(known, task)
        fitted = tuple(
            self._refitted(expert, known.experts[k] if known is not None else None, task)
            for k, expert in enumerate(self._experts)
        )
        return Mixture(self.identity, fitted, losses, task.boundary_ms)

    def _judged(self, known: Mixture, task: Task) -> NDArray[np.float64]:
        losses = hedge.fade(known.losses, max(0, task.boundary_ms - known.boundary_ms) / DAY_MS)
        if not task.fresh.n:
            return losses
        margins = known.each(unpack_inputs(task.fresh.inputs))
        return losses + hedge.log_losses(margins, task.fresh.fraud.astype(np.float64), task.fresh.weight)

    def _refitted(self, expert: Expert, before: Fitted | None, task: Task) -> Fitted:
        """The expert after this boundary: as before, where it is not due."""
        rows = task.rows.take(task.rows.arrived_ms > task.boundary_ms - expert.memory_days * DAY_MS)
        if int(rows.fraud.sum()) < FRAUDS_MIN:
            rows = task.rows
        known = float(rows.weight.sum())
        if before is not None and not _due(expert, before, known, task):
            return before
        places, weight = choose(rows, expert, self._seed)
        chosen = rows.take(places)
        forest = train(unpack_inputs(chosen.inputs), chosen.fraud.astype(np.float64), weight, expert.growth)
        return Fitted(forest, task.boundary_ms, known)

    def load(self, data: bytes) -> Mixture:
        """See `Learner`."""
        what = "learner state"
        arrays = blob.read(MAGIC, data, what)
        if len(arrays) != ARRAYS_FIXED + ARRAYS_EACH * len(self._experts) or arrays[0].tobytes() != (
            self.identity.encode()
        ):
            raise ValueError(f"{what} belongs to another configuration than {self.identity}")
        last = blob.expect(arrays[1], "<f8", (len(self._experts) + 1,), what)
        fitted = []
        for k, expert in enumerate(self._experts):
            first = ARRAYS_FIXED + ARRAYS_EACH * k
            when = blob.expect(arrays[first], "<f8", (2,), what)
            forest = forest_of(arrays[first + 1 : first + ARRAYS_EACH], self.inputs, expert.growth, what)
            fitted.append(Fitted(forest, int(when[0]), float(when[1])))
        if not np.isfinite(last).all():
            raise ValueError(f"{what} has losses that are no numbers")
        return Mixture(self.identity, tuple(fitted), last[:-1], int(last[-1]))


def _due(expert: Expert, before: Fitted, known: float, task: Task) -> bool:
    """Whether enough time has passed, or the memory has grown much, since the last fit; never without fresh rows."""
    fresh = task.rows.take(task.rows.arrived_ms > before.fitted_ms)
    if float(fresh.weight.sum()) < KNOWN_MIN:
        return False
    if known >= GROWTH_REFIT * before.known:
        return True
    days = (task.boundary_ms - before.fitted_ms) / DAY_MS
    shrunk = known < SHRUNK_REFIT * before.known
    return days >= (expert.memory_days if shrunk else expert.every_days)


def choose(rows: LabelledRows, expert: Expert, seed: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which rows an expert learns from, and their weights: a legitimate row stands for all that were not drawn.

    The rows were drawn before, by the same numbers: those that are left are the ones with the smallest.
    """
    fraud = rows.fraud == 1
    frauds, frauds_max = int(fraud.sum()), int(FLOOD_SHARE * expert.rows_max)
    if frauds > frauds_max:
        fraud[np.flatnonzero(fraud)[: frauds - frauds_max]] = False
        frauds = frauds_max
    legitimate = rows.fraud == 0
    stand_for = float(rows.weight[legitimate].sum())
    share = min(expert.share_max, max((expert.rows_max - frauds) / max(stand_for, 1.0), SHARE_MIN))
    control = legitimate & (rows.share < 0.0)
    places = np.flatnonzero(fraud | control | (legitimate & (draw(rows.payments, seed) < share)))
    whole = (rows.fraud == 1) | control
    weight = np.where(whole[places], rows.weight[places], np.maximum(rows.weight[places], 1.0 / share))
    return places, weight
