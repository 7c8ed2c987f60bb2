"""The models of the rule set in force: the anomaly detector, the label-free detector beside it, and the fraud model.

All three are at work on one shard and go on where its stored state ends. They score together, because the fraud model
takes what both detectors say as evidence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Learning
from engine.core.learning import ANOMALY, PLAIN, Learner, forget
from engine.domain.hashing import hash64
from engine.domain.trainer import Trainer
from engine.ruleset import meaning
from engine.ruleset.model import AnomalyConfig
from engine.ruleset.ruleset import RuleSet
from engine.scoring.base import Detector
from engine.scoring.drift.alarm import DriftAlarm
from engine.scoring.drift.monitor import DriftMonitor
from engine.scoring.drift.monitor import forget as forget_drift
from engine.scoring.fraud_model import FraudModel, LearnerSettings
from engine.scoring.packing import pack_inputs, unpack_inputs
from engine.scoring.registry import create
from engine.scoring.rows import LabelledRows
from engine.scoring.tails import evidence, ordinary

PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "half_space_trees": ("trees", "height", "window", "seed"),
    "tails": ("memory",),
}
"""Which settings of `models.anomaly` a detector takes."""

PLAIN_DETECTOR: Final = "tails"

Matrix = NDArray[np.float64]
Floats = NDArray[np.float64]


class Scored(NamedTuple):
    """What the models say of decisions; arrays `(n,)`, NaN where a model is not ready or there is none.

    Attributes:
        anomaly, fraud: the scores.
        anomaly_top, fraud_top: share of recent decisions with at least this score.
        margin, plain, labelled, share, inputs: what the learner is told later (`engine.scoring.rows.LabelledRows`);
            `inputs` is `(n, inputs)`.
        ordinary: how ordinary the payment looked to the label-free detector.
    """

    anomaly: Floats
    fraud: Floats
    anomaly_top: Floats
    fraud_top: Floats
    margin: Floats
    plain: Floats
    labelled: Floats
    share: NDArray[np.float32]
    inputs: NDArray[np.uint16]
    ordinary: Floats


class Workshop(NamedTuple):
    """What models are made with.

    Attributes:
        every: events a detector learns between two snapshots of it.
        learning: how fraud models learn; learner and seed are the rule set's.
        trainer: where they are trained.
        backed: a state store stands behind.
    """

    every: int
    learning: LearnerSettings
    trainer: Trainer
    backed: bool


class Models:
    """See the module.

    Args:
        ruleset: in force.
        anomaly, plain: its detectors; None where it has none.
        fraud: its fraud model; None where it has none.
        drift: watches what the fraud model sees, says and learns; None where there is none.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        anomaly: Learner | None,
        plain: Learner | None,
        fraud: FraudModel | None,
        drift: DriftMonitor | None,
    ) -> None:
        self.anomaly = anomaly
        self.plain = plain
        self.fraud = fraud
        self.drift = drift
        self._of = ruleset
        config = ruleset.models
        self._anomaly_rows = ruleset.model_inputs(config.anomaly) if config.anomaly is not None else []
        self._fraud_rows = ruleset.model_inputs(config.fraud) if config.fraud is not None else []
        names = config.fraud.plain if config.fraud is not None else ()
        self._plain_rows = [ruleset.rows[name] for name in names]
        self.inputs = len(self._fraud_rows)
        self.digest = hash64(str(meaning.of_fraud(ruleset))) & 0xFFFFFFFF if self.fraud is not None else 0
        self._goodbyes: list[bytes] = []

    @classmethod
    def start(cls, ruleset: RuleSet, workshop: Workshop) -> "Models":
        """Models that have learned nothing."""
        return cls._made(ruleset, workshop, None)

    def succeeded(self, ruleset: RuleSet, workshop: Workshop) -> "Models":
        """The models of a rule set that follows: those that mean the same there go on, the others start anew."""
        made = self._made(ruleset, workshop, self)
        if self.fraud is not None and made.fraud is not self.fraud:
            made._goodbyes += self.fraud.forget()
        if self.drift is not None and made.drift is None:
            made._goodbyes += forget_drift()
        for before, after, keys in ((self.anomaly, made.anomaly, ANOMALY), (self.plain, made.plain, PLAIN)):
            if before is not None and after is None:
                made._goodbyes += forget(keys)
        made._goodbyes = [*self._goodbyes, *made._goodbyes] if workshop.backed else []
        return made

    @classmethod
    def _made(cls, ruleset: RuleSet, workshop: Workshop, before: "Models | None") -> "Models":
        """Those of a rule set; what `before` has of the same meaning goes on."""
        every, backed = workshop.every, workshop.backed
        old = before._of if before is not None else None
        anomaly = plain = fraud = drift = None
        detector = new_detector(ruleset)
        if detector is not None:
            anomaly = Learner(detector, every, backed=backed, replaces=old is not None)
            if before is not None and old is not None and meaning.of_model(old) == meaning.of_model(ruleset):
                anomaly = before.anomaly
        config = ruleset.models.fraud
        if config is not None and config.plain:
            plain = Learner(
                create(PLAIN_DETECTOR, len(config.plain)), every, backed=backed, replaces=old is not None, keys=PLAIN
            )
            if before is not None and old is not None and meaning.of_plain(old) == meaning.of_plain(ruleset):
                plain = before.plain
        if config is not None:
            if before is not None and old is not None and meaning.of_fraud(old) == meaning.of_fraud(ruleset):
                fraud, drift = before.fraud, before.drift
            else:
                settings = replace(workshop.learning, learner=config.learner, seed=config.seed)
                fraud = FraudModel(config.inputs, settings, workshop.trainer, backed=backed)
                whole = [ruleset.kinds[row] != "number" for row in ruleset.model_inputs(config)]
                drift = DriftMonitor(config.inputs, whole=whole, backed=backed, replaces=old is not None)
        return cls(ruleset, anomaly, plain, fraud, drift)

    def restore(self, head: Mapping[bytes, bytes]) -> None:
        """Go on where the stored state ends. Raises `ValueError` where a detector's does not fit."""
        for learner in (self.anomaly, self.plain):
            if learner is not None:
                learner.restore(head)
        if self.fraud is not None:
            self.fraud.restore(head)
        if self.drift is not None:
            self.drift.restore(head)

    @property
    def version(self) -> str | None:
        """What decisions name: the anomaly detector's version, `+` and the fraud model's, as far as there are any."""
        anomaly = self.anomaly.detector.version if self.anomaly is not None else None
        names = [name for name in (anomaly, self.fraud.version if self.fraud is not None else None) if name is not None]
        return "+".join(names) or None

    def score(self, values: Matrix, identities: NDArray[np.uint64]) -> Scored:
        """Score decisions, in order; the detectors learn as they go.

        Args:
            values: features by row of the rule set, float64 `(rows, n)`.
            identities: a hash that names each decision, uint64 `(n,)`.
        """
        n = values.shape[1]
        nothing = np.full(n, np.nan)
        anomaly, top = self._detect(self.anomaly, self._anomaly_rows, values)
        if self.fraud is None:
            no_inputs, no_share = np.empty((n, 0), np.uint16), np.zeros(n, np.float32)
            return Scored(
                anomaly, nothing, top, nothing, nothing, nothing, nothing, no_share, no_inputs, ordinary(anomaly)
            )
        plain, _ = self._detect(self.plain, self._plain_rows, values)
        with np.errstate(over="ignore"):  # beyond the range of a float32: infinite
            inputs = pack_inputs(np.ascontiguousarray(values[self._fraud_rows].T, np.float32))
        strange, labelled = evidence(plain), evidence(anomaly)
        seen = unpack_inputs(inputs)
        scores = self.fraud.score(seen, strange, labelled)
        if self.drift is not None:
            self.drift.observe(seen, scores.probability)
        return Scored(
            anomaly,
            scores.probability,
            top,
            scores.rank,
            scores.margin,
            strange,
            labelled,
            self.fraud.draw(identities),
            inputs,
            ordinary(plain),
        )

    def untold(self) -> list[bytes]:
        """Snapshots for the archive: see `FraudModel.untold`."""
        return self.fraud.untold() if self.fraud is not None else []

    def learning(self, now_ms: int) -> Learning | None:
        """How the fraud model stands at a time; None where there is none."""
        fraud = self.fraud
        if fraud is None:
            return None
        age_ms = now_ms - fraud.snapshot.boundary_ms if fraud.snapshot is not None else None
        return Learning(fraud.version, fraud.rows, age_ms, len(self.problems))

    def _detect(self, learner: Learner | None, rows: list[int], values: Matrix) -> tuple[Floats, Floats]:
        if learner is None:
            nothing = np.full(values.shape[1], np.nan)
            return nothing, nothing
        return learner.score(np.ascontiguousarray(values[rows]))

    def learn(self, rows: LabelledRows) -> None:
        """Labels have arrived, or payments have matured."""
        if self.fraud is not None:
            self.fraud.learn(rows)
        if self.drift is not None:
            self.drift.labels(rows)

    def advance(self, hour_ms: int) -> list[DriftAlarm]:
        """The clock has come to a full hour, before anything of it is scored. Returns what has drifted."""
        if self.fraud is not None:
            self.fraud.advance(hour_ms)
        return self.drift.hour(hour_ms) if self.drift is not None else []

    @property
    def problems(self) -> list[str]:
        """Parts of the stored state that could not be read, found at the start."""
        return [problem for part in (self.fraud, self.drift) if part is not None for problem in part.problems]

    def usual(self) -> Floats:
        """The median of each input of the fraud model over the weeks before, NaN where unknown."""
        return self.drift.usual() if self.drift is not None else np.full(self.inputs, np.nan)

    def ops(self) -> list[bytes]:
        """State operations for what was learned since the last call."""
        packed, self._goodbyes = self._goodbyes, []
        for part in (self.anomaly, self.plain, self.fraud, self.drift):
            if part is not None:
                packed += part.ops()
        return packed


def new_detector(ruleset: RuleSet) -> Detector | None:
    """The anomaly detector a rule set asks for, which has learned nothing; None where it has none."""
    model = ruleset.models.anomaly
    return None if model is None else create(model.detector, len(model.inputs), **parameters(model))


def parameters(model: AnomalyConfig) -> dict[str, Any]:
    """The settings that its detector takes."""
    return {name: getattr(model, name) for name in PARAMETERS[model.detector]}
