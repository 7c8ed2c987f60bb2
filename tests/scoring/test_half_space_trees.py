"""Half-space trees against river's on the same trees and data, and their own bounds."""

import doctest
import math
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees as RiverTrees

from engine.scoring import half_space_trees, trees
from engine.scoring.half_space_trees import CHECKSUM_BYTES, HEADER, HalfSpaceTrees


def flatten(model: RiverTrees, inputs: int) -> trees.Forest:
    """river's trees as our arrays; its features are named `f0`, `f1`, ..."""
    leaves = 1 << model.height
    feature = np.zeros((model.n_trees, leaves), np.int64)
    threshold = np.zeros((model.n_trees, leaves), np.float64)
    names = {f"f{i}": i for i in range(inputs)}

    def visit(tree: int, node: int, branch: Any) -> None:
        if node < leaves:
            feature[tree, node], threshold[tree, node] = names[branch.feature], branch.threshold
            visit(tree, 2 * node, branch.children[0])
            visit(tree, 2 * node + 1, branch.children[1])

    for tree, root in enumerate(model.trees):
        visit(tree, 1, root)
    return trees.Forest(feature, threshold)


def compare_with_river(x: NDArray[np.float64], count: int, height: int, window: int, seed: int) -> int:
    """Score `x` with both and compare the bits; returns how many scores were compared."""
    inputs = len(x)
    rows = [{f"f{i}": float(x[i, row]) for i in range(inputs)} for row in range(x.shape[1])]
    river = RiverTrees(n_trees=count, height=height, window_size=window, seed=seed)
    expected = []
    for row in rows:
        expected.append(math.nan if river._first_window else float(river.score_one(row)))
        river.learn_one(row)
    ours = HalfSpaceTrees(inputs, count, height, window, seed)
    ours._grow(flatten(river, inputs))
    np.testing.assert_array_equal(ours.score_then_learn(x), np.array(expected))
    return len(rows) - sum(map(math.isnan, expected))


@given(
    seed=st.integers(0, 1000),
    inputs=st.integers(1, 6),
    count=st.integers(1, 5),
    height=st.integers(1, 6),
    window=st.integers(1, 60),
    skew=st.sampled_from((0.2, 1.0, 5.0)),
)
@settings(max_examples=40, deadline=None)
def test_equal_to_river_bit_for_bit(seed: int, inputs: int, count: int, height: int, window: int, skew: float) -> None:
    x = np.random.default_rng(seed).random((inputs, 150)) ** skew
    assert compare_with_river(x, count, height, window, seed) == 150 - window


def test_equal_to_river_at_the_shipped_size() -> None:
    draw = np.random.default_rng(3)
    x = np.clip(draw.normal(0.3, 0.1, (6, 1500)), 0.0, 1.0)
    x[:, 700] = (1.0, 0.0, 1.0, 0.0, 1.0, 0.0)
    x[:, 800:900] = 0.0  # mass packed into one leaf of every tree
    assert compare_with_river(x, 25, 8, 250, 42) == 1250


def test_an_outlier_scores_above_the_crowd() -> None:
    draw = np.random.default_rng(4)
    x = np.clip(draw.normal(0.3, 0.05, (4, 1000)), 0.0, 1.0)
    x[:, 900] = 0.95
    scores = HalfSpaceTrees(4).score_then_learn(x)
    assert np.nanargmax(scores) == 900


def test_missing_and_out_of_range_inputs_are_clamped() -> None:
    odd = np.array([[math.nan, -3.0, 7.0, math.inf, -0.0, 0.25]])
    plain = np.array([[0.0, 0.0, 1.0, 1.0, 0.0, 0.25]])
    a, b = (HalfSpaceTrees(1, trees=5, height=4, window=3) for _ in range(2))
    np.testing.assert_array_equal(a.score_then_learn(odd), b.score_then_learn(plain))
    assert a.dump() == b.dump()


def test_the_first_score_comes_right_after_the_window() -> None:
    model = HalfSpaceTrees(2, trees=3, height=3, window=10)
    scores = model.score_then_learn(np.full((2, 12), 0.4))
    assert np.isnan(scores).tolist() == [True] * 10 + [False] * 2


