"""Nothing learns from a label before it has arrived: no feature and no score of the shipped models in the engine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset import compile

MODELS = Path(__file__).parents[2] / "rules" / "models.yaml"
START = 1_767_225_600_000
DAY = 86_400_000
DAYS, A_DAY, LATE_DAYS = 22, 250, 8
TURNED = 19
"""From this day on labels say the opposite. The first model is adopted some days before."""


def stream(turned: int) -> list[bytes]:
    """Payments, some of terminals that leak cards and some far too large; labels of a day eight days later."""
    draw = np.random.default_rng(12)
    lines, waiting = [], []
    for day in range(DAYS):
        for payment, customer, fraud in waiting[max(0, day - LATE_DAYS)] if day >= LATE_DAYS else ():
            label = "fraud" if fraud != (day >= turned) else "legitimate"
            body = {"type": "label.assigned", "event_id": f"l{payment}", "payment_id": payment, "label": label}
            lines.append({**body, "event_time": START + day * DAY, "customer_id": customer})
        today = []
        for number, second in enumerate(np.sort(draw.integers(0, DAY // 1000, A_DAY)).tolist()):
            customer, terminal = int(draw.integers(60)), int(draw.integers(30))
            large = draw.random() < 0.01
            fraud = bool(large or (terminal in (3, 9 + day // 6) and draw.random() < 0.4))
            payment = f"p{day}_{number}"
            amount = draw.lognormal(3 + customer % 5 / 5, 0.4) * (8 if large else 1)
            event = {"type": "payment.authorised", "event_id": f"e{payment}", "payment_id": payment, "currency": "EUR"}
            place = {"customer_id": f"c{customer}", "terminal_id": f"t{terminal}", "amount": f"{amount:.2f}"}
            lines.append({**event, **place, "event_time": START + day * DAY + second * 1000})
            today.append((payment, f"c{customer}", fraud))
        waiting.append(today)
    return [json.dumps(line).encode() for line in lines]


def seen(records: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[tuple[int, dict[str, Any]]]]:
    """The features of every event, and the decisions with their times."""
    partition = Partition(compile({"models.yaml": MODELS.read_text()}), CoreSettings(), backed=False, features_out=True)
    features: list[dict[str, Any]] = []
    decisions: list[tuple[int, dict[str, Any]]] = []
    for start in range(0, len(records), 500):
        effects = partition.apply(partition.decode(records[start : start + 500]), lambda index: {"offset": index})
        features += [json.loads(line) for line in effects.features]
        decisions += [
            (output.time_ms, json.loads(output.data)) for output in effects.outputs if output.kind == "decision"
        ]
    return features, decisions


def test_labels_turned_around_change_nothing_before_they_arrive() -> None:
    plain, turned = stream(DAYS), stream(TURNED)
    at = next(place for place, (one, other) in enumerate(zip(plain, turned, strict=True)) if one != other)
    assert json.loads(plain[at])["event_time"] == START + TURNED * DAY
    (features, decisions), (features_then, decisions_then) = seen(plain), seen(turned)
    assert features[:at] == features_then[:at]
    decided = sum(time_ms < START + TURNED * DAY for time_ms, _ in decisions)
    assert decisions[:decided] == decisions_then[:decided]
    assert sum(decision["scores"]["fraud"] is not None for _, decision in decisions[:decided]) > A_DAY
    assert features[at:] != features_then[at:]
    scores = [[decision["scores"]["fraud"] for _, decision in found[decided:]] for found in (decisions, decisions_then)]
    assert scores[0] != scores[1]
