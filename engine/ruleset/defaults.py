"""The models of a rules directory that configures none: those of the shipped `rules/models.yaml`, self-contained.

Their inputs are derived features without names of the directory's own, so they can collide with none and
`--features` does not print them. Aggregates they share with the directory's features are computed once.
"""

from collections.abc import Callable
from typing import Final

from engine.ruleset import ir
from engine.ruleset.model import AnomalyConfig
from engine.ruleset.parser import Text
from engine.ruleset.yaml_loader import Scalar, Source

PREFIX: Final = "default."
_MEAN: Final = "mean(of=amount, by=customer, window='30d', where=\"type == 'payment.settled'\")"

INPUTS: Final[dict[str, str]] = {
    "anomaly_amount": "clamp(log1p(coalesce(amount_base, amount)) / 10, 0, 1)",
    "anomaly_ratio": f"clamp(log1p(coalesce(amount / coalesce({_MEAN}, amount), 1)) / 4, 0, 1)",
    "anomaly_pace": "clamp(count(by=customer, window='1h') / 10, 0, 1)",
    "anomaly_gap": "clamp(log1p(coalesce(since_last(by=customer, window='30d'), 2592000)) / 15, 0, 1)",
    "anomaly_merchants": "clamp(distinct(of=merchant_id, by=customer, window='24h') / 10, 0, 1)",
    "anomaly_device": (
        "coalesce(is_new(of=device_id, by=customer, window='30d'), false) * 0.5"
        " + clamp((coalesce(distinct(of=card_id, by=device, window='7d'), 1) - 1) / 10, 0, 0.5)"
    ),
    "anomaly_ip": "clamp((coalesce(distinct(of=card_id, by=ip, window='1h'), 1) - 1) / 10, 0, 1)",
    "anomaly_hour": "hour() / 23",
}


def inputs(check: Callable[[Text], ir.Node]) -> dict[str, ir.Node]:
    """The checked inputs, by their prefixed names. `check` is the compiler's own."""
    found = {}
    for name, expression in INPUTS.items():
        source = Source(f"{PREFIX}{name}", expression)
        scalar = Scalar(source, 0, 0, (0, len(expression)), expression, expression, None, 0, len(expression))
        found[PREFIX + name] = check(Text(scalar))
    return found


def anomaly() -> AnomalyConfig:
    """The shipped detector."""
    return AnomalyConfig("half_space_trees", 25, 8, 250, 42, tuple(PREFIX + name for name in INPUTS))