@given(seed=st.integers(0, 2**64 - 1), inputs=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_every_split_leaves_room_on_both_sides(seed: int, inputs: int) -> None:
    forest = trees.build_forest(2, 5, inputs, seed)
    for tree in range(2):
        ranges = {1: [(0.0, 1.0)] * inputs}
        for node in range(1, 32):
            chosen, at = int(forest.feature[tree, node]), float(forest.threshold[tree, node])
            low, high = ranges[node][chosen]
            assert low + 0.149 * (high - low) < at < high - 0.149 * (high - low)
            for child, limits in ((2 * node, (low, at)), (2 * node + 1, (at, high))):
                ranges[child] = [*ranges[node][:chosen], limits, *ranges[node][chosen + 1 :]]


def test_the_trees_of_a_seed_never_change() -> None:
    forest = trees.build_forest(2, 3, 3, 42)
    assert forest.feature[0].tolist() == FEATURES_OF_SEED_42
    assert forest.threshold[0, 1].hex() == THRESHOLD_OF_SEED_42
    other = trees.build_forest(2, 3, 3, 43)
    assert not np.array_equal(forest.threshold, other.threshold)


FEATURES_OF_SEED_42 = [0, 2, 0, 0, 0, 0, 0, 1]
THRESHOLD_OF_SEED_42 = "0x1.0c3948f726b9dp-2"


def test_the_shipped_size_dumps_small() -> None:
    model = HalfSpaceTrees(6)
    model.score_then_learn(np.random.default_rng(1).random((6, 900)))
    assert len(model.dump()) < 16_000


def test_wide_windows_dump_their_masses() -> None:
    model, twin = (HalfSpaceTrees(1, trees=1, height=1, window=70_000) for _ in range(2))
    x = np.full((1, 139_000), 0.2)
    model.score_then_learn(x)
    twin.load(model.dump())
    np.testing.assert_array_equal(model.score_then_learn(x), twin.score_then_learn(x))


def resealed(body: bytes) -> bytes:
    return body + half_space_trees._checksum(body)


@pytest.mark.parametrize(
    ("masses", "message"),
    [
        (b"\0" * 7, "bytes of masses"),
        (b"\1\0" * 2 * 3 * 8, "do not add up"),
        (b"\0" * 1_000_000, "bytes of masses"),
    ],
)
def test_a_sealed_but_wrong_state_is_refused(masses: bytes, message: str) -> None:
    model = HalfSpaceTrees(2, trees=3, height=3, window=10)
    header = model.dump()[: HEADER.size]
    with pytest.raises(ValueError, match=message):
        model.load(resealed(header + zlib.compress(masses)))
    with pytest.raises(ValueError, match="damaged"):
        model.load(resealed(header + b"not deflated"))


def test_a_dump_of_other_trees_is_refused() -> None:
    model = HalfSpaceTrees(2, trees=3, height=3, window=10)
    dumped = model.dump()
    model._grow(trees.build_forest(3, 3, 2, 43))
    with pytest.raises(ValueError, match="another configuration"):
        model.load(dumped)
    assert len(dumped) > HEADER.size + CHECKSUM_BYTES


@pytest.mark.parametrize(
    "wrong",
    [{"trees": 0}, {"trees": 501}, {"height": 0}, {"height": 16}, {"window": 0}, {"seed": -1}, {"inputs": 0},
     {"window": 2.5}, {"trees": True}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HalfSpaceTrees(**{"inputs": 2, **wrong})


def test_the_version_names_the_configuration() -> None:
    assert HalfSpaceTrees(6).version == "hst1-25x8-w250-s42-i6"


def test_the_example_of_the_docstring() -> None:
    result = doctest.testmod(half_space_trees)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_kernels_give_the_same_bits_without_the_compiler() -> None:
    program = (
        "import numpy as np; from engine.scoring.half_space_trees import HalfSpaceTrees as H;"
        "m = H(3, trees=4, height=4, window=20);"
        "s = m.score_then_learn(np.random.default_rng(5).random((3, 70)));"
        "print(s.tobytes().hex(), m.dump().hex())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": flag},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for flag in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 1000
