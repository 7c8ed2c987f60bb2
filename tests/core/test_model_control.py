"""`control.model`: adopted at its place, whatever the batches, the store and the restarts; refused where it must be."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine.core.controls import stretches
from engine.core.effects import Output
from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.times import DAY_MS
from engine.ruleset import RuleSet, compile
from engine.scoring.fraud_model import LearnerSettings
from engine.scoring.snapshot import describe, model_hash
from tests.core.stored import Store, step
from tests.support.learned import GAP_MS, control, history, rules

CORE = CoreSettings(
    labels=LabelSettings(maturity_ms=DAY_MS), learning=LearnerSettings(known_min=200.0), snapshot_every=50
)
ONE = compile({"rules.yaml": rules()})
OTHER_INPUTS = compile({"rules.yaml": rules().replace("[paid, spent, often]", "[paid, often]")})
WITHOUT = compile({"rules.yaml": "rules: []\nmodels: {anomaly: null}\n"})
NOWHERE = "p" * 32


class Ran:
    """What came of records.

    Attributes:
        outputs: in order.
        models: every snapshot that was told, by its hash, in the order of the first time.
        served: version by event id of a payment.
    """

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.models: dict[str, bytes] = {}

    @property
    def served(self) -> dict[str, str]:
        decisions = [json.loads(output.data) for output in self.outputs if output.kind == "decision"]
        return {decision["event_id"]: (decision["model"] or "").rpartition("+")[2] for decision in decisions}

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        found = [json.loads(output.data) for output in self.outputs if output.kind == kind]
        return [body for body in found if kind != "alert" or body["kind"] == "operations"]


def run(
    records: Sequence[bytes],
    size: int,
    models: Callable[[str], bytes | None] = lambda model: None,
    ruleset: RuleSet = ONE,
    restart_every: int = 10**9,
) -> Ran:
    """In batches of a size; with a restart every so many batches, half of which come between adoption and commit."""
    partition, store, ran = Partition(ruleset, CORE, models=models), Store(), Ran()
    for number, (start, end) in enumerate(stretches(records, size)):
        if number % restart_every == restart_every - 1:
            partition.missing(partition.decode(records[start:end]))
            partition.restore(store.head())
        effects = step(partition, store, records[start:end], start)
        ran.outputs += effects.outputs
        for data in effects.models:
            ran.models.setdefault(model_hash(data), data)
    return ran


@pytest.fixture(scope="module")
def plain() -> Ran:
    return run(history(payments=1_400, gap_ms=3 * GAP_MS), 500)


def at(records: Sequence[bytes], place: int) -> int:
    time_ms: int = json.loads(records[place])["event_time"]
    return time_ms


def steered(plain: Ran) -> list[bytes]:
    """The history with a rollback in it, a return, a name that nobody knows, and a start with an early version."""
    records = history(payments=1_400, gap_ms=3 * GAP_MS)
    old, early = list(plain.models)[10], list(plain.models)[3]
    orders = {1_000: ("pin", old), 1_080: ("follow", None), 1_200: ("pin", NOWHERE), 1_400: ("start", early)}
    for place, (mode, model) in sorted(orders.items(), reverse=True):
        records.insert(place, control(mode, model, place, at(records, place)))
    return records


def test_a_model_serves_from_its_offset_however_the_log_is_cut_and_the_shard_restarted(plain: Ran) -> None:
    records = steered(plain)
    expected = run(records, 500, plain.models.get)
    old, early = list(plain.models)[10], list(plain.models)[3]
    pinned = [json.loads(record)["event_id"] for record in records[1_001:1_080] if b"payment.requested" in record]
    assert {expected.served[event] for event in pinned} == {describe(plain.models[old]).version}
    assert len({plain.served[event] for event in pinned}) > 3  # which would have followed one another
    after = [json.loads(record)["event_id"] for record in records[1_083:1_400] if b"payment.requested" in record]
    assert [expected.served[event] for event in after] == [plain.served[event] for event in after]
    started = next(json.loads(record)["event_id"] for record in records[1_404:] if b"payment.requested" in record)
    assert expected.served[started] == describe(plain.models[early]).version
    assert len(set(list(expected.served.values())[-60:])) > 3  # and it learns on
    for size, restart_every in ((7, 10**9), (60, 1), (11, 5)):
        again = run(records, size, plain.models.get, restart_every=restart_every)
        assert again.outputs == expected.outputs, (size, restart_every)
        assert set(again.models) == set(expected.models)


def test_one_that_cannot_serve_is_refused_and_told(plain: Ran) -> None:
    records = history(payments=30)
    known = next(iter(plain.models))
    cases = [
        (ONE, ("pin", NOWHERE), "unknown_model", "no model pppp"),
        (ONE, ("start", None), "unknown_model", "names no model"),
        (ONE, ("start", known), "unusable_model", "has come to"),
        (OTHER_INPUTS, ("pin", known), "unusable_model", "another configuration"),
        (WITHOUT, ("pin", known), "unusable_model", "no fraud model"),
        (WITHOUT, ("follow", None), "unusable_model", "no fraud model"),
        (ONE, ("leap", known), "invalid_value", "mode"),
        (ONE, ("pin", "0" * 32), "invalid_value", "model"),
    ]
    for ruleset, (mode, model), reason, detail in cases:
        order = control(mode, model, 1, at(records, 20))
        ran = run([*records[:20], order, *records[20:]], 500, plain.models.get, ruleset)
        (letter,) = ran.bodies("dead_letter")
        assert letter["reason"] == reason and detail in letter["detail"], letter
        assert len(ran.bodies("alert")) == (reason != "invalid_value")
        for alert in ran.bodies("alert"):
            assert alert["reasons"][0]["code"] == "MODEL_REFUSED" and detail in alert["reasons"][0]["detail"]
        assert len(ran.served) == len(run(records, 500, ruleset=ruleset).served)


def test_a_pin_ends_where_the_rules_ask_for_another_model(plain: Ran) -> None:
    records = history(payments=1_400, gap_ms=3 * GAP_MS)
    time_ms = at(records, 900)
    switch = {"type": "control.rules", "event_id": "s", "event_time": time_ms, "ruleset": OTHER_INPUTS.hash}
    pin = control("pin", next(iter(plain.models)), 1, time_ms)
    records = [*records[:900], pin, *records[900:950], json.dumps(switch).encode(), *records[950:1_000]]
    partition = Partition(ONE, CORE, rulesets={OTHER_INPUTS.hash: OTHER_INPUTS}.get, models=plain.models.get)
    versions = []
    for start, end in stretches(records, 300):
        partition.apply(partition.decode(records[start:end]), lambda index: {"offset": index})
        versions.append(partition.models.version)
    assert versions[-2] == f"tails1-m500-i1+{describe(next(iter(plain.models.values()))).version}"
    assert versions[-1] == "tails1-m500-i1+log1-none"
