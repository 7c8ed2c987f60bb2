"""Drift alerts and the fraud model's reasons, through the whole core."""

import asyncio
import json
import random
import re
from typing import Any

import pytest

from engine.adapters.memory_store import MemoryStore
from engine.core.fraud_reasons import FRAUD_MODEL
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ports.store import Commit
from engine.ruleset import compile
from engine.scoring.drift.monitor import HEAD_PAST, HEAD_TODAY

DAY = 86_400_000
START = 1_760_054_400_000  # 2025-10-10T00:00:00Z
DAYS, CHANGE = 26, 23
PAYMENTS = 420
RULES = """
features:
  - {name: amt, expr: amount}
  - {name: pace, agg: count, by: customer, window: 1h}
  - {name: odd_shop, expr: "merchant_id == 'm0'"}
models:
  anomaly: {detector: tails, inputs: [amt]}
  fraud: {inputs: [amt, pace, odd_shop], plain: [amt]}
rules:
  - {id: top, description: among the most suspect, when: score.fraud_top <= 0.05, then: {decision: review, reason: TOP}}
  - {id: odd, description: far out, when: score.anomaly_top <= 0.001, then: {decision: step_up, reason: ODD}}
  - {id: big, description: big, when: amount > 5000, then: {decision: decline, reason: BIG}}
"""
RULESET = compile({"a.yaml": RULES})


def history() -> list[bytes]:
    """Frauds are at one shop, labelled after two days. All amounts rise on one day."""
    draw = random.Random(4)
    events: list[dict[str, Any]] = []
    for day in range(DAYS):
        for number in range(PAYMENTS):
            time_ms = START + day * DAY + number * DAY // PAYMENTS
            fraud = draw.random() < 0.1
            shop = "m0" if fraud or draw.random() < 0.002 else f"m{draw.randrange(1, 30)}"
            name = f"{day}-{number}"
            amount = round(draw.lognormvariate(5.0 if day >= CHANGE else 3.5, 0.5) + 0.01, 2)
            payment = {"customer_id": f"c{draw.randrange(200)}", "payment_id": f"p{name}"}
            events.append(
                {"type": "payment.authorised", "event_id": f"e{name}", "event_time": time_ms, "merchant_id": shop,
                 "amount": amount, "currency": "EUR", **payment}
            )  # fmt: skip
            if fraud:
                label = {"type": "label.assigned", "event_id": f"l{name}", "event_time": time_ms + 2 * DAY}
                events.append({**label, "label": "fraud", **payment})
    events.sort(key=lambda event: (event["event_time"], event["event_id"]))
    return [json.dumps(event).encode() for event in events]


RECORDS = history()


async def run(
    batch: int, drop: int = 0, damage: tuple[int, bytes] | None = None
) -> tuple[list[Any], dict[bytes, bytes]]:
    """Outputs and head of a run in batches of `batch`, the memory dropped after every `drop` of them.

    `damage`: from that day on a key of the head was found damaged at one restart.
    """
    store, outputs = MemoryStore(), []
    partition = Partition(RULESET, CoreSettings())
    for number, start in enumerate(range(0, len(RECORDS), batch)):
        records = RECORDS[start : start + batch]
        decoded = partition.decode(records)
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, await store.load(0, keys))
        effects = partition.apply(decoded, lambda index: {"offset": index})
        await store.commit(Commit(0, start - 1 if start else -1, start + len(records) - 1, effects.ops))
        outputs += [(output.kind, json.loads(output.data)) for output in effects.outputs]
        if drop and number % drop == 0:
            head = dict((await store.open(0)).state)
            if damage is not None and json.loads(records[-1])["event_time"] >= START + damage[0] * DAY:
                head[damage[1]] = head[damage[1]][:-1]
                damage = None
            partition.restore(head)
    return outputs, (await store.open(0)).state


@pytest.fixture(scope="module")
def expected() -> tuple[list[Any], dict[bytes, bytes]]:
    return asyncio.run(run(700))


def alerts(outputs: list[Any], kind: str) -> list[dict[str, Any]]:
    return [data for what, data in outputs if what == "alert" and data["kind"] == kind]


def test_a_change_of_the_payments_is_told_once(expected: tuple[list[Any], Any]) -> None:
    found = alerts(expected[0], "drift")
    assert [alert["title"] for alert in found if "amt" in alert["title"]] == ["drift: amt not distributed as before"]
    alert = next(alert for alert in found if "amt" in alert["title"])
    assert alert["severity"] == "high" and alert["customer_id"] == "" and alert["suggested_action"]
    assert (
        alert["event_id"] == f"e{CHANGE + 1}-18"
    )  # the first after the clock, an hour late, has come to the day's end
    (reason,) = alert["reasons"]
    assert reason["code"] == "DRIFT_INPUT" and reason["rule"] == ""
    assert re.fullmatch(r"amt from \d+ up in \d+\.\d % of payments, before in \d+\.\d %", reason["detail"])
    assert len({alert["alert_id"] for alert in found}) == len(found)


def test_alerts_say_why_the_model_scored_high(expected: tuple[list[Any], Any]) -> None:
    decisions = {data["event_id"]: data for what, data in expected[0] if what == "decision"}
    modelled = 0
    for data in decisions.values():
        of_model = [reason for reason in data["reasons"] if reason["code"] == FRAUD_MODEL]
        assert not of_model or data["decision"] != "approve"
        assert data["reasons"][len(data["reasons"]) - len(of_model) :] == of_model  # after those of rules
        assert len(of_model) <= 3
        for reason in of_model:
            assert re.fullmatch(r"\S+ \S+( \(usually \S+\))?: \+\d+\.\d", reason["detail"]), reason
        modelled += bool(of_model)
    assert modelled > 50
    told = [alert for alert in alerts(expected[0], "fraud") if any(r["code"] == FRAUD_MODEL for r in alert["reasons"])]
    assert len(told) == modelled
    assert not any(FRAUD_MODEL in alert["title"] for alert in told)
    first = [alert["reasons"][1]["detail"] for alert in told if "TOP" in alert["title"]]
    assert sum(line.startswith("odd_shop 1 (usually 0): +") for line in first) > 0.9 * len(first)


@pytest.mark.parametrize(("batch", "drop"), [(2_500, 0), (97, 5)])
def test_nothing_depends_on_batches_and_restarts(
    expected: tuple[list[Any], dict[bytes, bytes]], batch: int, drop: int
) -> None:
    outputs, head = asyncio.run(run(batch, drop))
    assert outputs == expected[0]
    assert {k: v for k, v in head.items() if k in (HEAD_PAST, HEAD_TODAY)} == {
        k: v for k, v in expected[1].items() if k in (HEAD_PAST, HEAD_TODAY)
    }


def test_a_damaged_monitor_begins_anew_and_somebody_is_told() -> None:
    outputs, _ = asyncio.run(run(700, 1, (5, HEAD_PAST)))
    (alert,) = alerts(outputs, "operations")
    assert "drift monitor is damaged" in alert["reasons"][0]["detail"]


def test_an_explanation_has_the_models_reasons() -> None:
    partition = Partition(RULESET, CoreSettings(), backed=False)
    explained = 0
    for start in range(0, len(RECORDS), 1_000):
        decoded = partition.decode(RECORDS[start : start + 1_000])
        effects = partition.apply(decoded, lambda index: {}, frozenset(range(0, 1_000, 50)))
        for body in effects.explanations.values():
            lines = json.loads(body)["fraud_model"]
            assert len(lines) <= 3
            explained += bool(lines)
    assert explained > 0
