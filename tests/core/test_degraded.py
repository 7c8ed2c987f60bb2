"""Decisions without the state: the same as with it wherever the event's own fields tell, and marked where not."""

import json
from typing import Any

import pytest

from engine.config import load
from engine.core.degraded import Degraded, Standing, keys
from engine.core.partition import Partition
from engine.generator.stream import generate
from engine.partitions import core_settings
from engine.ruleset import RuleSet, compile
from engine.ruleset.degraded import DegradedRules
from tests.core.stored import Store

CORE = core_settings(load({}))
NOW_MS = 1_800_000_000_000
OWN = """
lists:
  blocked: {values: [m-1, m-2]}
  nets: {values: [10.0.0.0/8]}
features: [{name: twice, expr: "amount_base * 2"}]
rules:
  - {id: big, when: amount_base > 120, then: {decision: review, score: 30}}
  - {id: huge, when: twice > 900, then: {decision: step_up, score: 20, detail: "{twice} of {merchant_id}"}}
  - {id: moved, when: "type == 'transfer.sent'", then: {decision: review, score: 5}, mode: shadow}
  - {id: some, when: amount > 20, then: {decision: review, score: 7}, mode: "canary: 30%"}
  - {id: net, when: ip in lists.nets, then: {decision: review}}
  - {id: three, when: three_ds, then: {allow: true}}
  - {id: listed, when: merchant_id in lists.blocked, then: {decision: decline}, hard: true}
models: {}
"""


def ruleset(text: str) -> RuleSet:
    return compile({"a.yaml": text})


def standing(rules: RuleSet, head: dict[bytes, bytes] | None = None) -> Standing:
    return Standing(DegradedRules(rules), head or {}, CORE)


def payment(number: int = 1, kind: str = "payment.requested", **fields: Any) -> bytes:
    base = {
        "event_id": f"e{number}",
        "type": kind,
        "event_time": NOW_MS,
        "customer_id": "c1",
        "payment_id": f"p{number}",
    }
    return json.dumps({**base, "amount": 10, "currency": "EUR", **fields}).encode()


def told(made: Degraded) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.body)
    return found


def test_rules_of_own_fields_decide_as_the_partition_does():
    """The oracle is the partition itself, over a generated stream, with lists and snoozes changed on its log."""
    rules, store = ruleset(OWN), Store()
    partition = Partition(rules, CORE)
    stream = [line.rstrip() for line in generate(3_000)]
    bodies = [json.loads(line) for line in stream]
    requests = [body for body in bodies if body["type"] == "payment.requested"]
    merchants, snoozed = [body["merchant_id"] for body in requests[:4]], requests[0]["customer_id"]
    common = {"event_time": NOW_MS}
    later = {"rule": "some", "entity": "customer", "value": snoozed, "until": 4_000_000_000_000}
    records = [
        json.dumps({"event_id": "k1", "type": "control.list", **common, "name": "blocked", "add": merchants}).encode(),
        json.dumps({"event_id": "k2", "type": "control.snooze", **common, **later}).encode(),
    ]
    decided: dict[str, bytes] = {}
    for batch in (records, stream):
        decoded = partition.decode(batch)
        missing = partition.missing(decoded)
        while missing:
            missing = partition.load(missing, [store.get(key) for key in missing])
        effects = partition.apply(decoded, lambda index: {})
        store.take(effects.ops)
        assert effects.dead_lettered == 0
        decided.update((json.loads(body)["event_id"], body) for _, body in effects.decisions)
    assert len(decided) > 300
    head = {key: store[key] for key in keys(rules) if key in store}
    without = standing(rules, head)
    outcomes = set()
    for line in stream:
        event_id = json.loads(line)["event_id"]
        if event_id in decided:
            want = {**json.loads(decided[event_id]), "late": False, "degraded": ["state_unavailable"]}
            assert told(without.answer(line, stored=True)) == want
            outcomes.add(want["decision"])
    assert {"approve", "review", "decline"} <= outcomes


STATEFUL = """
features: [{name: n, agg: count, by: customer, window: 1h}]
rules:
  - {id: open, when: n > 3, then: {decision: decline}}
  - {id: closed, when: amount > 500 and n > 3, then: {decision: step_up, score: 40}, on_degraded: hit}
  - {id: scored, when: score.anomaly > 0.9, then: {decision: review}, on_degraded: hit, mode: shadow}
"""


def test_on_degraded_is_a_hit_like_any_other_and_named():
    without = standing(ruleset(STATEFUL))
    small, large = (told(without.answer(payment(amount=amount), stored=False)) for amount in (10, 900))
    assert (small["decision"], small["rules"], small["score"]) == ("approve", [], 0)
    assert small["degraded"] == ["state_unavailable", "event_not_stored", "assumed:scored"]
    assert (large["decision"], large["rules"], large["shadow"], large["score"]) == (
        "step_up",
        ["closed"],
        ["scored"],
        0.4,
    )
    assert large["degraded"][2:] == ["assumed:closed", "assumed:scored"]
    assert (large["scores"], large["model"], large["late"]) == ({"anomaly": None, "fraud": None}, None, False)


def test_the_same_record_gives_the_same_bytes_on_any_node():
    rules = ruleset(STATEFUL)
    record = payment(amount=900)
    assert standing(rules).answer(record, stored=True) == standing(ruleset(STATEFUL)).answer(record, stored=True)


def test_a_template_shows_nothing_that_the_state_would_know():
    rules = ruleset(
        "features: [{name: n, agg: count, by: customer, window: 1h}, {name: d, expr: 'coalesce(n, 3) + 1'}]\n"
        "rules: [{id: a, when: amount > 1, then: {decision: review, detail: '{d} and {n}'}}]"
    )
    (reason,) = told(standing(rules).answer(payment(), stored=True))["reasons"]
    assert reason["detail"] == "missing and missing"


@pytest.mark.parametrize("kind", ["payment.requested", "payment.authorised", "transfer.sent"])
def test_what_may_carry_a_decision_gets_one(kind):
    fields = {"counterparty_id": "x"} if kind == "transfer.sent" else {}
    assert standing(ruleset(OWN)).answer(payment(kind=kind, amount=200, **fields), stored=True).decision == "review"


def test_other_events_get_none_and_what_is_none_is_refused():
    without = standing(ruleset(OWN))
    assert without.answer(payment(kind="payment.settled"), stored=True) == Degraded(b"")
    refused = without.answer(payment(amount=-1), stored=True)
    assert (refused.refused, told(refused)["reason"]) == (True, "amount_not_positive")
    assert without.answer(b"{", stored=True).refused


def test_a_masked_card_number_is_said():
    made = standing(ruleset(OWN)).answer(payment(metadata={"note": "4111 1111 1111 1111"}), stored=True)
    assert told(made)["degraded"] == ["state_unavailable", "card_number_masked"]
