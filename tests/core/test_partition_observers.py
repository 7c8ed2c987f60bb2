"""Observer rules in the partition: beside decisions, with features, snoozes, ticks and changes of the rules."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engine.core.controls import stretches
from engine.core.effects import Effects, Output
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.generator import generate
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
from engine.ruleset.ruleset import RuleSet
from tests.core.rig import DAY, HOUR, MINUTE, event
from tests.core.stored import Store, step
from tests.core.test_partition import STREAM

START = 1_760_000_000_000
WATCHING = """
features:
  - {name: h4_failed_1h, agg: count, by: acquirer, window: 1h, where: "type in ['payment.failed', 'payment.declined']"}
  - {name: h4_tried_1h, agg: count, by: acquirer, window: 1h, where: "type == 'payment.authorised'"}
  - {name: h4_failure_rate, expr: "h4_failed_1h / (h4_failed_1h + h4_tried_1h)"}
tables: {h4_other: {acq_a: acq_b}}
rules:
  - {id: h4_large, when: amount > 900, then: {decision: review}}
  - id: h4_acquirer_fails
    on: [payment.failed, payment.declined]
    when: h4_failed_1h >= 2 and h4_failure_rate > 0.01
    then: {alert: operations, severity: high, reason: H4_FAILS, title: "{acquirer}: {h4_failed_1h} failed",
           action: "route over {h4_other[acquirer]}", by: [acquirer], every: 30m}
  - id: h4_unsettled
    on: [payment.authorised]
    when: amount > 20
    unless_followed_by: {types: [payment.settled], same: payment_id, within: 2h}
    then: {alert: operations, title: "{payment_id}"}
  - id: h4_silent_customer
    on: [any]
    when: amount > 0
    unless_followed_by: {same: customer_id, within: 10m}
    then: {alert: abuse}
  - id: h4_requests
    when: amount > 100
    then: {alert: fraud, by: [customer], every: 1h}
