"""Streams of labelled payments for tests: made from a seed, with a rule that a learner can find."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.scoring.packing import pack_inputs, unpack_inputs
from engine.scoring.rows import LabelledRows

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 20_000 * DAY_MS
INPUTS = 6


def payments(seed: int, n: int, first: int = 0, turned: bool = False) -> tuple[NDArray[np.float32], LabelledRows]:
    """Inputs as they are scored, and the rows that come of them; `turned` has fraud in other inputs."""
    draw = np.random.default_rng([seed, first])
    x = draw.normal(size=(n, INPUTS)).astype(np.float32)
    a, b = (2, 3) if turned else (0, 1)
    fraud = (x[:, a] + x[:, b] + 0.3 * draw.normal(size=n) > 2.6).astype(np.uint8)
    x[draw.random(x.shape) < 0.05] = np.nan
    x[draw.random(x.shape) < 0.01] = np.inf
    packed = pack_inputs(x)
    return unpack_inputs(packed), rows(np.arange(first, first + n), fraud, packed)


def rows(ids: NDArray[np.int64], fraud: NDArray[np.uint8], packed: NDArray[np.uint16], at_ms: int = 0) -> LabelledRows:
    n = len(ids)
    times = np.full(n, at_ms, np.int64)
    none, one = np.zeros(n, np.float32), np.ones(n, np.float32)
    nan = np.full(n, np.nan, np.float32)
    return LabelledRows(ids.astype(np.uint64), times, times, fraud, packed, none, none, nan, one)


def arriving(at: LabelledRows, at_ms: int, share: float = 1.0) -> LabelledRows:
    """The same rows, their labels arriving at a time, legitimate ones standing for `1 / share`."""
    times = np.full(at.n, at_ms, np.int64)
    shares = np.where(at.fraud == 1, 1.0, share).astype(np.float32)
    return LabelledRows(
        at.payments, at.decided_ms, times, at.fraud, at.inputs, at.plain, at.labelled, at.margin, shares
    )


def average_precision(fraud: NDArray[np.uint8], score: NDArray[np.float64]) -> float:
    order = np.argsort(-score, kind="stable")
    hits = fraud[order] == 1
    return float((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())


def hours(days: int) -> Iterator[int]:
    yield from range(START_MS, START_MS + days * DAY_MS, HOUR_MS)
