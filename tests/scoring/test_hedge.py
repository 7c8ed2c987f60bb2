"""The mixture's weights: one by one, and what they promise."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.scoring.learners import hedge


@given(
    margins=st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=1, max_size=4),
    y=st.lists(st.sampled_from((0.0, 1.0)), min_size=4, max_size=4),
    weight=st.lists(st.floats(0.1, 30), min_size=4, max_size=4),
)
def test_losses_are_log_losses_of_bounded_margins(
    margins: list[list[float]], y: list[float], weight: list[float]
) -> None:
    found = hedge.log_losses(np.array(margins), np.array(y), np.array(weight))
    for row, loss in zip(margins, found, strict=True):
        expected = 0.0
        for m, label, w in zip(row, y, weight, strict=True):
            p = 1.0 / (1.0 + math.exp(-min(max(m, hedge.MARGIN_LOW), hedge.MARGIN_HIGH)))
            expected -= w * math.log(p if label == 1.0 else 1.0 - p)
        assert abs(loss - expected) < 1e-6 * max(1.0, expected)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_weights_add_up_and_favour_the_smaller_loss(losses: list[float]) -> None:
    weights = hedge.weights(np.array(losses))
    assert abs(weights.sum() - 1.0) < 1e-12
    assert np.isfinite(weights).all()
    for i, a in enumerate(losses):
        for j, b in enumerate(losses):
            assert a < b or weights[i] <= weights[j] + 1e-12


def test_an_expert_that_was_right_lately_overtakes_one_that_was_right_long() -> None:
    losses = np.zeros(2)
    for day in range(40):
        fresh = (10.0, 60.0) if day < 30 else (90.0, 20.0)
        losses = hedge.fade(losses, 1.0) + np.array(fresh)
        if day == 29:
            assert hedge.weights(losses)[0] > 0.9
    assert hedge.weights(losses)[1] > 0.9
    assert hedge.fade(np.array([8.0]), hedge.HALF_DAYS * 3).tolist() == [1.0]
