"""Boosted trees against naive ones, and the bounds of their settings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.scoring.learners.gbdt import (
    Forest,
    Growth,
    add_parts,
    add_scores,
    arrays_of,
    encode,
    forest_of,
    limits_of,
    train,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def data(n: int = 4_000, inputs: int = 7, seed: int = 1) -> tuple[Singles, Floats]:
    draw = np.random.default_rng(seed)
    x = draw.lognormal(size=(n, inputs)).astype(np.float32)
    x[draw.random(x.shape) < 0.05] = np.nan
    y = ((np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) > 4.0) ^ (draw.random(n) < 0.02)).astype(float)
    return x, y


def walked(forest: Forest, row: Singles) -> float:
    """The margin of one row, node by node."""
    total = forest.base
    for feature, threshold, value in zip(forest.feature, forest.threshold, forest.value, strict=True):
        node = 1
        while node < len(feature):
            node = 2 * node + (1 if row[feature[node]] > threshold[node] else 0)
        total += value[node]
    return total


def margins(forest: Forest, x: Singles) -> Floats:
    found = np.full(len(x), forest.base)
    add_scores(x, forest.feature, forest.threshold, forest.value, found)
    return found


def test_scores_are_those_of_a_walk() -> None:
    x, y = data()
    forest = train(x, y, np.ones(len(y)), Growth(trees=20))
    assert margins(forest, x[:200]).tolist() == [walked(forest, row) for row in x[:200]]


def test_the_first_split_is_the_best_there_is() -> None:
    """A stump over all rows and inputs, against a search over every limit."""
    x, y = data(1_500, 4)
    weight = np.where(y == 1, 1.0, 2.5)
    growth = Growth(trees=1, depth=1, rate=1.0, l2=3.0, leaf_min=4.0, row_share=1.0, column_share=1.0, bins=16)
    forest = train(x, y, weight, growth)
    p = 1.0 / (1.0 + np.exp(-forest.base))
    g, h = weight * (p - y), weight * p * (1.0 - p)
    best = (0.0, 0, 0.0)
    for f, limits in enumerate(limits_of(x, 16)):
        for limit in limits[np.isfinite(limits)]:
            right = x[:, f] > limit
            sides = [(g[side].sum(), h[side].sum()) for side in (~right, right)]
            if min(hessian for _, hessian in sides) >= 4.0:
                gain = sum(a * a / (b + 3.0) for a, b in sides) - g.sum() ** 2 / (h.sum() + 3.0)
                best = max(best, (gain, f, float(limit)))
    gain, f, limit = best
    assert (forest.feature[0, 1], forest.threshold[0, 1]) == (f, np.float32(limit))
    assert abs(forest.gain[f] - gain) < 1e-6 * gain
    for side, node in ((x[:, f] <= limit) | np.isnan(x[:, f]), 2), (x[:, f] > limit, 3):
        assert abs(forest.value[0, node] + g[side].sum() / (h[side].sum() + 3.0)) < 1e-9


def test_bins_agree_with_thresholds() -> None:
    """A row lies right of a limit by its bin exactly where it does by its value: training and scoring see the same."""
    x, _ = data(500)
    x[:5, 0] = np.inf, -np.inf, 0.0, -1.0, 3e38
    limits = limits_of(x, 64)
    codes = encode(x, limits)
    for f in range(x.shape[1]):
        for b, limit in enumerate(limits[f][np.isfinite(limits[f])]):
            np.testing.assert_array_equal(codes[:, f] > b, x[:, f] > limit)


def test_parts_add_up() -> None:
    x, y = data()
    forest = train(x, y, np.ones(len(y)), Growth(trees=30))
    for row, margin in zip(x[:20], margins(forest, x[:20]), strict=True):
        parts = np.zeros(x.shape[1])
        add_parts(row, forest.feature, forest.threshold, forest.value, 0.5, parts)
        assert abs(2.0 * parts.sum() + forest.base + forest.value[:, 1].sum() - margin) < 1e-9


def test_the_same_seed_makes_the_same_trees_and_another_others() -> None:
    x, y = data()
    one, same, other = (train(x, y, np.ones(len(y)), Growth(trees=5, seed=seed)) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.threshold, other.threshold)


def test_rows_with_nothing_to_tell_grow_nothing() -> None:
    x = np.full((200, 3), np.nan, np.float32)
    x[:, 1] = 5.0
    y = (np.arange(200) % 10 == 0).astype(float)
    forest = train(x, y, np.ones(200), Growth(trees=3))
    assert np.isinf(forest.threshold).all()
    assert np.abs(margins(forest, x) - np.log(0.1 / 0.9)).max() < 0.05


def test_inputs_that_tell_nothing_take_nobodys_place() -> None:
    """Inputs that a stream does not have, or that never vary, leave the trees as they would be without them."""
    x, y = data()
    wide = np.full((len(x), 2 * x.shape[1]), np.nan, np.float32)
    wide[:, ::2] = x
    wide[:, 3] = 7.0
    alone, among = (train(rows, y, np.ones(len(y)), Growth(trees=8)) for rows in (x, wide))
    assert np.array_equal(margins(alone, x), margins(among, wide))
    np.testing.assert_array_equal(2 * alone.feature, among.feature)
    np.testing.assert_array_equal(alone.threshold, among.threshold)


def test_weights_count_as_repetitions() -> None:
    x, y = data(600)
    growth = Growth(trees=4, row_share=1.0, leaf_min=1.0)
    twice = train(np.concatenate([x, x]), np.concatenate([y, y]), np.ones(1_200), growth)
    weighted = train(x, y, np.full(600, 2.0), growth)
    np.testing.assert_allclose(margins(twice, x), margins(weighted, x), atol=1e-9)


def test_arrays_that_are_no_forest_are_refused() -> None:
    x, y = data(300)
    growth = Growth(trees=3)
    good = arrays_of(train(x, y, np.ones(300), growth))
    assert forest_of(good, 7, growth, "it").base == good[0][0]
    for place, spoilt in (
        (0, np.array([np.nan])),
        (1, good[1] + 7),
        (1, good[1] - 8),
        (2, np.full_like(good[2], np.nan)),
        (3, np.full_like(good[3], np.inf)),
        (3, good[3][:-1]),
        (4, good[4][:-1]),
    ):
        with pytest.raises(ValueError, match=r"^it "):
            forest_of([*good[:place], spoilt.astype(good[place].dtype), *good[place + 1 :]], 7, growth, "it")
