"""The models of a rules directory that configures none: those of the shipped `rules/models.yaml`.

Their inputs are derived features without names of the directory's own, so they can collide with none and
`--features` does not print them. Aggregates they share with the directory's features are computed once.
"""

from collections.abc import Callable, Mapping
from typing import Final

from engine.ruleset import ir
from engine.ruleset.model import AnomalyConfig, FraudConfig, ModelsConfig
from engine.ruleset.parser import Text
from engine.ruleset.types import TRUTHS, Kind
from engine.ruleset.yaml_loader import Scalar, Source

PREFIX: Final = "default."

FEATURES: Final[dict[str, str]] = {
    # The payment.
    "amount_comparable": "coalesce(amount_base, amount)",
    "hour_of_day": "hour()",
    "is_transfer": "type == 'transfer.sent'",
    "card_abroad": "card_country != ip_country",
    # The customer's own past.
    "cust_1h": "count(by=customer, window='1h')",
    "cust_24h": "count(by=customer, window='24h')",
    "cust_7d": "count(by=customer, window='7d')",
    "cust_since_s": "since_last(by=customer, window='30d')",
    "cust_known_s": "age(by=customer)",
    # What the customer usually pays: before the last week, which a leaked card may have spoilt; or else before now.
    "before_count": "count(by=customer, window='90d') - count(by=customer, window='7d')",
    "cust_mean": (
        "(sum(of=amount, by=customer, window='90d') - sum(of=amount, by=customer, window='7d')) / "
        "before_count if before_count >= 5 else (sum(of=amount, by=customer, window='90d') - amount) / "
        "(count(by=customer, window='90d') - 1)"
    ),
    "squares_90d": (
        "count(by=customer, window='90d') * (std(of=amount, by=customer, window='90d') ** 2 + "
        "(sum(of=amount, by=customer, window='90d') / count(by=customer, window='90d')) ** 2)"
    ),
    "squares_7d": (
        "count(by=customer, window='7d') * (std(of=amount, by=customer, window='7d') ** 2 + (sum(of=amount, "
        "by=customer, window='7d') / count(by=customer, window='7d')) ** 2)"
    ),
    "mean_square": (
        "(squares_90d - squares_7d) / before_count if before_count >= 5 else (squares_90d - amount ** 2) / "
        "(count(by=customer, window='90d') - 1)"
    ),
    "cust_std": "sqrt(max(0, mean_square - cust_mean ** 2))",
    # How this payment and the last days compare.
    "amount_ratio": "amount / cust_mean",
    "amount_z": "(amount - cust_mean) / (cust_std + 1)",
    "max_24h_ratio": "max(of=amount, by=customer, window='24h') / cust_mean",
    "max_7d_ratio": "max(of=amount, by=customer, window='7d') / cust_mean",
    "mean_7d_ratio": "mean(of=amount, by=customer, window='7d') / cust_mean",
    # What else the customer does.
    "cust_shops_24h": "distinct(of=merchant_id, by=customer, window='24h')",
    "device_is_new": "is_new(of=device_id, by=customer, window='30d')",
    "category_is_new": "is_new(of=merchant_category, by=customer, window='30d')",
    "payee_is_new": (
        "coalesce(is_new(of=terminal_id, by=customer, window='30d'), is_new(of=merchant_id, by=customer, "
        "window='30d'), is_new(of=counterparty_id, by=customer, window='30d'))"
    ),
    "login_failures_24h": "count(by=customer, window='24h', where=\"type == 'account.login_failed'\")",
    "since_password_s": "since_last(by=customer, window='30d', where=\"type == 'account.password_changed'\")",
    # What else came with the device, the address and the card.
    "device_known_s": "age(by=device)",
    "device_3h": "count(by=device, window='3h')",
    "device_cards_7d": "distinct(of=card_id, by=device, window='7d')",
    "ip_cards_1h": "distinct(of=card_id, by=ip, window='1h')",
    "card_1h": "count(by=card, window='1h')",
    "bin_spread_10m": "distinct(of=card_id, by=card_bin, window='10m')",
    # Whom it goes to: the terminal, or else the merchant, or else the counterparty.
    "payee_known_s": "coalesce(age(by=terminal), age(by=merchant), age(by=counterparty))",
    "payee_24h": (
        "coalesce(count(by=terminal, window='24h'), count(by=merchant, window='24h'), count(by=counterparty, "
        "window='24h'))"
    ),
    "payee_7d": (
        "coalesce(count(by=terminal, window='7d'), count(by=merchant, window='7d'), count(by=counterparty, "
        "window='7d'))"
    ),
    "payee_30d": (
        "coalesce(count(by=terminal, window='30d'), count(by=merchant, window='30d'), count(by=counterparty, "
        "window='30d'))"
    ),
    "payee_mean": (
        "coalesce(mean(of=amount, by=terminal, window='30d'), mean(of=amount, by=merchant, window='30d'), "
        "mean(of=amount, by=counterparty, window='30d'))"
    ),
    "payee_std": (
        "coalesce(std(of=amount, by=terminal, window='30d'), std(of=amount, by=merchant, window='30d'), "
        "std(of=amount, by=counterparty, window='30d'))"
    ),
    "payee_max": (
        "coalesce(max(of=amount, by=terminal, window='30d'), max(of=amount, by=merchant, window='30d'), "
        "max(of=amount, by=counterparty, window='30d'))"
    ),
    "payee_ratio": "amount / payee_mean",
    # What arrived labels say of the payee; unexplained frauds are those nothing about the customer gave away.
    "payee_frauds_1d": (
        "coalesce(fraud_count(by=terminal, window='1d'), fraud_count(by=merchant, window='1d'), "
        "fraud_count(by=counterparty, window='1d'))"
    ),
    "payee_frauds_3d": (
        "coalesce(fraud_count(by=terminal, window='3d'), fraud_count(by=merchant, window='3d'), "
        "fraud_count(by=counterparty, window='3d'))"
    ),
    "payee_frauds_7d": (
        "coalesce(fraud_count(by=terminal, window='7d'), fraud_count(by=merchant, window='7d'), "
        "fraud_count(by=counterparty, window='7d'))"
    ),
    "payee_frauds_14d": (
        "coalesce(fraud_count(by=terminal, window='14d'), fraud_count(by=merchant, window='14d'), "
        "fraud_count(by=counterparty, window='14d'))"
    ),
    "payee_frauds_28d": (
        "coalesce(fraud_count(by=terminal, window='28d'), fraud_count(by=merchant, window='28d'), "
        "fraud_count(by=counterparty, window='28d'))"
    ),
    "payee_rate_7d": (
        "coalesce(fraud_rate(by=terminal, window='7d'), fraud_rate(by=merchant, window='7d'), "
        "fraud_rate(by=counterparty, window='7d'))"
    ),
    "payee_rate_28d": (
        "coalesce(fraud_rate(by=terminal, window='28d'), fraud_rate(by=merchant, window='28d'), "
        "fraud_rate(by=counterparty, window='28d'))"
    ),
    "payee_labels_28d": (
        "coalesce(label_count(by=terminal, window='28d'), label_count(by=merchant, window='28d'), "
        "label_count(by=counterparty, window='28d'))"
    ),
    "payee_unexplained_7d": (
        "coalesce(unexplained_frauds(by=terminal, window='7d'), unexplained_frauds(by=merchant, "
        "window='7d'), unexplained_frauds(by=counterparty, window='7d'))"
    ),
    "payee_unexplained_28d": (
        "coalesce(unexplained_frauds(by=terminal, window='28d'), unexplained_frauds(by=merchant, "
        "window='28d'), unexplained_frauds(by=counterparty, window='28d'))"
    ),
    "payee_last_fraud_s": (
        "coalesce(since_last_fraud(by=terminal, window='28d'), since_last_fraud(by=merchant, window='28d'), "
        "since_last_fraud(by=counterparty, window='28d'))"
    ),
    "payee_first_fraud_s": (
        "coalesce(since_first_fraud(by=terminal, window='28d'), since_first_fraud(by=merchant, "
        "window='28d'), since_first_fraud(by=counterparty, window='28d'))"
    ),
    "payee_last_good_s": (
        "coalesce(since_last_legitimate(by=terminal, window='28d'), since_last_legitimate(by=merchant, "
        "window='28d'), since_last_legitimate(by=counterparty, window='28d'))"
    ),
    "payee_unexplained_s": (
        "coalesce(since_first_unexplained(by=terminal, window='28d'), since_first_unexplained(by=merchant, "
        "window='28d'), since_first_unexplained(by=counterparty, window='28d'))"
    ),
    "payee_rate_since": (
        "coalesce(fraud_rate_since_unexplained(by=terminal, window='28d'), "
        "fraud_rate_since_unexplained(by=merchant, window='28d'), "
        "fraud_rate_since_unexplained(by=counterparty, window='28d'))"
    ),
    "shop_frauds_28d": "fraud_count(by=merchant, window='28d')",
    "shop_rate_28d": "fraud_rate(by=merchant, window='28d')",
    # What they say of where it came from.
    "device_frauds_28d": "fraud_count(by=device, window='28d')",
    "device_rate_28d": "fraud_rate(by=device, window='28d')",
    "device_fraud_s": "since_last_fraud(by=device, window='28d')",
    "ip_frauds_28d": "fraud_count(by=ip, window='28d')",
    "ip_rate_28d": "fraud_rate(by=ip, window='28d')",
    "ip_fraud_s": "since_last_fraud(by=ip, window='28d')",
    "card_frauds_28d": "fraud_count(by=card, window='28d')",
    "card_rate_28d": "fraud_rate(by=card, window='28d')",
    "card_fraud_s": "since_last_fraud(by=card, window='28d')",
    "email_frauds_28d": "fraud_count(by=email, window='28d')",
    "email_rate_28d": "fraud_rate(by=email, window='28d')",
    "email_fraud_s": "since_last_fraud(by=email, window='28d')",
    "bin_frauds_28d": "fraud_count(by=card_bin, window='28d')",
    "bin_rate_28d": "fraud_rate(by=card_bin, window='28d')",
    "bin_fraud_s": "since_last_fraud(by=card_bin, window='28d')",
    "three_ds_done": "three_ds",
}
"""Each over event fields, aggregates and those before it.

What the payments of a stream do not carry is missing in all of them and costs next to nothing: without devices there
are no logs of devices.
"""

