"""The fraud model at work in a partition: the same scores in any batches, through restarts and changes of the rules."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from engine.core.casebook import PERIOD_MS
from engine.core.controls import stretches
from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import KEY_HEAD, KEY_LABEL, KEY_MATURING, unpack
from engine.domain.times import DAY_MS
from engine.generator import Settings, generate
from engine.ruleset import RuleSet, compile
from engine.scoring.fraud_model import LearnerSettings
from tests.core.cutting import bodies, cut, switched
from tests.core.rig import HOUR, MINUTE
from tests.core.stored import Store, step

MODELS = """
models:
  anomaly: {detector: tails, memory: 500, inputs: [many, spent]}
  fraud: {learner: LEARNER, inputs: [INPUTS], plain: [many]}
"""
FEATURES = """
features:
  - {name: many, agg: count, by: customer, window: 1h}
  - {name: spent, agg: sum, of: amount, by: customer, window: 24h}
  - {name: devices, agg: distinct, of: device_id, by: customer, window: 24h}
  - {name: device_frauds, agg: fraud_count, by: device, window: 28d}
"""
RULES = """
rules:
  - {id: likely, description: d, when: score.fraud > 0.3, then: {decision: review, reason: LIKELY}}
  - {id: big, description: d, when: amount > LIMIT, then: {decision: decline, reason: BIG}}
"""


def rules(learner: str = "logistic", inputs: str = "many, spent, device_frauds", limit: int = 800) -> RuleSet:
    models = MODELS.replace("LEARNER", learner).replace("INPUTS", inputs)
    return compile({"rules.yaml": models + FEATURES + RULES.replace("LIMIT", str(limit))})


ONE = rules()
OTHER_RULES = rules(limit=500)
OTHER_INPUTS = rules(inputs="many, devices")
TREES = rules("boosted_trees")
NONE = compile({"rules.yaml": FEATURES + RULES.replace("LIMIT", "500") + "models: {anomaly: null}\n"})
SETS = {one.hash: one for one in (ONE, OTHER_RULES, OTHER_INPUTS, TREES, NONE)}
CORE = CoreSettings(
    labels=LabelSettings(maturity_ms=6 * HOUR),
    learning=LearnerSettings(frauds_min=1, known_min=20.0),
    snapshot_every=50,
)
STREAM = Settings(seed=5, customers=120, rate=1_500.0, fraud_rate=0.15, late_share=0.02, duplicate_share=0.01)


def history(switches: Sequence[tuple[int, RuleSet]], events: int = 2_400) -> list[bytes]:
    """The generator's stream, frauds labelled when they are four hours old, with changes of the rules."""
    found: list[bytes] = []
    told: list[tuple[str, dict[str, Any]]] = []
    for number, value in enumerate(generate(events, STREAM)):
        event = json.loads(value)
        if event["type"] == "payment.requested" and number % 9 == 0:
            told.append((event["event_time"], event))
        while told and event["event_time"][:13] > told[0][0][:13]:
            _, paid = told.pop(0)
            label = {
                "type": "label.assigned", "event_id": f"l{len(found)}", "event_time": event["event_time"],
                "customer_id": paid["customer_id"], "payment_id": paid["payment_id"], "label": "fraud",
            }  # fmt: skip
            found.append(json.dumps(label).encode())
        found.append(value)
    return switched(found, switches)


def run(first: RuleSet, records: Sequence[bytes], batch: int, drop: int) -> tuple[list[bytes], Counter[str]]:
    """Decisions and counts of a run; see `cut`."""
    effects = cut(Partition(first, CORE, rulesets=SETS.get), Store(), records, batch, drop)
    counts = Counter[str]()
    for one in effects:
        counts.update(one.labels)
    return bodies(effects, "decision"), counts


@pytest.mark.parametrize(
    ("first", "switches"),
    [
        (ONE, ()),
        (TREES, ()),
        (ONE, ((1_000, OTHER_RULES), (1_400, OTHER_INPUTS))),
        (ONE, ((1_500, NONE), (1_600, TREES), (1_700, ONE))),
    ],
)
def test_a_shard_scores_the_same_however_it_is_cut_and_restarted(
    first: RuleSet, switches: tuple[tuple[int, RuleSet], ...]
) -> None:
    records = history(switches)
    expected = run(first, records, len(records), 1_000)
    scored = [json.loads(decision) for decision in expected[0]]
    assert sum(decision["scores"]["fraud"] is not None for decision in scored) > 50
    assert expected[1]["matured"] > 200 and expected[1]["fraud"] > 50
    for batch, drop in ((7, 20), (100, 1)):
        assert run(first, records, batch, drop) == expected


