"""Rules that observe: which events they hit, what calls them off, what they say, and what is wrong with one."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.ruleset import Frame, RuleErrors, RuleSet, compile
from engine.ruleset.hits import in_share
from engine.ruleset.model import AlertSpec, Follow
from engine.ruleset.report import check, run_tests
from engine.ruleset.ruleset import ROWS_SCALAR_MAX
from engine.ruleset.templates import fill
from tests.ruleset.expressions import Oracle, bool_expr
from tests.ruleset.helpers import columns_of, faults, ruleset_of
from tests.ruleset.test_evaluators import HEAD, base_matrix, rates_in_force
from tests.ruleset.test_evaluators import row as values

TYPES = ("payment.requested", "payment.settled", "account.login", "transfer.sent")
on = st.none() | st.just(["any"]) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)
event = st.tuples(values, st.sampled_from(TYPES), st.booleans(), st.sampled_from([None, "p1"]))


def observe(ruleset: RuleSet, batch: list[dict[str, Any]], decides: list[bool]) -> Any:
    columns = columns_of(batch)
    columns.decides[:] = decides
    matrix = ruleset.derive(columns, base_matrix(batch, ruleset), rates=rates_in_force)
    return columns, ruleset.observe(Frame(columns, matrix, rates=rates_in_force))


@settings(max_examples=80, deadline=None)
@given(
    rules=st.lists(st.tuples(on, bool_expr(2, True), bool_expr(1, True)), min_size=1, max_size=4),
    events=st.lists(event, min_size=ROWS_SCALAR_MAX + 1, max_size=ROWS_SCALAR_MAX + 4),
)
def test_observers_hit_what_the_oracle_says_in_batches_and_one_by_one(rules: Any, events: Any) -> None:
    lines = [HEAD, "rules:"]
    for index, (types, when, unless) in enumerate(rules):
        given_on = "" if types is None else f"on: {json.dumps(types)}, "
        lines.append(f"  - {{id: o{index}, {given_on}when: {json.dumps(when)}, unless: {json.dumps(unless)}, "
                     "then: {alert: operations}}")  # fmt: skip
    try:
        ruleset = compile({"t.yaml": "\n".join(lines)})
    except RuleErrors:
        assume(False)
        raise
    batch = [{**row, "type": name, "payment_id": payment} for row, name, _, payment in events]
    decides = [flag for _, _, flag, _ in events]
    columns, hits = observe(ruleset, batch, decides)
    looked_at = ruleset.observed(columns)
    for index, row in enumerate(batch):
        _, single = observe(ruleset, [row], [decides[index]])
        assert single[:, 0].tolist() == hits[:, index].tolist()
        oracle, looked = Oracle(row), False
        for place, (types, when, unless) in enumerate(rules):
            of_type = decides[index] if types is None else types == ["any"] or row["type"] in types
            looked = looked or of_type
            wanted = of_type and oracle.run(f"True and ({when})") and not oracle.run(f"True and ({unless})")
            assert hits[place, index] == wanted, (when, unless, row)
        assert looked_at[index] == looked


RULES = """
lists: {known: {values: []}}
tables: {backup_route: {acq_a: acq_b, missing: acq_m}}
features: [{name: n, agg: count, by: [acquirer], window: 5m, where: "type == 'payment.failed'"}]
rules:
  - {id: decides, when: amount > 5, then: {decision: review}}
  - id: drop
    on: [payment.failed, payment.declined]
    when: n > 3
    then:
      alert: operations
      severity: high
      reason: DROP
      title: "{n} failures at {acquirer}, {metadata.route}"
      action: "route over {backup_route[acquirer]}"
      by: [acquirer, customer]
      every: 30m
  - id: missing
    description: no settlement
    on: payment.captured
    when: not missing(payment_id)
    unless_followed_by: {types: [payment.settled, payment.cancelled], same: payment_id, within: 3d}
    then: {alert: abuse}
    mode: shadow
  - {id: silent, on: [any], when: not missing(source), unless_followed_by: {same: source, within: 15m, usual: 4}, then: {alert: fraud}}
  - {id: some, when: amount > 5, then: {alert: fraud}, mode: "canary: 30%"}
