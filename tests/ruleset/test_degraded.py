"""Rules without the state: bounds that hold whatever the state would say, and `on_degraded` in between."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ruleset import Frame, RuleSet
from engine.ruleset.degraded import DegradedRules, stateful
from tests.ruleset.helpers import columns_of, faults, ruleset_of

FEATURES = """
lists: {blocked: {values: [bad]}}
features:
  - {name: f, agg: count, by: customer, window: 1h}
  - {name: g, agg: sum, of: amount, by: card, window: 1h}
  - {name: own, expr: "amount * 2"}
  - {name: mixed, expr: "own + f"}
  - {name: deep, expr: "coalesce(mixed, 7)"}
models: {anomaly: {inputs: [own]}}
rules:
"""


def rules(*conditions: str, on_degraded: str = "skip", more: str = "") -> RuleSet:
    lines = [
        f"  - {{id: r{i}, when: {when!r}, then: {{decision: review}}, on_degraded: {on_degraded}{more}}}\n"
        for i, when in enumerate(conditions)
    ]
    return ruleset_of(FEATURES + "".join(lines))


def hit(ruleset: RuleSet, event: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the first rule hits an event without state, and whether the hit is assumed."""
    columns = columns_of([event])
    frame = Frame(columns, ruleset.derive(columns, np.full((len(ruleset.rows), 1), np.nan)))
    hits, assumed = DegradedRules(ruleset).evaluate(frame)
    return bool(hits.matrix[0, 0]), bool(assumed[0, 0])


@pytest.mark.parametrize(
    ("when", "sure", "unsure"),
    [
        ("amount > 500", {"amount": 900}, None),
        ("own > 1000", {"amount": 900}, None),
        ("card_id in lists.blocked", {"card_id": "bad"}, None),
        ("amount > 500 and f >= 4", None, {"amount": 900}),
        ("amount > 500 or f >= 4", {"amount": 900}, {"amount": 10}),
        ("not (amount > 500 and f >= 4)", {"amount": 10}, {"amount": 900}),
        ("amount > 500 and not (f >= 4)", None, {"amount": 900}),
        ("deep > 3 and amount > 500", None, {"amount": 900}),
        ("missing(f)", None, {"amount": 10}),
        ("coalesce(g, amount) > 500", None, {"amount": 900}),
        ("score.anomaly > 0.9 and three_ds", None, {"three_ds": True}),
        ("count(by=ip, window='10m') > 2 and three_ds", None, {"three_ds": True}),
        ("amount > (f if three_ds else 0)", None, {"amount": 900}),
    ],
)
def test_own_fields_settle_what_they_can_and_on_degraded_the_rest(when, sure, unsure):
    for word in ("skip", "hit"):
        ruleset = rules(when, on_degraded=word)
        if sure is not None:
            assert hit(ruleset, sure) == (True, False)
        if unsure is not None:
            assert hit(ruleset, unsure) == (word == "hit", word == "hit")


@pytest.mark.parametrize("word", ["skip", "hit"])
@pytest.mark.parametrize("when", ["amount > 500 and f >= 4", "amount > 500 and score.anomaly > 0.5"])
def test_what_own_fields_rule_out_is_not_hit(when, word):
    assert hit(rules(when, on_degraded=word), {"amount": 10}) == (False, False)


def test_unless_a_time_of_its_own_and_the_mode_hold_too():
    trusted = rules("f >= 4", on_degraded="hit", more=", unless: 'amount < 50'")
    assert hit(trusted, {"amount": 10}) == (False, False)
    assert hit(trusted, {"amount": 60}) == (True, True)
    over = rules("f >= 4", on_degraded="hit", more=", valid_to: '2020-01-01T00:00:00Z'")
    assert hit(over, {"amount": 60}) == (False, False)
    shadow = rules("amount > 5", more=", mode: shadow")
    columns = columns_of([{"amount": 60}])
    hits, _ = DegradedRules(shadow).evaluate(Frame(columns, np.full((len(shadow.rows), 1), np.nan)))
    assert shadow.decide(hits).shadow == [(0,)]
    assert shadow.decide(hits).outcome.tolist() == [0]


def test_derived_features_are_as_much_of_the_state_as_what_they_read():
    ruleset = rules("amount > 1")
    assert stateful(ruleset) == {"f", "g", "mixed", "deep"}
    assert [list(ruleset.rows)[row] for row in DegradedRules(ruleset).unknown] == ["f", "g", "mixed", "deep"]


def test_an_observer_and_an_unknown_word_are_refused():
    observer = "rules: [{id: a, when: 'true', then: {alert: fraud}, on_degraded: hit}]"
    assert "has no 'on_degraded'" in faults(observer)[0]
    wrong = "rules: [{id: a, when: 'true', then: {decision: review}, on_degraded: hits}]"
    assert "unknown 'on_degraded' 'hits'" in faults(wrong)[0]


CONDITION = st.recursive(
    st.sampled_from(["amount > 5", "three_ds", "f >= 2", "missing(g)", "deep > 9", "own > amount", "f > amount"]),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda part: f"({part[0]}) {part[1]} ({part[2]})"),
    ),
    max_leaves=7,
)
STATE = st.one_of(st.just(np.nan), st.integers(0, 12).map(float))


@settings(max_examples=150, deadline=None)
@given(
    when=CONDITION,
    amount=st.sampled_from([None, 1, 9]),
    three_ds=st.sampled_from([None, True, False]),
    f=STATE,
    g=STATE,
)
def test_the_bounds_hold_whatever_the_state_says(when, amount, three_ds, f, g):
    """The oracle is the rule with the state there: it hits wherever the lower bound does, only where the upper does."""
    ruleset = rules(when, when, on_degraded="hit")
    event = {"amount": amount, "three_ds": three_ds}
    columns = columns_of([event])
    base = np.full((len(ruleset.rows), 1), np.nan)
    base[ruleset.rows["f"]], base[ruleset.rows["g"]] = f, g
    truth = bool(ruleset.evaluate(Frame(columns, ruleset.derive(columns, base))).matrix[0, 0])
    may_be, assumed = hit(ruleset, event)
    surely = may_be and not assumed
    assert (not surely or truth) and (not truth or may_be)
