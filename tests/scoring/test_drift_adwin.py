"""ADWIN over blocks: against a window kept in full, and against river's implementation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from engine.scoring.drift import adwin
from engine.scoring.drift.adwin import Adwin, Cut

Blocks = list[tuple[float, float]]


def squares(counts: np.ndarray, totals: np.ndarray) -> float:
    return float((counts * (totals / counts - totals.sum() / counts.sum()) ** 2).sum())


class Naive:
    """All blocks of the window one by one, every cut tried."""

    def __init__(self, delta: float, least: int, grace: int, within: bool) -> None:
        self.window: Blocks = []
        self.delta, self.least, self.grace, self.within = delta, least, grace, within

    def add(self, count: float, total: float) -> Cut | None:
        self.window.append((count, total))
        found = None
        while True:
            cut = self.cut()
            if cut is None:
                return found
            found = cut if found is None else Cut(found.before, cut.after)

    def cut(self) -> Cut | None:
        n = len(self.window)
        if n <= self.grace:
            return None
        counts, totals = np.array(self.window).T
        whole = squares(counts, totals) / n
        chance = math.log(2 * math.log(n) / self.delta)
        best, place = 1.0, 0
        for k in range(self.least, n - self.least + 1):
            means = totals[:k].sum() / counts[:k].sum(), totals[k:].sum() / counts[k:].sum()
            inverse = k / counts[:k].sum() / (k - self.least + 1) + (n - k) / counts[k:].sum() / (
                n - k - self.least + 1
            )
            parts = squares(counts[:k], totals[:k]) + squares(counts[k:], totals[k:])
            variance = parts / (n - 2) if self.within else whole
            bound = math.sqrt(2 * inverse * variance * chance) + 2 / 3 * chance * inverse
            if abs(means[0] - means[1]) / bound > best:
                best, place, found = abs(means[0] - means[1]) / bound, k, Cut(*means)
        if not place:
            return None
        self.window = self.window[place:]
        return found


@st.composite
def streams(draw: st.DrawFn) -> Blocks:
    """Blocks whose mean changes once or not, busy and quiet days."""
    seed, change = draw(st.integers(0, 10_000)), draw(st.integers(0, 60))
    low, high = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    random = np.random.default_rng(seed)
    counts = random.integers(1, 500, 60)
    means = np.clip(np.where(np.arange(60) < change, low, high) + random.normal(0, 0.05, 60), 0, 1)
    return [(float(n), float(n * mean)) for n, mean in zip(counts, means, strict=True)]


@settings(max_examples=30, deadline=None)
@given(streams(), st.integers(1, 4), st.booleans())
def test_equals_a_window_kept_in_full(stream: Blocks, least: int, within: bool) -> None:
    mine, naive = Adwin(0.002, least, 8, within=within), Naive(0.002, least, 8, within)
    kept, adwin.PER_ROW = adwin.PER_ROW, 1_000  # nothing is merged
    try:
        for count, total in stream:
            found, expected = mine.add(count, total), naive.add(count, total)
            assert (found is None) == (expected is None)
            assert found is None or found == pytest.approx(expected)
            assert mine.blocks == len(naive.window)
            assert mine.mean == pytest.approx(sum(t for _, t in naive.window) / sum(n for n, _ in naive.window))
    finally:
        adwin.PER_ROW = kept


@pytest.mark.parametrize("change", [None, 0.15, 0.3])
def test_finds_changes_where_river_does(change: float | None) -> None:
    random = np.random.default_rng(5)
    values = (random.random(1_200) < 0.3).astype(float)
    if change is not None:
        values[600:] = random.random(600) < 0.3 + change
    mine, its = Adwin(), ADWIN(delta=0.002, clock=1)
    first: list[int | None] = [None, None]
    for place, value in enumerate(values.tolist()):
        its.update(value)
        for which, hit in enumerate((mine.add(1.0, value) is not None, its.drift_detected)):
            first[which] = place if hit and first[which] is None else first[which]
    if change is None:
        assert first == [None, None]
    else:
        assert first[0] is not None and first[1] is not None
        assert abs(first[0] - first[1]) <= 16
        assert abs(mine.mean - (0.3 + change)) < 0.05


def test_old_blocks_are_merged_and_the_sums_stay() -> None:
    random = np.random.default_rng(1)
    window = Adwin()
    values = random.random(1_000) * 0.5
    for value in values.tolist():
        window.add(1.0, value)
    assert len(window.dump()) <= adwin.PER_ROW * 12
    assert window.blocks == window.count == 1_000
    assert window.mean == pytest.approx(values.mean())


def test_goes_on_from_what_was_dumped() -> None:
    random = np.random.default_rng(2)
    blocks = [(float(n), float(n) * mean) for n, mean in zip(random.integers(1, 90, 200), random.random(200) / 2)]
    whole, parted = Adwin(), Adwin()
    for place, block in enumerate(blocks):
        assert whole.add(*block) == parted.add(*block)
        if place % 7 == 0:
            parted, state = Adwin(), parted.dump()
            parted.load(state)
    np.testing.assert_array_equal(whole.dump(), parted.dump())


@pytest.mark.parametrize("state", [np.zeros((1, 4)), np.full((1, 5), np.nan), np.full((1, 5), 0.5), np.full(5, 1.0)])
def test_refuses_another_state(state: np.ndarray) -> None:
    window = Adwin()
    window.add(1.0, 0.5)
    with pytest.raises(ValueError, match="damaged"):
        window.load(state)
    assert window.blocks == 1


def test_blocks_without_values_are_left_out() -> None:
    window = Adwin()
    for count, total in ((0.0, 0.0), (3.0, math.nan), (3.0, math.inf)):
        assert window.add(count, total) is None
    assert window.blocks == 0 and math.isnan(window.mean)