"""  # noqa: E501


def test_what_an_observer_is() -> None:
    ruleset = ruleset_of(RULES)
    assert [rule.id for rule in ruleset.rules] == ["decides"]
    assert [rule.id for rule in ruleset.observers] == ["drop", "missing", "silent", "some"]
    drop, missing, silent, some = ruleset.observers
    assert drop.alert == AlertSpec("operations", "high", "{n} failures at {acquirer}, {metadata.route}",
                                   "route over {backup_route[acquirer]}", ("acquirer", "customer"),
                                   1_800_000)  # fmt: skip
    assert (drop.reason, drop.on, drop.follow) == ("DROP", ("payment.failed", "payment.declined"), None)
    assert missing.alert == AlertSpec("abuse", "medium", "no settlement", "", (), 900_000)
    assert missing.follow == Follow(("payment.settled", "payment.cancelled"), "payment_id", 259_200_000)
    assert (silent.on, silent.follow) == (("any",), Follow(("any",), "source", 900_000, 4.0))
    assert (silent.follow.look_ms, missing.follow.look_ms) == (225_000, missing.follow.within_ms)
    assert silent.alert is not None
    assert (silent.alert.title, silent.reason, some.on) == ("silent", "SILENT", ())
    assert drop.uses == ("n",)
    assert ruleset.texts == {"t.yaml": RULES}
    assert compile(ruleset.texts).hash == ruleset.hash


def test_what_calls_an_alert_off_and_where_a_hit_counts() -> None:
    ruleset = ruleset_of(RULES)
    rows = [
        {"type": "payment.settled", "payment_id": "p"},
        {"type": "payment.settled", "source": "s"},
        {"type": "payment.captured", "payment_id": "p", "source": "s"},
        *({"type": "account.login", "customer_id": f"c{i}"} for i in range(60)),
    ]
    columns = columns_of(rows)
    followed = ruleset.followed(columns)
    assert followed[:, :3].tolist() == [[False] * 3, [True, False, False], [False, True, True], [False] * 3]
    assert not followed[:, 3:].any()
    live = ruleset.observers_live(columns)
    assert live[:3].all(axis=1).tolist() == [True, False, True]
    assert not live[1].any()
    from engine.domain.hashing import hash64

    assert live[3].tolist() == in_share(columns.string("customer_id"), hash64("some"), 0.3).tolist()
    assert 5 < live[3].sum() < 35


def test_titles_and_actions_are_filled_in() -> None:
    ruleset = ruleset_of(RULES)
    columns = columns_of([{"acquirer": "acq_a", "metadata": {"route": "r1"}}, {"acquirer": "acq_z"}, {}])
    frame = Frame(columns, np.array([[4.0, np.nan, 2.5]] + [[0.0] * 3] * (len(ruleset.rows) - 1)))
    alert = ruleset.observers[0].alert
    assert alert is not None
    assert [fill(ruleset, frame.batch(), row, alert.title) for row in range(3)] == [
        "4 failures at acq_a, r1", "missing failures at acq_z, missing", "2.5 failures at missing, missing",
    ]  # fmt: skip
    assert [fill(ruleset, frame.batch(), row, alert.action) for row in range(3)] == [
        "route over acq_b", "route over missing", "route over missing",
    ]  # fmt: skip
    assert fill(ruleset, frame.batch(), 0, "as it stands") == "as it stands"


TESTED = """
lists: {known: {values: []}}
rules:
  - id: o
    on: [payment.settled, payment.refunded]
    when: amount > 5 and in_currency('EUR') > 1 and metadata('route') == 'r1'
    unless: merchant_id in lists.known
    then: {alert: operations}
    tests:
      - {given: {amount: 6, currency: USD, metadata: {route: r1}}, rates: {base: EUR, USD: 2}, expect: hit}
      - {given: {amount: 6, currency: USD, metadata: {route: r1}}, rates: {base: EUR, USD: 20}, expect: miss}
      - {given: {amount: 6, currency: EUR, metadata: {route: r2}}, expect: miss}
      - {given: {amount: 6, currency: EUR, metadata: {route: r1, other: null}, merchant_id: m}, expect: hit}
      - {given: {amount: 6, currency: EUR, metadata: {route: r1}, merchant_id: m}, lists: {known: [m]}, expect: miss}
      - {given: {type: payment.requested, amount: 6, currency: EUR, metadata: {route: r1}}, expect: miss}
