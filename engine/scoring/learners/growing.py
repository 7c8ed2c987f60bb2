"""How boosted trees grow: gradients into histograms, histograms into splits, level by level. See `gbdt.py`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]
Nodes = NDArray[np.int32]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

HESSIAN_MIN: Final = 1e-9  # a row that is certain still counts, so that no sum of hessians is zero
GAIN_MIN: Final = 1e-9


@njit
def uniform(state: NDArray[np.uint64]) -> float:
    """Next uniform in [0, 1) by SplitMix64; `state` holds one word."""
    state[0] = state[0] + np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@njit
def sums_by_bin(
    codes: Bytes, columns: Words, use: Words, place: Words, first: int, pull: Floats, bins: int
) -> NDArray[np.float64]:
    """Sums of gradient and hessian (`pull`, `(n, 2)`) by node, column and bin: `(first, columns, bins, 2)`."""
    sums = np.zeros((first, len(columns), bins, 2))
    for a in range(len(use)):
        i = use[a]
        node = place[i] - first
        for c in range(len(columns)):
            b = codes[i, columns[c]]
            sums[node, c, b, 0] += pull[i, 0]
            sums[node, c, b, 1] += pull[i, 1]
    return sums


@njit
def best_split(sums: Floats, columns: Words, limits: Singles, l2: float, leaf_min: float) -> tuple[float, int, int]:
    """Gain, place in `columns` (-1 where no split gains) and bin of the best split of one node; the first of equals."""
    total_g, total_h = sums[0, :, 0].sum(), sums[0, :, 1].sum()
    best, best_c, best_b = GAIN_MIN, -1, 0
    if total_h < 2.0 * leaf_min:
        return best, best_c, best_b
    whole = total_g * total_g / (total_h + l2)
    for c in range(len(columns)):
        g = 0.0
        h = 0.0
        for b in range(limits.shape[1]):
            if limits[columns[c], b] == np.inf:
                break
            g += sums[c, b, 0]
            h += sums[c, b, 1]
            right_g, right_h = total_g - g, total_h - h
            if h >= leaf_min and right_h >= leaf_min:
                gain = g * g / (h + l2) + right_g * right_g / (right_h + l2) - whole
                if gain > best:
                    best, best_c, best_b = gain, c, b
    return best, best_c, best_b


@njit
def grow(
    codes: Bytes, limits: Singles, pull: Floats, use: Words, columns: Words, depth: int, l2: float, leaf_min: float,
    feature: Nodes, threshold: Singles, gain: Floats, place: Words,
) -> None:  # fmt: skip
    """Grow one tree level by level from the rows `use`; `place` gets the leaf of every row."""
    place[:] = 1
    cut = np.zeros(len(feature), np.int64)
    for level in range(depth):
        first = 1 << level
        sums = sums_by_bin(codes, columns, use, place, first, pull, limits.shape[1] + 1)
        for k in range(first):
            won, c, b = best_split(sums[k], columns, limits, l2, leaf_min)
            if c >= 0:
                feature[first + k] = columns[c]
                cut[first + k] = b
                threshold[first + k] = limits[columns[c], b]
                gain[columns[c]] += won
        for i in range(len(place)):
            node = place[i]
            place[i] = 2 * node + int(threshold[node] != np.inf and codes[i, feature[node]] > cut[node])


@njit
def value_nodes(pull: Floats, use: Words, place: Words, rate: float, l2: float, value: Floats) -> None:
    """Leaf values by one Newton step, then every inner node's mean below it, weighted by hessian."""
    nodes = len(value)
    g = np.zeros(nodes)
    h = np.zeros(nodes)
    for a in range(len(use)):
        i = use[a]
        g[place[i]] += pull[i, 0]
        h[place[i]] += pull[i, 1]
    for node in range(nodes // 2, nodes):
        value[node] = -rate * g[node] / (h[node] + l2) if h[node] > 0.0 else 0.0
    for node in range(nodes // 2 - 1, 0, -1):
        left, right = 2 * node, 2 * node + 1
        h[node] = h[left] + h[right]
        value[node] = (value[left] * h[left] + value[right] * h[right]) / h[node] if h[node] > 0.0 else 0.0


@njit
def fit(
    codes: Bytes, limits: Singles, y: Floats, weight: Floats, base: float, trees: int, depth: int, rate: float,
    l2: float, leaf_min: float, row_share: float, column_share: float, seed: int,
) -> tuple[Nodes, Singles, Floats, Floats]:  # fmt: skip
    """Boost `trees` trees; each sees a share of the rows and of the columns that can split them.

    A column without limits (an input that a stream does not have) is left out: it would cost as much as another and
    take its place. Returns the arrays of `Forest`.
    """
    n, inputs = codes.shape
    feature = np.zeros((trees, 1 << depth), np.int32)
    threshold = np.full((trees, 1 << depth), np.inf, np.float32)
    value = np.zeros((trees, 2 << depth))
    gain = np.zeros(inputs)
    state = np.array([np.uint64(seed)])
    margin = np.full(n, base)
    pull = np.empty((n, 2))
    place = np.empty(n, np.int64)
    use = np.empty(n, np.int64)
    order = np.flatnonzero(limits[:, 0] < np.inf)
    telling = len(order)
    taken = min(telling, max(1, int(column_share * telling + 0.5)))
    for tree in range(trees):
        used = 0
        for i in range(n):
            p = 1.0 / (1.0 + np.exp(-margin[i]))
            pull[i, 0] = weight[i] * (p - y[i])
            pull[i, 1] = weight[i] * max(p * (1.0 - p), HESSIAN_MIN)
            if row_share >= 1.0 or uniform(state) < row_share:
                use[used] = i
                used += 1
        for k in range(taken):  # a partial Fisher-Yates shuffle
            j = k + int(uniform(state) * (telling - k))
            order[k], order[j] = order[j], order[k]
        columns = np.sort(order[:taken])
        grow(codes, limits, pull, use[:used], columns, depth, l2, leaf_min, feature[tree], threshold[tree], gain, place)
        value_nodes(pull, use[:used], place, rate, l2, value[tree])
        for i in range(n):
            margin[i] += value[tree, place[i]]
    return feature, threshold, value, gain
