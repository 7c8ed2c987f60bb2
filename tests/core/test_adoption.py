"""Control events: adopted at their place, whatever the batches, the store and the restarts."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import lists, snoozes
from engine.core.adoption import HEAD_RULESET, UnknownRuleSet
from engine.core.controls import may_be_control, stretches
from engine.core.effects import Output
from engine.core.lists import HEAD_LIST
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain import reasons
from engine.domain.events import CONTROL_TYPES
from engine.features.definition import FeatureLimits
from engine.ruleset import RuleSet
from engine.ruleset import compile as compile_rules
from engine.service import journal
from tests.core.adoption_world import (
    NOWHERE,
    ONE,
    SETS,
    T0,
    TWO,
    Oracle,
    encoded,
    histories,
)
from tests.core.stored import Store, step

TINY = CoreSettings(entities_max=2, customers_max=1)


def in_memory(records: Sequence[bytes | None], size: int) -> list[Output]:
    partition = Partition(ONE, CoreSettings(), backed=False, rulesets=SETS.get)
    outputs: list[Output] = []
    for start, end in stretches(records, size):
        decoded = partition.decode(records[start:end])
        effects = partition.apply(decoded, lambda index, start=start: {"offset": start + index})
        assert effects.accepted + effects.dead_lettered + len(effects.duplicates) == end - start
        outputs += effects.outputs
    return outputs


def stored(records: Sequence[bytes | None], size: int, restart_every: int) -> tuple[list[Output], Store]:
    """Against a store, with a cold restart every so many batches, half of them between adoption and commit."""
    store, outputs = Store(), []
    partition = Partition(ONE, TINY, rulesets=SETS.get)
    for number, (start, end) in enumerate(stretches(records, size)):
        if number % restart_every == 0:
            if number:  # a batch that is begun and never committed leaves nothing behind
                partition.missing(partition.decode(records[start:end]))
            partition.restore(store.head())
        outputs += step(partition, store, records[start:end], start).outputs
    return outputs, store


def told(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """What the oracle speaks of."""
    names = {"decision": ("rules", "shadow", "ruleset"), "dead_letter": ("reason",)}
    found = []
    for output in outputs:
        body = json.loads(output.data)
        if output.kind in names:
            found.append({name: body[name] for name in names[output.kind]})
        elif output.kind == "alert" and body["kind"] == "operations":
            found.append({"kind": "operations"})
    return found


@settings(max_examples=60, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_every_event_is_judged_by_what_is_in_force_at_its_place(history: list[dict[str, Any]], draw: Any) -> None:
    records = [encoded(record, escaped=draw.random() < 0.3) for record in history]
    oracle = Oracle()
    expected = [parts for record in history if (parts := oracle.tell(record)) is not None]
    outputs = in_memory(records, 500)
    assert told(outputs) == expected
    for size in (1, 7):
        assert in_memory(records, size) == outputs
    for size, restart_every in ((1, 3), (7, 1), (500, 2)):
        again, store = stored(records, size, restart_every)
        assert again == outputs
        if history:
            assert store[HEAD_RULESET].decode() == oracle.ruleset.hash


def partition() -> Partition:
    return Partition(ONE, CoreSettings(), backed=False, rulesets=SETS.get)


def source(index: int) -> dict[str, Any]:
    return {"offset": index}


def run(machine: Partition, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs' bodies; each record is a batch of its own."""
    bodies = []
    for record in records:
        full = {"event_id": f"x{record}"[:128], "event_time": T0, **record}
        effects = machine.apply(machine.decode([encoded(full)]), source)
        bodies += [json.loads(output.data) for output in effects.outputs]
    return bodies


def payment(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "payment.requested", "event_id": f"e{number}", "payment_id": f"p{number}", "customer_id": "c",
        "amount": "5", "currency": "EUR", **fields,
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(CONTROL_TYPES))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_control_event_is_found_however_its_type_is_written(name: str, data: st.DataObject) -> None:
    def written(character: str) -> str:
        code = f"{ord(character):04x}"
        return data.draw(st.sampled_from([character, f"\\u{code}", f"\\u{code.upper()}"]))

    key, value = ("".join(map(written, text)) for text in ("type", name))
    record = f'{{"{key}": "{value}", "event_time": 1}}'.encode()
    assert json.loads(record)["type"] == name
    assert may_be_control(record)


def test_ordinary_events_begin_no_batch() -> None:
    plain = [encoded(payment(number)) for number in range(7)]
    assert not any(map(may_be_control, [*plain, None, b""]))
    assert list(stretches(plain, 3)) == [(0, 3), (3, 6), (6, 7)]
    assert list(stretches([], 3)) == []


