"""Where a margin stands among recent ones: against exact fading shares, and the same however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.scoring.calibration import IDENTITY
from engine.scoring.held import correct
from engine.scoring.rank import REFRESH, WIDTH, Rank

MEMORY = 2_000


def stream(n: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(-5.0, 2.0, n)


def test_shares_are_those_of_the_margins_before_corrected() -> None:
    margins = stream(3_000)
    fade = 1.0 + 1.0 / MEMORY
    rank = Rank(MEMORY)
    for i in range(len(margins)):
        held = rank.held.copy()
        (share,), _ = rank.places(margins[i : i + 1])
        known = i - i % REFRESH
        if not known:
            assert np.isnan(share)
        elif i % 97 == 0:
            weight = fade ** np.arange(known)
            low, high = (
                (weight[margins[:known] >= at].sum() + weight[-1]) / (weight.sum() + weight[-1])
                for at in (margins[i] + WIDTH, margins[i] - WIDTH)
            )
            assert correct(low, held) - 1e-9 <= share <= correct(high, held) + 1e-9


@given(sizes=st.lists(st.integers(0, 700), max_size=6))
@settings(max_examples=20, deadline=None)
def test_batches_and_recounting_change_nothing(sizes: list[int]) -> None:
    margins = stream(2_000)
    whole, parts, again = Rank(MEMORY), Rank(MEMORY), Rank(MEMORY)
    expected = whole.finish(margins, IDENTITY)
    found, start = [], 0
    for size in [*sizes, len(margins)]:
        found.append(parts.finish(margins[start : start + size], IDENTITY))
        start += size
    for k in range(3):
        np.testing.assert_array_equal(np.concatenate([part[k] for part in found]), expected[k])
    again.recount(expected[2])
    assert whole.dump() == parts.dump() == again.dump()


def test_a_dumped_rank_goes_on_to_the_same_bits() -> None:
    first, second = Rank(MEMORY), Rank(MEMORY)
    first.finish(stream(777), IDENTITY)
    second.load(first.dump())
    for a, b in zip(first.finish(stream(999, 3), IDENTITY), second.finish(stream(999, 3), IDENTITY), strict=True):
        np.testing.assert_array_equal(a, b)


def test_masses_stay_finite_however_long_it_runs() -> None:
    rank = Rank(10)
    _, shares, _ = rank.finish(stream(20_000), IDENTITY)
    assert np.isfinite(shares[REFRESH:]).all()
    assert np.nanmax(shares) <= 1.0


def test_bytes_that_do_not_fit_are_refused() -> None:
    rank = Rank(MEMORY)
    rank.finish(stream(300), IDENTITY)
    good = rank.dump()
    for bad in (good[:-1], b"", Rank(MEMORY + 1).dump()):
        with pytest.raises(ValueError, match="rank state"):
            rank.load(bad)
    with pytest.raises(ValueError, match="bin 9999"):
        rank.recount(np.array([9999], np.uint16))
    assert rank.dump() == good