"""


def test_the_tests_of_an_observer_run(tmp_path: Any) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(TESTED)
    assert run_tests(path).text == "6 tests, 0 failed"
    path.write_text(TESTED.replace("expect: hit", "expect: miss", 1))
    assert not run_tests(path).ok
    assert "o.yaml:10: rule o: expected miss, got hit" in run_tests(path).text
    path.write_text(RULES)
    assert "1 rule, 4 observers (2 not live)" in check(path).text
    assert run_tests(path).text.startswith("without a test: decides, drop, missing, silent, some")


WRONG = {
    "{id: r, on: [payment.settled], when: amount > 1, then: {decision: review}}": "a rule that decides has no 'on'",
    "{id: r, when: amount > 1, unless_followed_by: {same: payment_id, within: 3d}, then: {score: 1}}":
        "a rule that decides has no 'unless_followed_by'",
    "{id: r, on: [payment.setled], when: amount > 1, then: {alert: fraud}}":
        "there is no event type 'payment.setled' (did you mean 'payment.settled'?)",
    "{id: r, on: [], when: amount > 1, then: {alert: fraud}}": "'on' names no event type",
    "{id: r, on: [any, any], when: amount > 1, then: {alert: fraud}}": "'any' stands twice",
    "{id: r, on: {a: b}, when: amount > 1, then: {alert: fraud}}": "'on' must be a list",
    "{id: r, when: amount > 1, then: {alert: operation}}": "unknown alert 'operation' (did you mean 'operations'?)",
    "{id: r, when: amount > 1, then: {alert: fraud, severity: highest}}": "unknown severity 'highest'",
    "{id: r, when: amount > 1, then: {alert: fraud, decision: review}}":
        "unknown key 'decision' of 'then' with an alert",
    "{id: r, when: amount > 1, then: {alert: fraud, titel: x}}": "unknown key 'titel' of 'then' with an alert (did you",
    "{id: r, when: amount > 1, then: {alert: fraud, by: acquire}}":
        "unknown entity 'acquire' in by (did you mean 'acquirer'?)",
    "{id: r, when: amount > 1, then: {alert: fraud, by: [card, card, ip, device, email]}}":
        "more than 4 entities in by",
    "{id: r, when: amount > 1, then: {alert: fraud, every: soon}}": "'soon' is not a duration",
    "{id: r, when: amount > 1, then: {alert: fraud, every: 1ms}}": "'every' must be from 1s to 90d",
    "{id: r, when: amount > 1, then: {alert: fraud, reason: lower}}": "'lower' is not a reason code",
    "{id: r, when: amount > 1, then: {alert: fraud, title: '{amout}'}}":
        "unknown name 'amout' in 'title' (did you mean 'amount'?)",
    "{id: r, when: amount > 1, then: {alert: fraud, action: '{route[acquirer]}'}}":
        "unknown table 'route' in 'action' (did you mean 'routes'?)",
    "{id: r, when: amount > 1, then: {alert: fraud, action: '{routes[acquire]}'}}":
        "unknown name 'acquire' in 'action' (did you mean 'acquirer'?)",
    "{id: r, when: amount > 1, hard: true, then: {alert: fraud}}": "a rule that raises an alert is not hard",
    "{id: r, when: amount > 1, unless_followed_by: {same: payment_id, within: 3d}, then: {alert: fraud}}":
        "'unless_followed_by' needs 'types' where the rule has no 'on'",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: amount, within: 3d}, then: {alert: fraud}}":
        "'amount' is not a text field of an event",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: sorce, within: 3d}, then: {alert: fraud}}":
        "(did you mean 'source'?)",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: source}, then: {alert: fraud}}": "needs 'within'",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: source, within: 91d}, then: {alert: fraud}}":
        "'within' must be from 1s to 90d",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: ip, within: 1d, usual: 0.5}, then: {alert: fraud}}":
        "'usual' must be from 1 to 100",
    "{id: r, on: any, when: amount > 1, unless_followed_by: 3d, then: {alert: fraud}}": "must be a mapping",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: ip, within: 1d}, then: {alert: fraud, every: 1h}}":
        "'every' does not go with 'unless_followed_by'",
    "{id: r, on: any, when: amount > 1, unless_followed_by: {same: ip, within: 1d, typs: any}, then: {alert: fraud}}":
        "unknown key 'typs' of 'unless_followed_by' (did you mean 'types'?)",
}  # fmt: skip


@pytest.mark.parametrize("rule", WRONG)
def test_what_is_wrong_with_an_observer(rule: str) -> None:
    found = faults(f"tables: {{routes: {{a: b}}}}\nrules:\n  - {rule}\n")
    assert len(found) == 1
    assert found[0].startswith("t.yaml:3:")
    assert WRONG[rule] in found[0]


def test_the_piece_at_fault_is_underlined() -> None:
    with pytest.raises(RuleErrors) as caught:
        compile({"t.yaml": "rules:\n  - id: r\n    on: [payment.settled, paymnt.captured]\n    when: amount > 1\n"
                           "    then: {alert: fraud}\n"})  # fmt: skip
    assert str(caught.value).split("\n")[1:] == [
        "        on: [payment.settled, paymnt.captured]", "                              ^^^^^^^^^^^^^^^",
    ]  # fmt: skip


def test_ids_are_unique_over_rules_and_observers_and_files_and_what_is_disabled() -> None:
    first, second = "rules: [{id: r, when: amount > 1, then: {score: 1}, enabled: false}]", \
        "rules: [{id: r, when: amount > 1, then: {alert: fraud}}]"  # fmt: skip
    with pytest.raises(RuleErrors, match=r"b.yaml:1:14: the rule 'r' is declared twice \(first in a.yaml:1\)"):
        compile({"a.yaml": first, "b.yaml": second})