@given(st.lists(st.sampled_from([None, b"{}", b"control.", b"\\u002e"]), max_size=30), st.integers(1, 9))
def test_batches_are_whole_bounded_and_begin_with_what_may_be_a_control(
    records: list[bytes | None], events_max: int
) -> None:
    cut = [records[start:end] for start, end in stretches(records, events_max)]
    assert [record for batch in cut for record in batch] == records
    assert all(1 <= len(batch) <= events_max for batch in cut)
    assert not any(may_be_control(record) for batch in cut for record in batch[1:])


def test_a_driver_that_does_not_cut_is_told() -> None:
    tick = encoded({"type": "control.tick", "event_id": "t", "event_time": T0})
    machine = partition()
    with pytest.raises(ValueError, match="batches begin with them"):
        machine.apply(machine.decode([encoded(payment(1, event_time=T0)), tick]), source)


def test_an_unknown_rule_set_is_a_dead_letter_and_can_be_fetched_before() -> None:
    machine = partition()
    named = encoded({"type": "control.rules", "event_id": "r", "event_time": T0, "ruleset": NOWHERE})
    decoded = machine.decode([named])
    assert machine.unknown(decoded) == [NOWHERE]
    effects = machine.apply(decoded, source)
    letter = json.loads(effects.outputs[0].data)
    assert (letter["reason"], letter["source"]) == (reasons.UNKNOWN_RULESET, {"offset": 0})
    assert NOWHERE in letter["raw_redacted"]
    assert (effects.accepted, effects.dead_lettered, machine.ruleset_hash) == (0, 1, ONE.hash)
    assert machine.unknown(machine.decode([named.replace(NOWHERE.encode(), TWO.hash.encode())])) == []


def test_a_rule_set_that_the_state_has_no_room_for_is_refused_whole() -> None:
    many = "".join(f"  - {{name: f{n}, agg: count, by: customer, window: {n + 1}m}}\n" for n in range(9))
    big = compile_rules({"a.yaml": f"features:\n{many}rules: []\n"})
    small = CoreSettings(features=FeatureLimits(features_max=len(big.features) - 1))
    machine = Partition(ONE, small, backed=False, rulesets={big.hash: big}.get)
    (letter,) = run(machine, {"type": "control.rules", "ruleset": big.hash})
    assert letter["reason"] == reasons.UNUSABLE_RULESET
    assert machine.ruleset_hash == ONE.hash
    assert run(machine, payment(1, card_id="card_1"))[0]["ruleset"] == ONE.hash


def test_state_under_a_lost_rule_set_says_what_to_do() -> None:
    head = {HEAD_RULESET: b"feedfacefeedface"}
    assert Partition.in_force(head) == "feedfacefeedface"
    assert Partition.in_force({}) is None
    with pytest.raises(UnknownRuleSet, match=r"feedfacefeedface.*--rule-sets"):
        partition().restore(head)


def test_a_refused_rule_set_is_one_operations_alert_with_an_id_of_its_event() -> None:
    refused = {"type": "control.rules_refused", "event_id": "r1", "ruleset": NOWHERE, "errors": ["a.yaml:3:1: no"] * 2}
    (alert,) = run(partition(), refused)
    assert (alert["kind"], alert["severity"], alert["event_id"]) == ("operations", "high", "r1")
    assert alert["title"] == f"rules refused: {NOWHERE} has 2 faults"
    assert alert["reasons"] == [{"code": "RULES_REFUSED", "rule": "", "detail": "a.yaml:3:1: no"}] * 2
    assert ONE.hash in alert["suggested_action"]
    assert run(partition(), payment(1), refused)[-1]["alert_id"] == alert["alert_id"]
    assert run(partition(), {**refused, "event_id": "r2"})[0]["alert_id"] != alert["alert_id"]


def test_a_full_list_takes_nothing_of_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "ENTRIES_MAX", 3)
    machine = partition()
    change = {"type": "control.list", "name": "blocked"}
    assert run(machine, {**change, "add": ["a", "b"], "remove": ["card_1"]}) == []
    (letter,) = run(machine, {**change, "remove": ["a"], "add": ["c", "d", "e"]})
    assert letter["reason"] == reasons.LIST_FULL
    decided = run(machine, *(payment(number, card_id=card) for number, card in enumerate(["a", "c", "card_1"])))
    assert ["blocked_card" in decision["rules"] for decision in decided if "rules" in decision] == [True, False, False]
    assert run(machine, {**change, "add": ["c"], "expires_at": T0 + 1, "remove": ["b"]}) == []
    later = {**change, "event_time": T0 + 1}
    assert run(machine, {**later, "add": ["d"]}) == [], "what has expired makes room"
    assert run(machine, {**later, "values": ["x", "y", "z"]}) == []
    assert run(machine, {**later, "values": ["w", "x", "y", "z"]})[0]["reason"] == reasons.LIST_FULL