"""


@pytest.fixture(scope="module")
def alone() -> RuleSet:
    return compile_rules({"watching.yaml": WATCHING})


def in_memory(ruleset: RuleSet, records: Sequence[bytes | None], size: int) -> tuple[list[Output], dict[str, int]]:
    partition = Partition(ruleset, CoreSettings(), backed=False)
    outputs: list[Output] = []
    counts: dict[str, int] = {}
    for start, end in stretches(records, size):
        effects = partition.apply(partition.decode(records[start:end]), lambda i, start=start: {"offset": start + i})
        assert effects.ops == b""
        outputs += effects.outputs
        for name, count in effects.observed.items():
            counts[name] = counts.get(name, 0) + count
    return outputs, counts


def stored(ruleset: RuleSet, records: Sequence[bytes | None], size: int, restart_every: int) -> list[Output]:
    store, outputs = Store(), []
    partition = Partition(ruleset, CoreSettings())
    for number, (start, end) in enumerate(stretches(records, size)):
        if number % restart_every == 0:
            partition = Partition(ruleset, CoreSettings(entities_max=50, customers_max=50))
            partition.restore(store.head())
        outputs += step(partition, store, records[start:end], start).outputs
    return outputs


def test_with_the_shipped_rules_batches_and_restarts_change_nothing() -> None:
    ruleset = compile_rules({**read(rules_directory()), "zz_watching.yaml": WATCHING})
    records: list[bytes | None] = list(generate(2_500, STREAM))
    whole, counts = in_memory(ruleset, records, 500)
    assert in_memory(ruleset, records[:900], 7) == in_memory(ruleset, records[:900], 1)
    assert in_memory(ruleset, records, 97) == (whole, counts)
    assert stored(ruleset, records, 97, 5) == whole
    mine = [rule.id for rule in ruleset.observers if rule.id.startswith("h4_")]
    assert len(mine) == 4
    assert all(counts.get(name, 0) > 0 for name in mine), counts
    ids = [output.id for output in whole]
    assert len(set(ids)) == len(ids)


class Run:
    """A partition that is told one thing at a time."""

    def __init__(self, ruleset: RuleSet, **rulesets: RuleSet) -> None:
        known = {one.hash: one for one in rulesets.values()}
        self.partition = Partition(ruleset, CoreSettings(), backed=False, rulesets=known.get)
        self.effects = Effects()

    def tell(self, *records: dict[str, Any]) -> list[dict[str, Any]]:
        decoded = self.partition.decode([json.dumps(record).encode() for record in records])
        self.effects = self.partition.apply(decoded, lambda index: {"line": index})
        return [json.loads(output.data) for output in self.effects.outputs]


def control(number: int, kind: str, time_ms: int = START, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"k{number}", "type": f"control.{kind}", "event_time": time_ms, **fields}


def failure(number: int, minutes: int, **fields: Any) -> dict[str, Any]:
    return event(number, "payment.failed", START + minutes * MINUTE, acquirer="acq_a", **{"amount": "0.01", **fields})


def test_an_alert_says_what_its_templates_and_features_say(alone: RuleSet) -> None:
    run = Run(alone)
    assert run.tell(failure(1, 0)) == []
    (alert,) = run.tell(failure(2, 1, customer=2))
    assert alert == {
        "alert_id": alert["alert_id"],
        "kind": "operations",
        "severity": "high",
        "event_id": "e2",
        "customer_id": "c2",
        "title": "acq_a: 2 failed",
        "reasons": [{"code": "H4_FAILS", "rule": "h4_acquirer_fails", "detail": "acq_a: 2 failed"}],
        "suggested_action": "route over acq_b",
    }
    assert run.effects.outputs[0].key == b"c2"
    assert run.tell(failure(3, 2)) == []
    assert len(run.tell(failure(4, 31))) == 1


def test_what_did_not_happen_is_told_before_the_decision_that_shows_it(alone: RuleSet) -> None:
    run = Run(alone)
    assert len(run.tell(event(1, "payment.authorised", START, amount=50))) == 1
    told = run.tell(
        event(2, "account.login", START + HOUR),
        event(3, "payment.requested", START + 4 * HOUR, customer=1, amount=950),
    )
    assert [body["event_id"] for body in told] == ["e1", "e1", "e3", "e3", "e3"]
    assert [body.get("kind", "decision") for body in told] == ["abuse", "operations", "decision", "fraud", "fraud"]
    assert [output.time_ms for output in run.effects.outputs[:2]] == [START + 10 * MINUTE, START + 2 * HOUR]


def test_a_duplicate_moves_no_clock_and_a_rejected_record_neither(alone: RuleSet) -> None:
    run = Run(alone)
    first = event(1, "payment.authorised", START, amount=50)
    run.tell(first)
    assert run.tell({**first, "event_time": START + 5 * HOUR}) == []
    assert [body["reason"] for body in run.tell(event(2, "payment.authorised", START + 5 * HOUR, amount=-1))]
    assert run.effects.observed == {}
    assert run.partition.waiting == START


def test_a_tick_wakes_a_quiet_shard_and_is_accepted(alone: RuleSet) -> None:
    run = Run(alone)
    run.tell(event(1, "payment.authorised", START, amount=50))
    assert len(run.tell(control(1, "tick", START + DAY))) == 2
    assert (run.effects.accepted, run.effects.dead_lettered) == (1, 0)
    assert run.partition.waiting is None
    assert run.tell(control(1, "tick", START + DAY)) == []


def test_a_snoozed_observer_is_counted_and_says_nothing(alone: RuleSet) -> None:
    run = Run(alone)
    fields = {"rule": "h4_unsettled", "entity": "customer", "value": "c0", "until": START + HOUR}
    run.tell(control(1, "snooze", START, **fields))
    run.tell(event(1, "payment.authorised", START, amount=50), event(2, "payment.authorised", START, 1, amount=50))
    told = run.tell(control(2, "tick", START + DAY))
    assert [body["event_id"] for body in told if body["kind"] == "operations"] == ["e2"]
    assert run.effects.observed == {"h4_unsettled": 2, "h4_silent_customer": 2}


def test_a_change_of_rules_keeps_the_watches_of_the_rules_that_stay(alone: RuleSet) -> None:
    other = compile_rules({"watching.yaml": WATCHING.replace("h4_silent_customer", "h4_new").replace("2h", "5h")})
    run = Run(alone, other=other)
    run.tell(event(1, "payment.authorised", START, amount=50))
    run.tell(control(1, "rules", ruleset=other.hash))
    run.tell(event(2, "payment.authorised", START, customer=1, amount=50))
    told = run.tell(control(2, "tick", START + 2 * HOUR + HOUR))
    assert [(body["kind"], body["event_id"]) for body in told] == [("abuse", "e2"), ("operations", "e1")]
    assert [body["event_id"] for body in run.tell(control(3, "tick", START + DAY))] == ["e2"]
