"""Bins, distances and samples of the drift monitor, against the plain values."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.drift.histogram import BINS, EDGES, MISSING, ZERO, apart, encode, medians, moved, shares
from engine.scoring.drift.sample import Sample

VALUES = st.one_of(
    st.floats(width=32), st.integers(-1_000, 100_000).map(float), st.sampled_from([0.0, -0.0, 1e-9, -1e-9])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=50))
def test_bins_are_in_the_order_of_the_values(values: list[float]) -> None:
    x = np.array(values, np.float32)
    codes = encode(x.reshape(-1, 1))[:, 0].astype(int)
    assert ((codes == MISSING) == np.isnan(x)).all()
    there = ~np.isnan(x)
    order = np.argsort(x[there], kind="stable")
    assert (np.diff(codes[there][order]) >= 0).all()
    for value, code in zip(x[there].tolist(), codes[there].tolist(), strict=True):
        if abs(value) < 2.0**-10:
            assert code == ZERO
        elif abs(value) < 2.0**24:
            assert value >= EDGES[code] and (code + 1 == BINS or value <= EDGES[code + 1] or code + 1 == ZERO)


def test_small_whole_numbers_have_bins_of_their_own() -> None:
    x = np.arange(9, dtype=np.float32).reshape(-1, 1)
    assert EDGES[encode(x)[:, 0]].tolist() == list(range(9))


def counted(values: np.ndarray) -> np.ndarray:
    codes = encode(np.asarray(values, np.float32).reshape(-1, 1))[:, 0]
    return shares(np.bincount(codes, minlength=BINS).astype(float).reshape(1, -1))


def test_distance_is_that_of_the_plain_values() -> None:
    random = np.random.default_rng(3)
    before, after = random.integers(0, 9, 3_000), random.integers(2, 12, 2_000)
    expected = 0.0
    for edge in range(8):  # whole numbers up to 8 are bins
        low, high = (before <= edge).mean(), (after <= edge).mean()
        middle = (low + high) / 2
        expected = max(expected, abs(low - high) / np.sqrt(max(middle * (1 - middle), 10 / 2_000)))
    found = moved(counted(before)[0], counted(after)[0], 2_000)
    assert found.distance == pytest.approx(expected)
    assert found.before == pytest.approx((before > EDGES[found.code]).mean())
    assert found.after == pytest.approx((after > EDGES[found.code]).mean())
    assert apart(counted(before), counted(before), 2_000).max() == 0.0


def test_medians() -> None:
    random = np.random.default_rng(4)
    table = np.concatenate(
        [counted(v) for v in (random.integers(0, 9, 999), random.lognormal(3, 1, 999), np.full(9, np.nan), np.zeros(3))]
    )
    found = medians(table, np.array([True, False, False, False]))
    assert found[0] == 4.0
    assert found[1] == pytest.approx(np.exp(3), rel=0.2)
    assert np.isnan(found[2]) and found[3] == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(1, 40), st.integers(0, 300), st.lists(st.integers(0, 400), max_size=5))
def test_a_sample_is_the_same_however_it_is_cut(n: int, rows_max: int, before: int, cuts: list[int]) -> None:
    x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    whole, parted, again = (Sample(3, rows_max) for _ in range(3))
    for sample in (whole, parted, again):
        sample.begin(before)
    kept = whole.add(x)
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    pieces = [parted.add(x[start:end]) for start, end in pairwise(edges)]
    assert b"".join(pieces) == kept
    again.replay(kept, whole.state())
    for other in (parted, again):
        assert other.state() == whole.state()
        np.testing.assert_array_equal(other.counts, whole.counts)
    assert whole.seen == n
    steps = max(1, n).bit_length()
    assert whole.counted <= rows_max * steps


def test_a_busy_day_is_drawn_evenly() -> None:
    random = np.random.default_rng(6)
    sample = Sample(1, 500)
    sample.begin(40_000)
    sample.add(random.normal(size=(40_000, 1)).astype(np.float32))
    assert 250 <= sample.counted <= 500
    assert sample.counts.sum() == pytest.approx(40_000, rel=0.01)
    assert sample.counts[0, ZERO:].sum() / sample.counts.sum() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kept", [b"\x00" * 7, b"\x00\xff\x00\x00", b"\x09\x00\x00\x00"])
def test_a_damaged_sample_is_refused(kept: bytes) -> None:
    sample = Sample(3, 10)
    with pytest.raises(ValueError):
        sample.replay(kept, [1, 1, 1, 0])