def test_lists_and_snoozes_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_MAX", 1)
    monkeypatch.setattr(snoozes, "SNOOZES_MAX", 1)
    machine = partition()
    assert run(machine, {"type": "control.list", "name": "one", "add": ["a"]}) == []
    assert run(machine, {"type": "control.list", "name": "two", "add": ["a"]})[0]["reason"] == reasons.LIST_FULL
    assert run(machine, {"type": "control.list", "name": "one", "remove": ["a"]}) == []
    assert run(machine, {"type": "control.list", "name": "two", "add": ["a"]}) == [], "a list as declared costs nothing"
    snooze = {"type": "control.snooze", "rule": "busy", "entity": "card", "value": "a", "until": T0 + 5}
    assert run(machine, snooze, {**snooze, "until": T0 + 9}) == []
    assert run(machine, {**snooze, "value": "b"})[0]["reason"] == reasons.SNOOZES_FULL
    assert run(machine, {**snooze, "value": "b", "event_time": T0 + 9, "until": T0 + 10}) == []


def test_a_list_that_is_as_declared_again_leaves_no_key() -> None:
    store, machine = Store(), Partition(ONE, CoreSettings())
    for change in ({"add": ["a"]}, {"remove": ["a"]}):
        record = {"type": "control.list", "event_id": "l", "event_time": T0, "name": "blocked", **change}
        decoded = machine.decode([encoded(record)])
        assert machine.missing(decoded) == []
        store.take(machine.apply(decoded, source).ops)
        assert (HEAD_LIST + b"blocked" in store) == ("add" in change)


def modelled(inputs: str, extra: str = "") -> RuleSet:
    """A rule set with a detector of its own that is ready after a few events."""
    text = (
        "features:\n  - {name: n, agg: count, by: customer, window: 1h}\n"
        "  - {name: half, expr: n / 200}\n  - {name: third, expr: n / 300}\n"
        f"models: {{anomaly: {{detector: half_space_trees, inputs: [{inputs}], window: 8, trees: 3, height: 3}}}}\n"
    )
    return compile_rules({"a.yaml": text + f"rules: [{extra}]\n"})


@pytest.mark.parametrize(("after", "kept"), [("half", True), ("third", False)])
def test_a_detector_stays_where_it_means_the_same_and_else_begins_anew(after: str, kept: bool) -> None:
    one = modelled("half")
    two = modelled(after, "{id: r, description: d, when: amount > 1, then: {score: 1, reason: R}}")
    store, known = Store(), {one.hash: one, two.hash: two}
    machine = Partition(one, CoreSettings(), rulesets=known.get)
    scores = []
    switch = {"type": "control.rules", "event_id": "r", "event_time": T0, "ruleset": two.hash}
    for number, record in enumerate([*map(payment, range(40)), switch, *map(payment, range(50, 60))]):
        decoded = machine.decode([encoded({"event_time": T0 + number, **record})])
        keys = machine.missing(decoded)
        machine.load(keys, [store.get(key) for key in keys])
        effects = machine.apply(decoded, source)
        store.take(effects.ops)
        machine.restore(store.head())
        scores += [json.loads(body)["scores"]["anomaly"] is not None for _, body in effects.decisions]
    assert scores[39] is True
    assert (scores[40] is True) == kept
    assert scores[-1] is True


def test_a_decision_is_explained_where_that_is_asked_for() -> None:
    machine = partition()
    batch = [payment(1, card_id="card_1"), payment(2, card_id="card_2"), payment(2)]
    decoded = machine.decode([encoded({"event_time": T0, **record}) for record in batch])
    effects = machine.apply(decoded, source, frozenset([0, 2]))
    assert list(effects.explanations) == [0]
    told = json.loads(effects.explanations[0])
    assert told["ruleset"] == ONE.hash
    assert {(rule["rule"], rule["outcome"]) for rule in told["rules"]} == {("blocked_card", "in_force")}


def test_a_journal_keeps_no_card_number_of_a_control_event() -> None:
    number = "4556737586899855"
    clean = encoded({"type": "control.tick", "event_id": "t", "event_time": T0})
    dirty = encoded({"type": "control.tick", "event_id": "t", "event_time": T0, "source": f"card {number}"})
    odd = encoded({"type": "control.tick", "event_id": "t", "event_time": T0, "unheard_of": {"of": [number]}})
    for record, masked in ((clean, False), (dirty, True), (odd, True)):
        (kept,) = journal.keep(partition().decode([record]), [record])
        assert kept.kind == (journal.MASKED if masked else journal.ACCEPTED)
        assert number.encode() not in kept.value
        again = partition().decode([kept.value])
        assert [type(placed.event) for placed in again.controls] == [CONTROL_TYPES["control.tick"]]
