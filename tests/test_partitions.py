"""From settings to the core: limits arrive where they belong, and unusable rates and rules are named."""

from pathlib import Path

import pytest

from engine.config import ConfigError, load
from engine.core.control_sample import ControlSettings
from engine.partitions import core_settings, load_ruleset, partition_factory
from engine.ruleset.errors import RuleErrors


def test_settings_reach_the_core() -> None:
    core = core_settings(
        load(
            {
                "STEWARD_STATE_ALLOWED_LATENESS": "5m",
                "STEWARD_STATE_DEDUPE_HORIZON": "9d",
                "STEWARD_STATE_REQUEST_HORIZON": "30d",
                "STEWARD_STATE_CACHE_ENTITIES_MAX": "5000",
                "STEWARD_STATE_CACHE_CUSTOMERS_MAX": "6000",
                "STEWARD_REWARDS_REFUND_WINDOW": "3d",
                "STEWARD_CAMPAIGNS_HOLDOUT": "0.05",
                "STEWARD_CAMPAIGNS_SALT": "spring",
                "STEWARD_RISK_ANOMALY_WEIGHT": "0.5",
                "STEWARD_RISK_CONTROL_SHARE": "0.02",
                "STEWARD_RISK_CONTROL_AMOUNT_MAX": "30",
                "STEWARD_RISK_CONTROL_SALT": "secret",
                "STEWARD_BASE_CURRENCY": "USD",
            }
        )
    )
    assert core.admission.lateness_ms == core.features.lateness_ms == 300_000
    assert core.admission.dedupe_ms == 9 * 86_400_000
    assert core.admission.payment_ms == 30 * 86_400_000
    assert (core.entities_max, core.customers_max) == (5_000, 6_000)
    assert core.earn.refund_window_ms == 3 * 86_400_000
    assert (core.campaigns.holdout, core.campaigns.salt) == (0.05, "spring")
    assert core.anomaly_weight == 0.5
    assert core.control == ControlSettings(0.02, 30.0, "secret")
    assert (core.rates.base, core.rates.rates) == ("USD", {})


def test_rates_are_read_exactly(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text('{"base": "EUR", "rates": {"USD": 1.10000000000000000001, "JPY": "161.5", "GBP": 1}}')
    rates = core_settings(load({"STEWARD_RATES": str(file)})).rates
    assert rates.rates == {"USD": "1.10000000000000000001", "JPY": "161.5", "GBP": "1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "an object"),
        ('{"base": "USD", "rates": {}}', "the base currency is EUR"),
        ('{"base": "EUR", "rates": {"USD": "-1"}}', "USD"),
        ('{"base": "EUR", "rates": {"QQQ": "1"}}', "QQQ"),
        (" " * (1 << 20) + "{}", "larger than"),
    ],
)
def test_unusable_rates_are_one_line_with_their_file(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "rates.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        core_settings(load({"STEWARD_RATES": str(file)}))
    (line,) = caught.value.problems
    assert line.startswith(f"money.rates: {file}: ")
    assert said in line


def test_a_base_currency_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"money\.base_currency: .*QQQ"):
        core_settings(load({"STEWARD_BASE_CURRENCY": "QQQ"}))


def test_rules_of_the_settings_or_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("features:\n  - {name: n_1h, agg: count, by: customer, window: 1h}\n")
    settings = load({"STEWARD_RULES": str(tmp_path)})
    assert load_ruleset(settings).declared == ("n_1h",) or list(load_ruleset(settings).declared) == ["n_1h"]
    assert load_ruleset(load({})).hash != load_ruleset(settings).hash
    assert partition_factory(settings, backed=False)(3).shard == 3


def test_unusable_rules_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules:\n  - {id: a, when: nothing > 1, then: {decision: decline}}\n")
    with pytest.raises(RuleErrors, match=r"bad\.yaml:2"):
        partition_factory(load({"STEWARD_RULES": str(tmp_path)}))
