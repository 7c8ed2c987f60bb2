"""Thresholds that hold: what is let through stays what was asked for, whatever becomes of the scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.held import LEVELS, LOG_LEVELS, RANGE, STEP, correct, hold
from engine.scoring.rank import REFRESH, Rank

CALM, AFTER = 60_000, 60_000


def changed(kind: str) -> np.ndarray:
    """Margins of a calm time, then of one that changes."""
    random = np.random.default_rng(7)
    before, after = random.normal(-5.0, 1.5, CALM), random.normal(-5.0, 1.5, AFTER)
    fraud = random.random(CALM + AFTER) < 0.01
    margins = np.concatenate((before, {"up": after + 3, "down": after - 3, "wider": 2 * after + 5}[kind]))
    return np.where(fraud, margins + 5.0, margins)


@pytest.mark.parametrize("kind", ["up", "down", "wider"])
@pytest.mark.parametrize("budget", [0.003, 0.01, 0.05])
def test_a_budget_holds_within_a_fifth_through_drift(kind: str, budget: float) -> None:
    """The realised alert rate, before a change, right after it and in the long run."""
    shares, _ = Rank(10_000).places(changed(kind))
    hits = shares <= budget
    for part in (hits[20_000:CALM], hits[CALM : CALM + 40_000], hits[CALM:]):
        assert abs(part.mean() / budget - 1.0) < 0.2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.5, 0.01, 1e-6]), st.integers(500, 3_000))
def test_what_comes_through_is_bounded_whatever_the_shares(seed: int, scale: float, n: int) -> None:
    """No assumption on the shares: as many of `n` events as the level says, give or take the threshold's way by the
    step, as long as nothing stops the threshold."""
    shares = np.random.default_rng(seed).random(n) ** 3 * scale
    held, free, hits = LOG_LEVELS.copy(), np.ones(len(LEVELS), np.bool_), np.zeros(len(LEVELS))
    for share in shares.tolist():
        hit = np.log(max(share, 1e-9)) <= held
        wanted = held + STEP * (np.array(LEVELS) - hit)
        hold(share, held)
        free &= np.isclose(held, wanted, rtol=0, atol=1e-12)
        hits += hit
        assert (np.abs(held - LOG_LEVELS) <= RANGE + 1e-9).all() and (np.diff(held) >= 0).all() and held[-1] < 0
    np.testing.assert_allclose((hits - np.array(LEVELS) * n)[free], (LOG_LEVELS - held)[free] / STEP, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-RANGE, RANGE), min_size=len(LEVELS), max_size=len(LEVELS)), st.lists(st.floats(0, 1)))
def test_the_order_of_shares_stays(moves: list[float], shares: list[float]) -> None:
    held = np.minimum(np.maximum.accumulate(LOG_LEVELS + np.array(moves)), -1e-9)
    found = [correct(share, held) for share in sorted(shares)]
    assert found == sorted(found)
    assert all(0.0 <= share <= 1.0 for share in found)
    for level, at in zip(LEVELS, held.tolist(), strict=True):
        if (held == at).sum() == 1:
            assert correct(float(np.exp(at)), held) == pytest.approx(level, rel=1e-6)


def test_nothing_is_held_before_there_are_shares() -> None:
    rank = Rank(10_000)
    rank.places(np.zeros(REFRESH))
    np.testing.assert_array_equal(rank.held, LOG_LEVELS)
