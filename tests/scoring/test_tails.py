"""Tail surprise against a detector that keeps every event."""

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.scoring import tails
from engine.scoring.tails import TailSurprise, bounded, evidence, ordinary
from engine.scoring.tails_kernel import BINS, REFRESH, bin_of

MEMORY = 800
Floats = NDArray[np.float64]


def bins(values: Floats) -> Floats:
    """Bins by logarithm: eight to an octave, equal steps within it."""
    clean = np.nan_to_num(np.minimum(values, 1e30).astype(np.float32), nan=-1.0)
    octave = np.floor(np.log2(np.maximum(clean, 1e-30)))
    eighth = np.floor(8.0 * (clean / 2.0**octave - 1.0))
    found: Floats = np.where(clean <= 0, 0, np.clip((octave + 16) * 8 + eighth + 1, 0, BINS - 1))
    return found


def by_hand(x: Floats) -> Floats:
    """Scores from the whole history, by the words of the docstring."""
    inputs, n = x.shape
    codes = np.array([bins(row) for row in x])
    fade = 1.0 + 1.0 / MEMORY
    ranks: list[float] = []
    scores = np.full(n, np.nan)
    for i in range(n):
        known = i - i % REFRESH
        weight = fade ** np.arange(known)

        def tail(past: Floats, at: float, weight: Floats = weight) -> float:
            return float((weight[past >= at].sum() + 1.0) / (weight.sum() + 1.0))

        surprise = sum(max(0.0, -np.log(tail(codes[f, :known], codes[f, i]))) ** 3 for f in range(inputs))
        ranks.append(float(bins(np.array([surprise]))[0]))
        if known:
            scores[i] = 1.0 - tail(np.array(ranks[:known]), ranks[i])
    return scores


def events(n: int, seed: int = 1) -> Floats:
    draw = np.random.default_rng(seed)
    x = draw.lognormal(sigma=2.0, size=(3, n))
    x[draw.random(x.shape) < 0.05] = np.nan
    x[draw.random(x.shape) < 0.02] = np.inf
    x[draw.random(x.shape) < 0.02] = -3.0
    x[draw.random(x.shape) < 0.01] = 1e300
    return x


def test_scores_are_those_of_the_whole_history() -> None:
    x = events(1_500)
    np.testing.assert_allclose(TailSurprise(3, memory=MEMORY).score_then_learn(x), by_hand(x), atol=1e-9)


def test_bins_are_eight_to_an_octave() -> None:
    values = np.array([np.nan, -1.0, 0.0, 1e-9, 2.0**-16, 1.0, 1.13, 2.0, 3.0, 70_000.0, np.inf], np.float32)
    expected = [0, 0, 0, 0, 1, 129, 130, 137, 141, 257, 257]
    assert [bin_of(int(word)) for word in values.view(np.int32)] == expected


def test_a_threshold_alerts_on_its_share_through_a_shift() -> None:
    x = np.concatenate([events(12_000), 5.0 * events(12_000, 2)], axis=1)
    scores = TailSurprise(3, memory=3_000).score_then_learn(x)
    for part in (scores[2_000:12_000], scores[18_000:]):
        assert 0.006 < (part > 0.99).mean() < 0.013


def test_the_surprise_of_an_event_is_in_its_inputs() -> None:
    detector = TailSurprise(3, memory=MEMORY)
    assert detector.surprise(np.array([9.0, 1.0, np.nan])).tolist() == [0.0, 0.0, 0.0]
    detector.score_then_learn(events(2_000))
    parts = detector.surprise(np.array([1_000.0, 1.0, np.nan]))
    assert parts.argmax() == 0
    assert parts[2] < 1e-9


def test_masses_stay_finite_however_long_it_runs() -> None:
    scores = TailSurprise(3, memory=50).score_then_learn(events(5_000))
    assert np.isfinite(scores[REFRESH:]).all()


def test_evidence_and_ordinariness() -> None:
    scores = np.array([0.0, 0.98, 0.99, 0.999, 1.0, np.nan])
    np.testing.assert_allclose(evidence(scores), [-3.0, np.log(0.5), 0.0, np.log(10.0), 5.0, np.nan], atol=1e-9)
    np.testing.assert_allclose(ordinary(scores), [1.0, 1.0, 0.5, 0.05, 0.0, 1.0], atol=1e-9)
    np.testing.assert_array_equal(bounded(np.array([-9.0, np.nan, np.inf, 0.5])), [-3.0, 0.0, 5.0, 0.5])


def test_parameters_are_checked() -> None:
    for inputs, memory in ((0, 10), (257, 10), (3, 0), (3, 10_000_001), (3, True), (3, 2.5)):
        with pytest.raises(ValueError, match="whole number"):
            TailSurprise(inputs, memory)  # type: ignore[arg-type]
    assert TailSurprise(3, 700).version == "tails1-m700-i3"


def test_the_example_runs() -> None:
    assert doctest.testmod(tails).failed == 0
