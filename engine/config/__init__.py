"""One settings object: environment `STEWARD_*` over `steward.toml` over defaults."""

from engine.config.kinds import ApiKey, mask_url
from engine.config.load import ConfigError, load
from engine.config.settings import (
    BatchSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    MoneySettings,
    RedisSettings,
    RewardSettings,
    RiskSettings,
    RulesSettings,
    Settings,
    SnapshotSettings,
    StateSettings,
    TopicSettings,
    WorkerSettings,
)

__all__ = [
    "ApiKey",
    "BatchSettings",
    "ConfigError",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "MoneySettings",
    "RedisSettings",
    "RewardSettings",
    "RiskSettings",
    "RulesSettings",
    "Settings",
    "SnapshotSettings",
    "StateSettings",
    "TopicSettings",
    "WorkerSettings",
    "load",
    "mask_url",
]
