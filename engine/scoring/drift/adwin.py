"""ADWIN over blocks: a window over sums that grows while their mean holds and drops its oldest part when it does not.

ADWIN (Bifet and Gavaldà 2007) keeps a stream's newest values in a window, as an exponential histogram. Wherever the
window can be cut so that both parts differ in mean by more than chance explains, what is older than the clearest cut
goes (the paper drops the oldest bucket only, and would tell of one change again and again). What is added here is a
*block*: the sum of many values, say a day's. Values within a day are far from independent (hours differ, a stolen card
is used ten times), so variance is measured between blocks, not within, and a busy day counts by its values. With blocks
of one value changes are found where river's implementation finds them (tests/scoring/test_drift_adwin.py).
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PER_ROW: Final = 5
"""Buckets of one size before the two oldest are merged; more are finer cuts and more memory."""
_SIZES_MAX: Final = 64
"""Sizes of buckets: the last would hold 2**63 blocks."""


class Cut(NamedTuple):
    """Where the window was cut: mean of the older part, which is gone, and of the newer."""

    before: float
    after: float


class _Bucket(NamedTuple):
    """Merged blocks: how many, their values, the sum of those, and the sum over blocks of total squared by values."""

    blocks: float
    values: float
    total: float
    squares: float

    def plus(self, other: "_Bucket") -> "_Bucket":
        return _Bucket(*(mine + its for mine, its in zip(self, other, strict=True)))

    def minus(self, other: "_Bucket") -> "_Bucket":
        return _Bucket(*(mine - its for mine, its in zip(self, other, strict=True)))


_NOTHING: Final = _Bucket(0.0, 0.0, 0.0, 0.0)


class Adwin:
    """See the module.

    Args:
        delta: chance of a false cut, over the life of a window; smaller is quieter and slower.
        blocks_min: blocks that either part of a cut needs.
        grace: blocks the window needs before it is looked at.
        within: take the variance within the parts of a cut, not that of the window, to which the change itself adds:
            finds changes in few blocks, and is less cautious.
    """

    def __init__(self, delta: float = 0.002, blocks_min: int = 5, grace: int = 10, *, within: bool = False) -> None:
        self._delta = delta
        self._least = blocks_min
        self._grace = grace
        self._within = within
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._rows: list[list[_Bucket]] = []  # row i: buckets of 2**i blocks, oldest first

    @property
    def blocks(self) -> int:
        """Blocks in the window."""
        return int(self._sum().blocks)

    @property
    def count(self) -> float:
        """Values in the window."""
        return self._sum().values

    @property
    def mean(self) -> float:
        """Mean of the values in the window, NaN of none."""
        whole = self._sum()
        return whole.total / whole.values if whole.values else math.nan

    def add(self, count: float, total: float) -> Cut | None:
        """Take in a block of `count` values from 0 to 1 that sum to `total`. Returns the cut it leads to, if any.

        A block without values, or whose sum is not finite, is left out.
        """
        if not (count > 0.0 and math.isfinite(total)):
            return None
        self._insert(_Bucket(1.0, count, total, total * total / count))
        found = None
        while (cut := self._cut()) is not None:
            found = cut if found is None else Cut(found.before, cut.after)
        return found

    def dump(self) -> NDArray[np.float64]:
        """The state: a row a bucket, `(buckets, 5)`: its place among the sizes, then what it holds."""
        rows = [[float(place), *bucket] for place, row in enumerate(self._rows) for bucket in row]
        return np.array(rows, np.float64).reshape(len(rows), 1 + len(_NOTHING))

    def load(self, state: NDArray[np.float64]) -> None:
        """Go on from what `dump` gave. Raises `ValueError`, and changes nothing, where it is none."""
        places = state[:, 0] if state.ndim == 2 and state.shape[1] == 1 + len(_NOTHING) else np.array([math.nan])
        if not (np.isfinite(state).all() and np.isin(places, np.arange(_SIZES_MAX)).all()):
            raise ValueError("the window of a drift detector is damaged")
        rows: list[list[_Bucket]] = [[] for _ in range(int(places.max()) + 1 if len(places) else 0)]
        for place, bucket in zip(places.tolist(), state[:, 1:].tolist(), strict=True):
            rows[int(place)].append(_Bucket(*bucket))
        self._rows = rows

    def _sum(self) -> _Bucket:
        whole = _NOTHING
        for row in reversed(self._rows):
            for bucket in row:
                whole = whole.plus(bucket)
        return whole

    def _insert(self, bucket: _Bucket) -> None:
        place = 0
        while True:
            if place == len(self._rows):
                self._rows.append([])
            row = self._rows[place]
            row.append(bucket)
            if len(row) <= PER_ROW:
                return
            bucket = row.pop(0).plus(row.pop(0))
            place += 1

    def _cut(self) -> Cut | None:
        """Drop what is older than the clearest cut; None where the window cannot be cut."""
        whole = self._sum()
        if whole.blocks <= self._grace:
            return None
        older, clearest, found = _NOTHING, 1.0, None
        for place, bucket in enumerate(bucket for row in reversed(self._rows) for bucket in row):
            older = older.plus(bucket)
            newer = whole.minus(older)
            if min(older.blocks, newer.blocks) < self._least:
                continue
            cut = Cut(older.total / older.values, newer.total / newer.values)
            clear = abs(cut.before - cut.after) / self._bound(whole, older, newer)
            if clear > clearest:
                clearest, found = clear, (place + 1, cut)
        if found is None:
            return None
        self._drop(found[0])
        return found[1]

    def _drop(self, buckets: int) -> None:
        """Forget the oldest buckets."""
        for row in reversed(self._rows):
            here = min(buckets, len(row))
            del row[:here]
            buckets -= here
        while self._rows and not self._rows[-1]:
            self._rows.pop()

    def _bound(self, whole: _Bucket, older: _Bucket, newer: _Bucket) -> float:
        """What chance explains of the difference in means (theorem 3.2 of the paper, with the variance of blocks)."""
        parts = (older, newer) if self._within else (whole,)
        apart = sum(max(part.squares - part.total * part.total / part.values, 0.0) for part in parts)
        spread = apart / (whole.blocks - 2.0 if self._within else whole.blocks)
        inverse = sum(part.blocks / (part.values * (part.blocks - self._least + 1.0)) for part in (older, newer))
        chance = math.log(2.0 * math.log(whole.blocks) / self._delta)
        return math.sqrt(2.0 * inverse * spread * chance) + 2.0 / 3.0 * chance * inverse
