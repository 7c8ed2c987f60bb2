"""The tally against a list of all payments."""

import numpy as np

from engine.scoring import tally
from engine.scoring.calibration import HALF_DAYS, IDENTITY, calibrate, probability
from tests.scoring.labelled import DAY_MS


def test_payments_are_counted_by_margin_and_label_and_fade() -> None:
    draw = np.random.default_rng(1)
    found, seen = tally.nothing(), []
    for day in (0, 1, 1, 5, 40):
        margin, fraud = draw.uniform(-20.0, 16.0, 300), draw.integers(0, 2, 300).astype(np.uint8)
        weight = draw.uniform(1.0, 10.0, 300)
        before = found.copy()
        found = tally.counted(found, day * DAY_MS, margin, fraud, weight)
        assert not np.array_equal(found, before)
        seen = [(m, f, w * 0.5 ** (day / HALF_DAYS)) for m, f, w in seen]
        seen += list(zip(margin.tolist(), fraud.tolist(), weight.tolist(), strict=True))
    expected = tally.nothing()
    for m, f, w in seen:
        expected[f, int(min(max((m - tally.LOW) // tally.WIDTH, 0), tally.BINS - 1))] += w
    np.testing.assert_allclose(found, expected)


def test_the_curve_is_that_of_the_payments() -> None:
    draw = np.random.default_rng(2)
    margin = draw.normal(-4.0, 2.5, 50_000)
    fraud = (draw.random(50_000) < 1.0 / (1.0 + np.exp(-1.3 * margin))).astype(np.uint8)
    one = np.ones(50_000)
    curve = tally.curve_of(tally.counted(tally.nothing(), 0, margin, fraud, one))
    whole = calibrate(margin, fraud.astype(float), one)
    for m in (-8.0, -5.0, -2.0, 0.0, 2.0):
        assert abs(np.log(probability(m, *curve) / probability(m, *whole))) < 0.25
    assert tally.curve_of(tally.nothing()) is IDENTITY