def test_decisions_name_the_model_and_say_that_it_is_not_ready() -> None:
    decisions, _ = run(ONE, history(()), 500, 1_000)
    found = [json.loads(decision) for decision in decisions]
    assert found[0]["model"] == "tails1-m500-i2+log1-none"
    assert "fraud_not_ready" in found[0]["degraded"] and found[0]["scores"]["fraud"] is None
    assert "fraud_not_ready" not in found[-1]["degraded"] and 0.0 <= found[-1]["scores"]["fraud"] <= 1.0
    assert len({one["model"] for one in found}) > 2
    ready = [one for one in found if one["scores"]["fraud"] is not None]
    assert {one["decision"] for one in ready if one["scores"]["fraud"] > 0.3} <= {"review", "decline"}
    weighted = [one for one in ready if not one["rules"] and one["scores"]["anomaly"] is not None]
    for one in weighted[:50]:
        anomaly, fraud = one["scores"]["anomaly"], one["scores"]["fraud"]
        assert one["score"] == pytest.approx(1 - (1 - 0.2 * anomaly) * (1 - 0.6 * fraud), abs=1e-6)


def test_other_rules_keep_the_model_and_other_inputs_begin_another() -> None:
    place = 1_500
    kept, _ = run(ONE, history(((place, OTHER_RULES),)), 500, 1_000)
    anew, _ = run(ONE, history(((place, OTHER_INPUTS),)), 500, 1_000)
    after = [[json.loads(one) for one in found if json.loads(one)["ruleset"] != ONE.hash] for found in (kept, anew)]
    assert after[0][0]["scores"]["fraud"] is not None and after[1][0]["scores"]["fraud"] is None


def test_a_damaged_model_is_put_aside_and_somebody_is_told() -> None:
    partition, store, records = Partition(ONE, CORE), Store(), history(())
    cut(partition, store, records[:-2], 300, 1_000)
    head = store.head()
    assert KEY_HEAD + b"fraud/before" in head
    head[KEY_HEAD + b"fraud/snapshot"] = head[KEY_HEAD + b"fraud/snapshot"][:-9] + b"\0" * 9
    partition.restore(head)
    damaged = step(partition, store, records[-2:-1], len(records) - 2)
    partition.restore(store.head())
    mended = step(partition, store, records[-1:], len(records) - 1)
    alerts = [json.loads(output.data) for output in damaged.outputs if output.kind == "alert"]
    assert [alert["reasons"][0]["code"] for alert in alerts if alert["kind"] == "operations"] == ["MODEL_FAULT"]
    assert damaged.learning is not None and damaged.learning.problems == 1
    assert not damaged.learning.version.endswith("none")
    assert not [output for output in mended.outputs if b"MODEL_FAULT" in output.data]
    assert mended.learning is not None and mended.learning.problems == 0


def payment(number: int, time_ms: int, customer: int) -> bytes:
    body = {
        "type": "payment.requested", "event_id": f"e{number}", "payment_id": f"p{number}", "amount": 5,
        "event_time": time_ms, "customer_id": f"c{customer}", "currency": "EUR",
    }  # fmt: skip
    return json.dumps(body).encode()


def test_what_is_kept_is_bounded_by_event_time() -> None:
    partition = Partition(ONE, CORE, backed=False)
    for day in range(120):
        records = [payment(day * 8 + i, (20_000 + day) * DAY_MS + i * HOUR, i % 3) for i in range(8)]
        partition.apply(partition.decode(records), lambda index: {})
    periods = partition._desk._book._books
    assert len(periods) <= CORE.labels.horizon_ms // PERIOD_MS + 3
    assert partition._desk._maturing.buckets <= 8


def test_a_customer_who_pays_again_is_given_no_expiry_again() -> None:
    partition = Partition(ONE, CORE)
    ttls, maturing = [], set()
    for number in range(40):
        decoded = partition.decode([payment(number, 20_000 * DAY_MS + number * MINUTE, 0)], [number])
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, [None] * len(keys))
        for op in unpack(partition.apply(decoded, lambda index: {}).ops):
            if op.key[:1] == KEY_LABEL:
                ttls.append(op.ttl_hours)
            if op.key[:1] == KEY_MATURING:
                maturing.add(op.key)
    assert ttls == [(CORE.labels.horizon_ms + PERIOD_MS + 4 * DAY_MS) // HOUR] + [0] * 39
    assert len(maturing) == 1


class Failing:
    """A trainer whose work never comes to anything."""

    def submit(self, job: Any) -> Any:
        return self

    def result(self) -> Any:
        raise MemoryError("no room")


def test_learning_that_fails_stops_no_payment_and_is_told_once_a_boundary() -> None:
    records = history(())
    partition = Partition(ONE, CORE, backed=False, trainer=Failing())
    outputs, decided = [], 0
    for start, end in stretches(records, 100):
        effects = partition.apply(partition.decode(records[start:end]), lambda index: {})
        outputs += effects.outputs
        decided += len(effects.decisions)
    told = [reason["detail"] for o in outputs if o.kind == "alert" for reason in json.loads(o.data)["reasons"]
            if reason["code"] == "MODEL_FAULT"]  # fmt: skip
    assert decided > 500 and told and len(told) == len(set(told))
    assert all("MemoryError: no room" in text for text in told)
