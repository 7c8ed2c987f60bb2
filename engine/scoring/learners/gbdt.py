"""Histogram gradient-boosted trees for a logistic loss, as flat arrays: a batch learner for use off the hot path.

Trees are perfect binary trees in heap order: node 1 is the root, the children of node `k` are `2k` and `2k + 1`, the
nodes `2**depth .. 2**(depth + 1) - 1` are the leaves. A row goes right where `x > threshold`, so a missing value (NaN)
goes left everywhere; a node that is not split has the threshold infinity. Scoring needs no bins: thresholds are in the
units of the input. Everything is drawn from one seed and added up in a fixed order: same rows in the same order, same
trees. Friedman 2001; histograms and second order as in Chen and Guestrin 2016 and Ke et al. 2017; own code.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit
from engine.scoring.blob import expect
from engine.scoring.learners.growing import Bytes, Floats, Nodes, Singles, fit


class Growth(NamedTuple):
    """How a forest grows. `leaf_min` is the least sum of hessians in a child, `l2` the ridge on leaf values."""

    trees: int = 150
    depth: int = 5
    rate: float = 0.07
    l2: float = 5.0
    leaf_min: float = 5.0
    row_share: float = 0.7
    column_share: float = 0.4
    bins: int = 64
    seed: int = 1


class Forest(NamedTuple):
    """Trained trees: immutable, and all that scoring and reasons need.

    Attributes:
        base: log odds of the training rows, by weight.
        feature, threshold: `(trees, 2**depth)` by node, node 0 unused.
        value: log odds `(trees, 2**(depth + 1))` by node: of a leaf what it adds, of an inner node the mean below it.
        gain: what each input contributed to the fit, `(inputs,)`.
    """

    base: float
    feature: Nodes
    threshold: Singles
    value: Floats
    gain: Floats


def train(x: Singles, y: Floats, weight: Floats, growth: Growth) -> Forest:
    """Fit rows `x` float32 `(n, inputs)`, labels 0 or 1, weights above 0. NaN is allowed, infinities are extremes."""
    limits = limits_of(x, growth.bins)
    codes = encode(x, limits)
    share = min(max(float((weight * y).sum() / weight.sum()), 1e-5), 1.0 - 1e-5)
    base = float(np.log(share / (1.0 - share)))
    g = growth
    shape = (g.trees, g.depth, g.rate, g.l2, g.leaf_min, g.row_share, g.column_share, g.seed)
    return Forest(base, *fit(codes, limits, y, weight, base, *shape))


def limits_of(x: Singles, bins: int) -> Singles:
    """Upper bin limits per input, float32 `(inputs, bins - 1)`: quantiles of the finite values, then infinity."""
    limits = np.full((x.shape[1], bins - 1), np.inf, np.float32)
    for f in range(x.shape[1]):
        values = np.sort(x[np.isfinite(x[:, f]), f])
        if len(values) and values[0] < values[-1]:
            at = np.unique(values[(np.arange(1, bins) * len(values)) // bins])
            at = at[at < values[-1]]
            limits[f, : len(at)] = at
    return limits


@njit
def encode(x: Singles, limits: Singles) -> Bytes:
    """Bin of each value, uint8 `(n, inputs)`: how many limits lie below it; 0 for NaN."""
    n, inputs = x.shape
    codes = np.zeros((n, inputs), np.uint8)
    for i in range(n):
        for f in range(inputs):
            v = x[i, f]
            if v == v:
                low, high = 0, limits.shape[1]
                while low < high:
                    middle = (low + high) >> 1
                    if v > limits[f, middle]:
                        low = middle + 1
                    else:
                        high = middle
                codes[i, f] = low
    return codes


@njit
def add_scores(x: Singles, feature: Nodes, threshold: Singles, value: Floats, margin: Floats) -> None:
    """Add the trees' log odds to `margin` `(n,)`. `x` is float32 `(n, inputs)`.

    Trees outside, rows inside: the rows are independent, so the processor overlaps their walks, and one tree at a time
    stays in the nearest cache. Each row's sum has the same order in any batch.
    """
    leaves = feature.shape[1]
    for tree in range(len(feature)):
        for i in range(len(x)):
            node = 1
            while node < leaves:
                node = 2 * node + int(x[i, feature[tree, node]] > threshold[tree, node])
            margin[i] += value[tree, node]


@njit
def add_parts(row: Singles, feature: Nodes, threshold: Singles, value: Floats, share: float, parts: Floats) -> None:
    """Add what each input moved the log odds by, `(inputs,)`, times `share`.

    Along each path, the child's mean less the node's (Saabas 2014). With the trees' root values and the base they add
    up to the margin. For alerts only.
    """
    leaves = feature.shape[1]
    for tree in range(len(feature)):
        node = 1
        while node < leaves:
            f = feature[tree, node]
            child = 2 * node + int(row[f] > threshold[tree, node])
            parts[f] += share * (value[tree, child] - value[tree, node])
            node = child


def arrays_of(forest: Forest) -> list[NDArray[Any]]:
    """A forest as arrays, for `engine.scoring.blob`."""
    return [np.array([forest.base]), forest.feature, forest.threshold, forest.value, forest.gain]


def forest_of(arrays: list[NDArray[Any]], inputs: int, growth: Growth, what: str) -> Forest:
    """The forest that `arrays_of` took apart. Raises `ValueError` where the arrays are none of this growth."""
    trees, nodes = growth.trees, 1 << growth.depth
    base = expect(arrays[0], "<f8", (1,), what)
    feature = expect(arrays[1], "<i4", (trees, nodes), what)
    threshold = expect(arrays[2], "<f4", (trees, nodes), what)
    value = expect(arrays[3], "<f8", (trees, 2 * nodes), what)
    gain = expect(arrays[4], "<f8", (inputs,), what)
    if feature.min(initial=0) < 0 or feature.max(initial=0) >= inputs:
        raise ValueError(f"{what} has a tree over an input that does not exist")
    if not (np.isfinite(value).all() and np.isfinite(base).all()) or np.isnan(threshold).any():
        raise ValueError(f"{what} has values that are no numbers")
    return Forest(float(base[0]), feature, threshold, value, gain)
