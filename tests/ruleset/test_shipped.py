"""The shipped rules: they compile, their own tests hold, and they keep to what the pack promises."""

import re
from pathlib import Path

import pytest

from engine.ruleset import RuleSet, compile, defaults, ir, report, testing
from engine.ruleset.aggregates import canonical

RULES = Path(__file__).resolve().parents[2] / "rules"


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return report.load(RULES)


def test_the_pack_compiles_and_its_tests_hold(shipped: RuleSet) -> None:
    assert report.check(RULES).ok
    failed = [(o.rule.id, o.case.line) for o in testing.run(shipped) if not o.ok]
    assert failed == []
    assert len(shipped.rules) >= 14


def test_every_rule_is_described_owned_and_tested_for_hit_and_miss(shipped: RuleSet) -> None:
    for rule in shipped.rules:
        assert rule.description, rule.id
        assert rule.owner, rule.id
        assert {case.hit for case in rule.tests} == {True, False}, rule.id
    reasons = [rule.reason for rule in shipped.rules]
    assert len(set(reasons)) == len(reasons)


def test_the_pack_shows_every_kind_of_rule(shipped: RuleSet) -> None:
    assert any(rule.allow for rule in shipped.rules)
    assert any(rule.hard for rule in shipped.rules)
    assert any(rule.mode == "shadow" for rule in shipped.rules)
    assert any("anomaly" in rule.scores for rule in shipped.rules)
    assert any(rule.decision is None for rule in shipped.rules)


def test_the_pack_keeps_state_small(shipped: RuleSet) -> None:
    assert len({definition.by for definition in shipped.features}) <= 9
    windows = [definition.window_ms for definition in shipped.features if definition.window_ms is not None]
    assert max(windows) <= 30 * 86_400_000


def test_the_detectors_inputs_stay_within_0_and_1(shipped: RuleSet) -> None:
    assert shipped.models.anomaly is not None
    bounded = {entry.name: entry.expr.text for entry in shipped.derived}
    for name in shipped.models.anomaly.inputs:
        assert re.match(r"clamp\(.*, 0, 1\)$|\(?hour\(|\(coalesce\(device_is_new", bounded[name]), bounded[name]


def test_the_defaults_are_the_shipped_models(shipped: RuleSet) -> None:
    empty = compile({"t.yaml": "rules: []"})
    assert empty.models.anomaly is not None
    assert shipped.models.anomaly is not None

    def spelt_out(ruleset: RuleSet, node: ir.Node) -> str:
        derived = {entry.name: entry.expr for entry in ruleset.derived}
        aggregates = {definition.name: canonical(definition) for definition in ruleset.features}
        text = node.text
        for part in ir.walk(node):
            if isinstance(part, ir.Feature):
                inner = derived.get(part.name)
                said = aggregates.get(part.name) or f"({spelt_out(ruleset, inner) if inner else ''})"
                text = re.sub(rf"\b{re.escape(part.name)}\b(?!')", said.replace("\\", "\\\\"), text)
        return text

    ours = {entry.name: spelt_out(shipped, entry.expr) for entry in shipped.derived}
    theirs = {entry.name: entry.expr.text for entry in empty.derived}
    assert {defaults.PREFIX + name for name in shipped.models.anomaly.inputs} == set(empty.models.anomaly.inputs)
    for name in shipped.models.anomaly.inputs:
        assert re.sub(r"[()]", "", ours[name]) == re.sub(r"[()]", "", theirs[defaults.PREFIX + name])
    config = shipped.models.anomaly
    default = empty.models.anomaly
    same = [(c.detector, c.trees, c.height, c.window, c.seed) for c in (config, default)]
    assert same[0] == same[1]
