"""From settings to the pure core: the rule set, its limits, and a maker of partitions."""

import json
from collections.abc import Callable
from typing import Final

from engine.config import ConfigError, MoneySettings, Settings
from engine.core.admission import AdmissionLimits
from engine.core.control_sample import ControlSettings
from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.settings import CampaignSettings, CoreSettings
from engine.domain.rates import Rates, RatesError
from engine.domain.trainer import Trainer
from engine.engagement.base_earn import BaseEarnSettings
from engine.features.definition import FeatureLimits
from engine.resources import rules_directory
from engine.ruleset import report
from engine.ruleset.ruleset import RuleSet
from engine.service.rule_sets import RuleLibrary
from engine.warm_up import try_out

RATES_BYTES_MAX: Final = 1 << 20


def load_ruleset(settings: Settings) -> RuleSet:
    """The rule set of `settings`, or the shipped one. Raises `RuleErrors`."""
    return report.load(settings.rules.directory or rules_directory())


def core_settings(settings: Settings) -> CoreSettings:
    """What the core is told. Raises `ConfigError` where the rates cannot be used."""
    state = settings.state
    return CoreSettings(
        admission=AdmissionLimits(state.allowed_lateness_ms, state.dedupe_horizon_ms, state.request_horizon_ms),
        features=FeatureLimits(lateness_ms=state.allowed_lateness_ms),
        earn=BaseEarnSettings(refund_window_ms=settings.rewards.refund_window_ms),
        rates=_rates(settings.money),
        clock_jump_ms=state.clock_jump_ms,
        customer_jump_ms=state.customer_jump_ms,
        customer_delay_ms=state.customer_delay_ms,
        labels=LabelSettings(
            settings.risk.label_maturity_ms, settings.risk.label_horizon_ms, settings.risk.fraud_reason_codes
        ),
        campaigns=CampaignSettings(settings.campaigns.holdout, settings.campaigns.salt),
        anomaly_weight=settings.risk.anomaly_weight,
        fraud_weight=settings.risk.fraud_weight,
        control=ControlSettings(
            settings.risk.control_share, settings.risk.control_amount_max, settings.risk.control_salt
        ),
        snapshot_every=settings.snapshots.detector_events,
        entities_max=state.cache_entities_max,
        customers_max=state.cache_customers_max,
    )


def partition_factory(
    settings: Settings,
    library: RuleLibrary | None = None,
    *,
    backed: bool = True,
    features_out: bool = False,
    trainer: Trainer | None = None,
) -> Callable[[int], Partition]:
    """A maker of partitions by shard number, all beginning under one rule set. Raises `RuleErrors`, `ConfigError`.

    Args:
        library: begins with that rule set, and finds those and the models that control events name; None: that of
            `settings` alone.
        backed: a state store stands behind.
        features_out: also render every declared feature of every event.
        trainer: where fraud models are trained, those of all shards; None: in the caller's time.
    """
    core = core_settings(settings)
    library = library or rule_library(settings)
    first, rulesets, models = library.first, library.get, library.models.get
    return lambda shard: Partition(
        first,
        core,
        shard=shard,
        backed=backed,
        features_out=features_out,
        rulesets=rulesets,
        trainer=trainer,
        models=models,
    )


def rule_library(settings: Settings) -> RuleLibrary:
    """A library that begins with the rule set of `settings`, without an archive. Raises `RuleErrors`, `ConfigError`.

    It tries a new rule set by running made-up events through it.
    """
    core = core_settings(settings)
    return RuleLibrary(None, load_ruleset(settings), lambda ruleset: try_out(Partition(ruleset, core)))


def _rates(money: MoneySettings) -> Rates:
    """Rates of a file such as `{"base": "EUR", "rates": {"USD": "1.085"}}`; without one, the base currency alone."""
    place = f"money.rates: {money.rates}" if money.rates else "money.base_currency"
    try:
        if money.rates is None:
            return Rates(money.base_currency, {})
        if money.rates.stat().st_size > RATES_BYTES_MAX:
            raise RatesError(f"larger than {RATES_BYTES_MAX} bytes")
        # Numbers are kept as they are written: a rate is a decimal, not the nearest binary fraction.
        rates = Rates.from_dict(json.loads(money.rates.read_text(encoding="utf-8"), parse_float=str))
        if rates.base != money.base_currency:
            raise RatesError(f"rates are against {rates.base}, the base currency is {money.base_currency}")
        return rates
    except (OSError, ValueError) as error:  # RatesError, bad JSON and bad UTF-8 are ValueErrors
        raise ConfigError([f"{place}: {error}"]) from error
