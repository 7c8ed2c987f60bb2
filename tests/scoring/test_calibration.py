"""Calibration: the isotonic part against its definition, the curve against known truths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.scoring import calibration
from engine.scoring.calibration import IDENTITY, Curve, calibrate, platt, pooled, probability

Floats = NDArray[np.float64]


def by_definition(rate: list[float], weight: list[float]) -> list[float]:
    """Isotonic regression as the largest of means to the left of the smallest to the right."""

    def mean(i: int, j: int) -> float:
        return float(np.average(rate[i : j + 1], weights=weight[i : j + 1]))

    n = len(rate)
    return [max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_pooling_is_isotonic_regression(points: list[tuple[float, float]]) -> None:
    rate, weight = map(list, zip(*points, strict=True))
    np.testing.assert_allclose(pooled(np.array(rate), np.array(weight)), by_definition(rate, weight), atol=1e-12)


def outcomes(slope: float, offset: float, n: int = 60_000, seed: int = 1) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    margin = draw.normal(-4.0, 2.5, n)
    return margin, (draw.random(n) < 1.0 / (1.0 + np.exp(-(slope * margin + offset)))).astype(float)


def test_platt_finds_the_line_that_made_the_outcomes() -> None:
    margin, y = outcomes(1.4, 0.5)
    slope, offset = platt(margin, y, np.ones(len(y)))
    assert abs(slope - 1.4) < 0.08
    assert abs(offset - 0.5) < 0.15


def test_the_curve_follows_what_no_line_can() -> None:
    draw = np.random.default_rng(2)
    margin = draw.uniform(-8.0, 8.0, 200_000)
    truth = np.where(margin < 2.0, 0.002, 0.4) + 0.01 * np.clip(margin / 8.0, -0.1, 1.0)
    y = (draw.random(len(margin)) < truth).astype(float)
    curve = calibrate(margin, y, np.ones(len(y)))
    for m, expected in ((-6.0, 0.002), (-1.0, 0.002), (5.0, 0.406), (7.0, 0.409)):
        assert abs(probability(m, *curve) / expected - 1.0) < 0.6


def test_weights_stand_for_rows_that_were_left_out() -> None:
    margin, y = outcomes(1.0, 0.0)
    kept = (y == 1) | (np.random.default_rng(3).random(len(y)) < 0.1)
    all_of = calibrate(margin, y, np.ones(len(y)))
    some_of = calibrate(margin[kept], y[kept], np.where(y[kept] == 1, 1.0, 10.0))
    for m in (-8.0, -4.0, -2.0, 0.0):
        assert abs(np.log(probability(m, *some_of) / probability(m, *all_of))) < 0.4


@given(st.data())
def test_any_curve_is_strictly_increasing_and_finite(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    margin = np.array(data.draw(st.lists(st.floats(-14, 11), min_size=n, max_size=n)))
    y = np.array(data.draw(st.lists(st.sampled_from((0.0, 1.0)), min_size=n, max_size=n)))
    weight = np.array(data.draw(st.lists(st.floats(0.01, 100), min_size=n, max_size=n)))
    curve = calibrate(margin, y, weight)
    assert (np.diff(curve.margin) > 0).all()
    assert (np.diff(curve.odds) > 0).all()
    assert curve.slope > 0
    asked = np.linspace(-20, 20, 200)
    found = np.array([probability(float(m), *curve) for m in asked])
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_margins_that_are_all_alike_have_one_rate() -> None:
    curve = calibrate(np.full(400, -2.0), (np.arange(400) % 8 == 0).astype(float), np.ones(400))
    assert len(curve.margin) == 1
    assert 0.1 < probability(-2.0, *curve) < 0.15


def test_labels_of_one_kind_make_no_curve() -> None:
    for y in (np.zeros(5), np.ones(5), np.empty(0)):
        assert calibrate(np.zeros(len(y)), y, np.ones(len(y))) is IDENTITY
    assert probability(0.0, *IDENTITY) == 0.5


def test_between_and_beyond_knots_the_odds_are_linear() -> None:
    curve = Curve(np.array([-2.0, 0.0, 1.0]), np.array([-5.0, -1.0, 2.0]), 0.5)
    for m, odds in ((-4.0, -6.0), (-2.0, -5.0), (-1.0, -3.0), (0.0, -1.0), (0.5, 0.5), (1.0, 2.0), (3.0, 3.0)):
        assert abs(probability(m, *curve) - 1.0 / (1.0 + np.exp(-odds))) < 1e-15
    assert calibration.SLOPE_MIN > 0
