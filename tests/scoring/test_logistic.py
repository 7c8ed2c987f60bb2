"""The logistic learner against its formulas, one row and one input at a time; and kernels without a compiler."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.scoring.learners import linear, logistic
from engine.scoring.learners.base import Task
from engine.scoring.learners.logistic import Logistic
from engine.scoring.packing import unpack_inputs
from engine.scoring.rows import LabelledRows
from tests.scoring.labelled import INPUTS, START_MS, arriving, payments
from tests.scoring.test_learner_conformance import taught

ROOT = Path(__file__).resolve().parents[2]

WORK = """
import hashlib
import numpy as np
from engine.scoring import packing, tails
from engine.scoring.calibration import IDENTITY
from engine.scoring.learners import gbdt
from engine.scoring.rank import Rank
draw = np.random.default_rng(1)
x = draw.lognormal(size=(700, 4)).astype(np.float32)
x[draw.random(x.shape) < 0.1] = np.nan
packed = packing.pack_inputs(x)
x = packing.unpack_inputs(packed)
y = (np.nan_to_num(x[:, 0]) > 2.0).astype(float)
with np.errstate(over="ignore"):
    forest = gbdt.train(x, y, np.where(y == 1, 1.0, 3.0), gbdt.Growth(trees=3, depth=3, bins=16))
margins = np.full(len(x), forest.base)
gbdt.add_scores(x, forest.feature, forest.threshold, forest.value, margins)
rank, detector = Rank(100), tails.TailSurprise(4, 500)
found = [packed, *forest[1:], margins, *rank.finish(margins, IDENTITY), detector.score_then_learn(x.T.astype(float))]
# Exponentials differ in their last bit from one library to the other.
print(hashlib.blake2b(b"".join(np.round(a, 9).astype(np.float64).tobytes() for a in found)).hexdigest())
"""


def by_hand(rows: LabelledRows) -> list[float]:
    """The weights after these rows, in plain Python."""
    weight, squares = [0.0] * (2 * INPUTS) + [logistic.ODDS_FIRST], [0.0] * (2 * INPUTS + 1)
    mean, variance, counted = ([0.0] * INPUTS for _ in range(3))
    for x, y, w in zip(unpack_inputs(rows.inputs).tolist(), rows.fraud.tolist(), rows.weight.tolist(), strict=True):
        z = [0.0] * (2 * INPUTS) + [1.0]
        for f, value in enumerate(x):
            if np.isnan(value):
                z[INPUTS + f] = 1.0
                continue
            s = float(np.sign(value)) * min(float(np.log1p(abs(value))), linear.VALUE_MAX)
            if np.isfinite(value):
                far = s - mean[f]
                if counted[f] > linear.SETTLED:
                    far = float(np.clip(far, *(linear.REACH * np.sqrt(variance[f] + 1e-6) * np.array([-1, 1]))))
                counted[f] = min(counted[f] + w, logistic.MEMORY)
                part = min(w / counted[f], 1.0)
                mean[f] += part * far
                variance[f] = (1 - part) * (variance[f] + part * far**2)
            z[f] = float(np.clip((s - mean[f]) / np.sqrt(variance[f] + 1e-6), -linear.REACH, linear.REACH))
        p = 1.0 / (1.0 + np.exp(-sum(a * b for a, b in zip(weight, z, strict=True))))
        for k, at in enumerate(z):
            if at != 0.0:
                g = w * (p - y) * at + logistic.L2 * weight[k]
                squares[k] = squares[k] * linear.FADE + g * g
                weight[k] -= logistic.RATE * g / np.sqrt(squares[k] + linear.STEP_MIN)
    return weight


def test_it_takes_the_steps_of_its_formulas() -> None:
    line = taught(Logistic(INPUTS), 1)
    rows = arriving(payments(1, 800)[1], START_MS, 0.3)
    np.testing.assert_allclose(line.weight, by_hand(rows), rtol=1e-9, atol=1e-12)  # type: ignore[attr-defined]


def test_extreme_values_do_not_move_what_is_usual() -> None:
    """A thousandth of all values at the end of the range leaves means within a tenth of a deviation."""
    _, rows = payments(1, 4_000)
    spoilt = rows.inputs.copy()
    spoilt[500::1000] = np.float32(3e38).view(np.uint32) >> 16
    plain, extreme = (
        Logistic(INPUTS).learn(None, Task(START_MS, told, told)) for told in (rows, replace(rows, inputs=spoilt))
    )
    assert (np.abs(plain.mean - extreme.mean) < 0.1 * np.sqrt(plain.variance)).all()


def test_kernels_give_the_same_without_a_compiler() -> None:
    digests = set()
    for flag in ("0", "1"):
        ended = subprocess.run(
            [sys.executable, "-c", WORK],
            env={**os.environ, "NUMBA_DISABLE_JIT": flag, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        digests.add(ended.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == 2 * hashlib.blake2b().digest_size
