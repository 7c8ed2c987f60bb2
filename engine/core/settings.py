"""What the core can be told, in one place."""

from dataclasses import dataclass, field

from engine.core.admission import AdmissionLimits
from engine.core.control_sample import ControlSettings
from engine.core.decisions import Weights
from engine.core.label_desk import LabelSettings
from engine.core.learning import SNAPSHOT_EVERY
from engine.domain.rates import Rates
from engine.engagement.base_earn import BaseEarnSettings
from engine.features.definition import FeatureLimits
from engine.scoring.fraud_model import LearnerSettings


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """`holdout`: share of customers who get no campaign at all, to compare with, 0 to 1; 0 for none. `salt`: of the
    draw; another one holds out others."""

    holdout: float = 0.0
    salt: str = "steward"


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Settings of the pure core; the same settings, rule set and records give the same outputs.

    Attributes:
        admission: horizons of duplicates and requests, allowed lateness.
        features: limits of the feature plan.
        earn: the base-earn campaign.
        rates: the base currency and the exchange rates in force at the start; `control.rates` events replace them.
        clock_jump_ms: how far ahead of a shard's clock one customer's event is believed (`engine.core.clock`).
        customer_jump_ms: how far ahead of it an event is believed for its own customer alone.
        customer_delay_ms: how far behind it.
        labels: when payments count as legitimate, how long labels are waited for, which chargebacks are fraud.
        campaigns: holdouts of campaigns.
        learning: how fraud models learn; learner and seed are the rule set's.
        anomaly_weight: how much a certain anomaly adds to the blended score, 0 to 1. An anomaly score is no
            probability, so it only nudges; a rule that names `score.anomaly` decides.
        fraud_weight: how much a certain fraud adds to it.
        control: the share of would-be declines that goes through, so that models learn what declines hold.
        snapshot_every: events a detector learns between two snapshots of it (with a store only).
        entities_max: entities of one feature group held in memory before the least recently used go (with a store
            only).
        customers_max: customers whose admission log or account is held in memory (with a store only).
    """

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    features: FeatureLimits = field(default_factory=FeatureLimits)
    earn: BaseEarnSettings = field(default_factory=BaseEarnSettings)
    rates: Rates = field(default_factory=lambda: Rates("EUR", {}))
    clock_jump_ms: int = 8 * 86_400_000
    customer_jump_ms: int = 100 * 86_400_000
    customer_delay_ms: int = 1_100 * 86_400_000
    campaigns: CampaignSettings = field(default_factory=CampaignSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    learning: LearnerSettings = field(default_factory=LearnerSettings)
    anomaly_weight: float = 0.2
    fraud_weight: float = 0.6
    control: ControlSettings = field(default_factory=ControlSettings)
    snapshot_every: int = SNAPSHOT_EVERY
    entities_max: int = 1_000_000
    customers_max: int = 1_000_000

    @property
    def weights(self) -> Weights:
        """Of the scores in the blended one."""
        return Weights(self.anomaly_weight, self.fraud_weight)
