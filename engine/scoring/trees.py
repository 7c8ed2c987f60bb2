"""Random half-space trees as flat arrays, and the kernels over them.

A tree of height `h` is a perfect binary tree in heap order: node 1 is the root, the children of node `k` are `2k` and
`2k + 1`, and the nodes `2**h .. 2**(h + 1) - 1` are the leaves. Only the leaves keep a mass: every event walks to a
leaf, so the mass of an inner node is the sum of its two children.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

PADDING: Final = 0.15
"""Share of a node's range kept free at either end when a split point is drawn (as river does), so that no half-space
is a sliver."""
MASK_64: Final = 0xFFFF_FFFF_FFFF_FFFF
LEARNED, WINDOWS = 0, 1  # of the clock array: events learned in this window, windows completed


@dataclass(frozen=True, slots=True)
class Forest:
    """The splits of every tree; node 0 is unused.

    Attributes:
        feature: the input a node splits on, int64 `(trees, 2**height)`.
        threshold: values below it go left, float64 `(trees, 2**height)`.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]


def build_forest(trees: int, height: int, inputs: int, seed: int) -> Forest:
    """Draw `trees` trees over `inputs` features in [0, 1]: the same arguments give the same trees for ever."""
    feature = np.zeros((trees, 1 << height), np.int64)
    threshold = np.zeros((trees, 1 << height), np.float64)
    draws = _uniforms(seed)
    for tree in range(trees):
        _split(feature[tree], threshold[tree], 1, [(0.0, 1.0)] * inputs, draws)
    return Forest(feature, threshold)


def _uniforms(seed: int) -> Iterator[float]:
    """Uniform numbers in [0, 1) with 53 bits by SplitMix64 (Steele, Lea and Flood 2014)."""
    state = seed & MASK_64
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK_64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
        yield ((z ^ (z >> 31)) >> 11) * 2.0**-53


def _split(
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    node: int,
    limits: list[tuple[float, float]],
    draws: Iterator[float],
) -> None:
    """Split `node` and all below it. An input is picked in proportion to the range it has left here."""
    if node >= len(feature):
        return
    point = next(draws) * sum(high - low for low, high in limits)
    chosen = len(limits) - 1
    for i, (low, high) in enumerate(limits):
        point -= high - low
        if point < 0.0:
            chosen = i
            break
    low, high = limits[chosen]
    padding = PADDING * (high - low)
    at = low + padding + next(draws) * (high - low - 2.0 * padding)
    feature[node], threshold[node] = chosen, at
    limits[chosen] = (low, at)
    _split(feature, threshold, 2 * node, limits, draws)
    limits[chosen] = (at, high)
    _split(feature, threshold, 2 * node + 1, limits, draws)
    limits[chosen] = (low, high)


@njit
def clean(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inputs `(inputs, n)` as rows `(n, inputs)` within [0, 1]; NaN becomes 0."""
    inputs, n = x.shape
    rows = np.zeros((n, inputs), np.float64)
    for i in range(inputs):
        for row in range(n):
            value = x[i, row]
            if value > 0.0:  # false for NaN
                rows[row, i] = min(value, 1.0)
    return rows


@njit
def flip(fresh: NDArray[np.uint32], reference: NDArray[np.uint32], path: NDArray[np.int64], limit: float) -> None:
    """End a window: the fresh leaf masses become the reference, and each leaf's path score is worked out once.

    The score of a leaf is the sum of `mass * 2**depth` along its path, ended at the first node whose mass is below
    `limit`. It depends on the leaf only, so no event needs to add it up again.
    """
    trees, leaves = fresh.shape
    mass = np.zeros(2 * leaves, np.int64)
    score = np.zeros(2 * leaves, np.int64)
    ended = np.zeros(2 * leaves, np.bool_)
    for tree in range(trees):
        for leaf in range(leaves):
            mass[leaves + leaf] = fresh[tree, leaf]
            reference[tree, leaf] = fresh[tree, leaf]
            fresh[tree, leaf] = 0
        for node in range(leaves - 1, 0, -1):
            mass[node] = mass[2 * node] + mass[2 * node + 1]
        score[1] = mass[1]
        ended[1] = mass[1] < limit
        depth_power = 1
        for node in range(2, 2 * leaves):
            if node & (node - 1) == 0:  # a power of two: the first node of the next level
                depth_power *= 2
            parent = node >> 1
            score[node] = score[parent]
            if not ended[parent]:
                score[node] += mass[node] * depth_power
            ended[node] = ended[parent] or mass[node] < limit
        for leaf in range(leaves):
            path[tree, leaf] = score[leaves + leaf]


@njit
def walk(
    rows: NDArray[np.float64],
    start: int,
    stop: int,
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    path: NDArray[np.int64],
    fresh: NDArray[np.uint32],
    totals: NDArray[np.int64],
) -> None:
    """Score and learn the rows `start..stop`, all within one window, adding each tree's score to `totals`.

    Trees outside, events inside: within a window the scores do not depend on what is being learned, the events are
    independent of each other (the processor overlaps their walks) and one tree at a time stays in the nearest cache.
    """
    trees, leaves = fresh.shape
    for tree in range(trees):
        for row in range(start, stop):
            node = 1
            while node < leaves:
                node = 2 * node + int(rows[row, feature[tree, node]] >= threshold[tree, node])
            totals[row] += path[tree, node - leaves]
            fresh[tree, node - leaves] += 1


@njit
def score_then_learn(
    rows: NDArray[np.float64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    path: NDArray[np.int64],
    fresh: NDArray[np.uint32],
    reference: NDArray[np.uint32],
    clock: NDArray[np.int64],
    window: int,
    score_max: float,
) -> NDArray[np.float64]:
    """Score and learn all rows in order, ending a window after exactly `window` of them. NaN before the first end."""
    n = len(rows)
    scores = np.full(n, np.nan)
    totals = np.zeros(n, np.int64)
    start = 0
    while start < n:
        stop = min(n, start + window - clock[LEARNED])
        walk(rows, start, stop, feature, threshold, path, fresh, totals)
        if clock[WINDOWS] > 0:
            for row in range(start, stop):
                scores[row] = 1.0 - totals[row] / score_max
        clock[LEARNED] += stop - start
        if clock[LEARNED] == window:
            flip(fresh, reference, path, 0.1 * window)
            clock[LEARNED] = 0
            clock[WINDOWS] += 1
        start = stop
    return scores