PLAIN: Final = (
    "amount_comparable",
    "amount_ratio",
    "amount_z",
    "max_7d_ratio",
    "cust_1h",
    "cust_24h",
    "device_cards_7d",
    "ip_cards_1h",
    "bin_spread_10m",
)
"""Those of the label-free detector beside the fraud model: all are greater where a payment is less ordinary."""

ANOMALY: Final = (
    "amount_comparable",
    "amount_ratio",
    "amount_z",
    "max_7d_ratio",
    "cust_1h",
    "device_cards_7d",
    "ip_cards_1h",
    "bin_spread_10m",
    "payee_unexplained_7d",
    "payee_rate_7d",
    "payee_frauds_3d",
    "payee_rate_since",
    "cust_shops_24h",
    "device_is_new",
    "login_failures_24h",
    "device_3h",
    "card_1h",
    "device_frauds_28d",
    "ip_frauds_28d",
    "card_frauds_28d",
)
"""Those of the anomaly detector, likewise."""

HELPERS: Final = (
    "before_count",
    "squares_90d",
    "squares_7d",
    "mean_square",
)
"""Features that are no inputs."""

FRAUD: Final = tuple(name for name in FEATURES if name not in HELPERS)
"""Inputs of the fraud model."""


def features(check: Callable[[Text, Mapping[str, Kind]], ir.Node]) -> dict[str, ir.Node]:
    """The checked features, by their prefixed names.

    Args:
        check: the compiler's own, given the kinds of the features so far by their names without the prefix.
    """
    kinds: dict[str, Kind] = {}
    found = {}
    for name, expression in FEATURES.items():
        source = Source(f"{PREFIX}{name}", expression)
        scalar = Scalar(source, 0, 0, (0, len(expression)), expression, expression, None, 0, len(expression))
        node = found[PREFIX + name] = check(Text(scalar), kinds)
        kinds[name] = Kind.BOOL if node.kind in TRUTHS else Kind.NUMBER
    return found


def models() -> ModelsConfig:
    """The shipped models."""
    named = [tuple(PREFIX + name for name in names) for names in (ANOMALY, FRAUD, PLAIN)]
    return ModelsConfig(AnomalyConfig("tails", inputs=named[0]), FraudConfig(named[1], named[2]))
