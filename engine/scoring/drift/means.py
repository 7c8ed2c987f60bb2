"""What is watched by its mean: fraud scores, the share of frauds among labels, and how frauds had been scored."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring.drift.adwin import Adwin
from engine.scoring.drift.alarm import LABELS, SCORE, SKILL
from engine.scoring.drift.settings import DriftSettings

Floats = NDArray[np.float64]

UNIT: Final = 1 << 32
"""Values are added as whole numbers of 1/UNIT: sums of floats would depend on how events are cut into batches."""

LOSS_MAX: Final = 6.0
"""Nats at which the loss of one payment is cut: a fraud that was given less than one in 400 was not foreseen at all."""


def losses(margin: Floats) -> Floats:
    """Loss of frauds by the log odds they had been given, as a share of `LOSS_MAX`; those without are left out."""
    lost: Floats = np.minimum(np.logaddexp(0.0, -margin[np.isfinite(margin)]), LOSS_MAX) / LOSS_MAX
    return lost


@dataclass(frozen=True, slots=True)
class Shift:
    """The mean of a subject changed: before and after, and how far beyond the least change worth an alarm (1)."""

    subject: str
    before: float
    after: float
    size: float


class Means:
    """The window over one subject, and the block that is being filled.

    Args:
        subject: of `engine.scoring.drift.alarm`.
        settings: see `DriftSettings`.
    """

    def __init__(self, subject: str, settings: DriftSettings) -> None:
        place = (SCORE, LABELS, SKILL).index(subject)
        self.subject = subject
        self._ratio = settings.ratio_min[place]
        self._count_min = (settings.payments_min, settings.labels_min, settings.frauds_min)[place]
        self._both_ways = subject != SKILL  # frauds that are foreseen better are no alarm
        # Frauds are few, so blocks of theirs are, and a change among them weighs on the variance of all.
        grace = settings.skill_grace if subject == SKILL else settings.history_min
        self.window = Adwin(settings.delta, settings.blocks_min, grace, within=subject == SKILL)
        self.count, self.total = 0, 0

    def add(self, values: Floats) -> None:
        """Take in values from 0 to 1; those that are missing or infinite are left out."""
        sound = values[np.isfinite(values)]
        self.count += len(sound)
        self.total += int(np.rint(np.clip(sound, 0.0, 1.0) * UNIT).astype(np.int64).sum())

    def close(self) -> Shift | None:
        """End the block, where it has values enough; the change of the mean that this shows, if any."""
        if self.count < self._count_min:
            return None
        cut = self.window.add(self.count, self.total / UNIT)
        self.count, self.total = 0, 0
        if cut is None or (cut.after < cut.before and not self._both_ways):
            return None
        low, high = sorted((cut.before, cut.after))
        ratio = high / low if low > 0.0 else math.inf
        if ratio < self._ratio:
            return None
        return Shift(self.subject, cut.before, cut.after, math.log(ratio) / math.log(self._ratio))
