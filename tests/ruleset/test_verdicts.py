"""From hits to outcomes: the strongest wins, allow, hard, shadow, canary, points."""

import itertools

import numpy as np
import pytest

from engine.domain.hashing import hash64
from engine.ruleset import OUTCOMES, Frame, Hits, RuleSet, compile
from engine.ruleset.hits import in_share
from engine.ruleset.verdict import VerdictTable
from tests.ruleset.helpers import columns_of

RULES = """
rules:
  - {id: weak, when: "amount > 1", then: {decision: review, score: 10}}
  - {id: strong, when: "amount > 2", then: {decision: decline, score: 20.5}}
  - {id: points, when: "amount > 3", then: {score: -5}}
  - {id: allowed, when: "lat > 0", then: {allow: true, score: 1}}
  - {id: firm, when: "lon > 0", then: {decision: step_up, score: 7}, hard: true}
  - {id: unseen, when: "amount > 0", then: {decision: decline, score: 50}, mode: shadow}
"""


def verdict(ruleset: RuleSet, hit: set[str]) -> tuple[str, float, list[str], list[str], list[str]]:
    """Outcome, points, live, shadow and reason ids of an event that the named rules hit."""
    matrix = np.array([[rule.id in hit] for rule in ruleset.rules])
    found = ruleset.decide(Hits(matrix))
    live, shadow, reasons = (
        [ruleset.rules[i].id for i in column[0]] for column in (found.rules, found.shadow, found.reasons)
    )
    return OUTCOMES[found.outcome[0]], float(found.points[0]), live, shadow, reasons


@pytest.mark.parametrize(
    ("hit", "outcome", "points"),
    [
        (set(), "approve", 0.0),
        ({"weak"}, "review", 10.0),
        ({"weak", "strong"}, "decline", 30.5),
        ({"points"}, "approve", -5.0),
        ({"strong", "allowed"}, "approve", 1.0),
        ({"strong", "allowed", "firm"}, "step_up", 8.0),
        ({"strong", "firm"}, "decline", 27.5),
        ({"unseen"}, "approve", 0.0),
        ({"unseen", "weak"}, "review", 10.0),
    ],
)
def test_the_strongest_outcome_in_force_wins(hit: set[str], outcome: str, points: float) -> None:
    ruleset = compile({"t.yaml": RULES})
    found, summed, live, shadow, reasons = verdict(ruleset, hit)
    assert (found, summed) == (outcome, points)
    assert set(live) == hit - {"unseen"}
    assert set(shadow) == hit & {"unseen"}
    assert set(reasons) == (hit & {"allowed", "firm"} if "allowed" in hit else hit - {"unseen"})


def test_every_combination_of_hits_follows_the_contract() -> None:
    ruleset = compile({"t.yaml": RULES})
    for size in range(len(ruleset.rules) + 1):
        for combination in itertools.combinations(range(len(ruleset.rules)), size):
            rules = [ruleset.rules[i] for i in combination if ruleset.rules[i].mode == "live"]
            if any(rule.allow for rule in rules):
                rules = [rule for rule in rules if rule.hard]
            wanted = max([rule.decision or 0 for rule in rules], default=0)
            found = verdict(ruleset, {ruleset.rules[i].id for i in combination})
            assert OUTCOMES.index(found[0]) == wanted


def test_verdicts_of_a_batch_are_those_of_its_rows() -> None:
    ruleset = compile({"t.yaml": RULES})
    batch = [{"amount": float(i % 5), "lat": float(i % 3), "lon": float(i % 2)} for i in range(30)]
    columns = columns_of(batch)
    whole = ruleset.decide(ruleset.evaluate(Frame(columns, np.empty((len(ruleset.rows), 30)))))
    for row in range(30):
        one = columns.take(np.array([row]))
        found = ruleset.decide(ruleset.evaluate(Frame(one, np.empty((len(ruleset.rows), 1)))))
        assert found.outcome[0] == whole.outcome[row]
        assert found.points[0] == whole.points[row]
        assert (found.rules[0], found.shadow[0]) == (whole.rules[row], whole.shadow[row])


def test_remembered_combinations_are_bounded() -> None:
    ruleset = compile({"t.yaml": RULES})
    table = VerdictTable(ruleset.rules)
    first = table.combine((0, 1), (5,))
    assert first == table.combine((0, 1), (5,))
    assert first.outcome == OUTCOMES.index("decline")


def test_a_canary_is_live_for_a_stable_share_of_customers() -> None:
    text = 'rules: [{id: new_rule, when: "true", then: {decision: decline, score: 9}, mode: "canary: 10%"}]'
    ruleset = compile({"t.yaml": text})
    assert (ruleset.rules[0].mode, ruleset.rules[0].share) == ("canary", 0.1)
    columns = columns_of([{"customer_id": f"c{i}"} for i in range(4_000)])
    verdicts = ruleset.decide(ruleset.evaluate(Frame(columns, np.empty((len(ruleset.rows), 4_000)))))
    live = verdicts.outcome == OUTCOMES.index("decline")
    assert 0.08 < live.mean() < 0.12
    for row in range(4_000):
        assert (verdicts.rules[row], verdicts.shadow[row]) == (((0,), ()) if live[row] else ((), (0,)))
    for row in range(0, 4_000, 371):
        one = columns.take(np.array([row]))
        found = ruleset.decide(ruleset.evaluate(Frame(one, np.empty((len(ruleset.rows), 1)))))
        assert found.outcome[0] == verdicts.outcome[row]


def test_canaries_of_two_rules_take_different_customers() -> None:
    customers = np.array([hash64(f"c{i}") for i in range(2_000)], np.uint64)
    one, two = in_share(customers, hash64("one"), 0.5), in_share(customers, hash64("two"), 0.5)
    assert 0.4 < (one == two).mean() < 0.6
    assert in_share(customers, hash64("one"), 0.2).sum() == (one & in_share(customers, hash64("one"), 0.2)).sum()


@pytest.mark.parametrize("written", ["canary: 10%", "{canary: 10%}", '"canary: 10 %"'])
def test_a_canary_may_be_written_as_in_the_contract(written: str) -> None:
    text = f"rules:\n  - id: r\n    when: 'true'\n    then: {{score: 1}}\n    mode: {written}\n"
    if written.startswith("canary"):
        text = text.replace("mode: canary: 10%", "mode:\n      canary: 10%")
    assert compile({"t.yaml": text}).rules[0].share == 0.1


def test_a_disabled_rule_is_checked_but_never_hits() -> None:
    text = 'rules: [{id: off, enabled: false, when: "true", then: {decision: decline}}]'
    assert compile({"t.yaml": text}).rules == []
