"""A short made-up life of a fraud model, so that its kernels are compiled or loaded before they are needed."""

from typing import Final

import numpy as np

from engine.domain.times import DAY_MS
from engine.domain.trainer import Inline
from engine.scoring.fraud_model import FraudModel
from engine.scoring.fraud_types import HOUR_MS, LearnerSettings
from engine.scoring.packing import pack_inputs, unpack_inputs
from engine.scoring.rows import LabelledRows

ROWS: Final = 256


def rehearse(learner: str) -> None:
    """Run every kernel of a learner, and those of packing, calibration and rank: learn, score, give reasons."""
    settings = LearnerSettings(learner=learner, frauds_min=1, known_min=1.0)
    model = FraudModel(["first", "second"], settings, Inline(), backed=False)
    place = np.arange(ROWS)
    packed = pack_inputs(np.stack([place, place % 7], axis=1).astype(np.float32))
    none, one = np.full(ROWS, np.nan, np.float32), np.ones(ROWS, np.float32)
    times, fraud = np.full(ROWS, DAY_MS), (place % 5 == 0).astype(np.uint8)
    rows = LabelledRows(place.astype(np.uint64), times, times, fraud, packed, none, none, none, one)
    model.advance(DAY_MS)
    model.learn(rows)
    model.advance(2 * DAY_MS + HOUR_MS)
    x = unpack_inputs(packed)
    margin = model.score(x, none.astype(np.float64), none.astype(np.float64)).margin
    model.learn(LabelledRows(rows.payments + np.uint64(ROWS), times * 2, times * 2, fraud, packed, none, none,
                             margin.astype(np.float32), one))  # fmt: skip
    model.advance(3 * DAY_MS + HOUR_MS)
    model.reasons(x[0], 0.0, 0.0)
