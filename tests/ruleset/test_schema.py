"""The schema of rule files is what the loader's tables say: right files pass it, wrong ones do not."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.ruleset import schema
from engine.ruleset.yaml_loader import Mapping, Node, Scalar, load

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "rules").rglob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(schema.document())
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
CONTRACT = """
lists: {trusted_ips: {values: ["203.0.113.0/24"]}}
features:
  - {name: cust_spend_24h, agg: sum, of: amount, by: customer, window: 24h, where: "type == 'payment.authorised'"}
  - {name: cards_per_device_7d, agg: distinct, of: card_id, by: device, window: 7d}
  - {name: same_merchant_1d, agg: count, by: [customer, merchant], window: 24h}
  - {name: amount_ratio, expr: "amount / coalesce(cust_mean_30d, amount)"}
models: {anomaly: {detector: half_space_trees, trees: 25, height: 8, window: 250, seed: 42, inputs: [a]}, fraud: {inputs: [a]}}
rules:
  - id: card_testing_ip
    description: many cards from one address
    when: cards_per_ip_1h >= 4 and count(by=ip, window='10m', where="type == 'payment.declined'") >= 3
    unless: ip in lists.trusted_ips
    then: {decision: decline, score: 40, reason: CARD_TESTING_IP}
    mode: live            # shadow | canary: 10% | live
    tests:
      - {given: {cards_per_ip_1h: 5, ip: 198.51.100.7}, with: {"count(by=ip, window='10m', where=\\"type == 'payment.declined'\\")": 3}, expect: hit}
"""  # noqa: E501


def plain(node: Node | None) -> Any:
    """A file as an editor sees it: objects, arrays and values."""
    if isinstance(node, Scalar) or node is None:
        return node.value if node else {}
    if isinstance(node, Mapping):
        return {key: plain(value) for key, (_, value) in node.items.items()}
    return [plain(item) for item in node.items]


def valid(text: str) -> bool:
    return bool(VALIDATOR.is_valid(plain(load("t.yaml", text))))


def test_the_file_has_not_drifted_from_the_tables() -> None:
    path = ROOT / "schemas" / schema.NAME
    assert path.read_text("utf-8") == schema.render(), "run: make schemas"


def test_it_is_a_schema_and_is_written(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema.document())
    assert schema.main([str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / schema.NAME).read_text("utf-8") == schema.render()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_pass_and_name_it(path: Path) -> None:
    text = path.read_text("utf-8")
    jsonschema.validate(plain(load(path.name, text)), schema.document())
    named = re.fullmatch(r"# yaml-language-server: \$schema=(.*)", text.splitlines()[0])
    assert named is not None
    assert (path.parent / named[1]).resolve() == ROOT / "schemas" / schema.NAME


def test_examples_of_the_page_and_the_contract_pass() -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "rules.md").read_text("utf-8"))
    assert blocks
    for text in (*blocks, CONTRACT):
        jsonschema.validate(plain(load("t.yaml", text)), schema.document())


OBSERVER = "rules: [{id: r, when: 'amount > 1', then: {alert: operations%s}%s}]"


@pytest.mark.parametrize(("then", "rule"), [
    ("", ""), (", severity: high, reason: R, title: '{amount}', action: x, by: [acquirer, card], every: 30m", ""),
    ("", ", on: payment.settled"), ("", ", on: [any], mode: shadow"),
    (", by: card", ", valid_to: 2026-01-31T23:00:00Z"),
    ("", ", unless_followed_by: {same: payment_id, within: 3d, types: [payment.settled, any]}"),
    ("", ", unless_followed_by: {same: source, within: 75m, usual: 2.5}"),
])  # fmt: skip
def test_right_observers_pass(then: str, rule: str) -> None:
    assert valid(OBSERVER % (then, rule))


@pytest.mark.parametrize(("then", "rule"), [
    (", decision: review", ""), (", score: 1", ""), (", allow: true", ""), (", detail: x", ""),
    (", severity: loud", ""),
    (", by: planet", ""), (", every: soon", ""), ("", ", on: [payment.unheard]"), ("", ", on: []"),
    ("", ", unless_followed_by: {same: amount, within: 3d}"), ("", ", unless_followed_by: {same: payment_id}"),
    ("", ", unless_followed_by: {same: payment_id, within: 3d, every: 3d}"),
    ("", ", unless_followed_by: {same: source, within: 75m, usual: 0}"),
])  # fmt: skip
def test_wrong_observers_do_not(then: str, rule: str) -> None:
    assert not valid(OBSERVER % (then, rule))


RULE = "rules: [{id: r, when: 'amount > 1', then: {decision: review}%s}]"
FEATURE = "features: [{name: f%s}]"
MODEL = "models: {anomaly: {%s}}"


@pytest.mark.parametrize("extra", [
    "", ", mode: shadow", ", mode: 'canary: 10%'", ", mode: {canary: 2.5%}", ", mode: 'canary: 100%'",
    ", mode: {canary: 0.001 %}", ", unless: false", ", tags: a", ", tags: [a, b]",
    ", hard: true", ", unless: three_ds",
    ", tests: [{given: {card_bin: 411111, ip: null, my_feature: true}, expect: miss}]",
    ", tests: [{given: {event_time: 2026-01-31T23:00:00Z}, with: {'count(by=ip)': 1}, expect: hit}]",
    ", tests: [{given: {metadata: {a: x, b: 1}}, lists: {l: [a, 1]}, rates: {base: EUR, USD: 1.1}, expect: hit}]",
])  # fmt: skip
def test_right_rules_pass(extra: str) -> None:
    assert valid(RULE % extra)


@pytest.mark.parametrize("text", [
    "rule: []",
    "rules: {id: r}",
    "rules: [{id: r, when: 'amount > 1'}]",
    "rules: [{when: 'amount > 1', then: {decision: review}}]",
    "rules: [{id: Upper, when: 'amount > 1', then: {decision: review}}]",
    "rules: [{id: r, when: '', then: {decision: review}}]",
    "rules: [{id: r, when: 'amount > 1', then: {decision: refuse}}]",
    "rules: [{id: r, when: 'amount > 1', then: {reason: R}}]",
    "rules: [{id: r, when: 'amount > 1', then: {allow: false}}]",
    "rules: [{id: r, when: 'amount > 1', then: {score: 101}}]",
    "rules: [{id: r, when: 'amount > 1', then: {score: 1, reason: lower}}]",
    "rules: [{id: r, when: 'amount > 1', then: {score: 1, hard: true}}]",
    "rules: [{id: r, when: 'amount > 1', then: {decision: review, title: x}}]",
    "rules: [{id: r, when: 'amount > 1', then: {title: x}}]",
    "rules: [{id: r, when: 'amount > 1', then: {alert: loud}}]",
    RULE % ", on: payment.settled",
    RULE % ", unless_followed_by: {same: payment_id, within: 3d}",
    RULE % ", tests: [{given: {metadata: {a: [x]}}, expect: hit}]",
    RULE % ", tests: [{given: {}, rates: {USD: 1}, expect: hit}]",
    "tables: {t: [a]}",
    "tables: {t: {a: [b]}}",
    "tables: {t: {a: null}}",
    "tables: {t-t: {a: b}}",
    RULE % ", mode: loud",
    RULE % ", mode: canary",
    RULE % ", mode: {canary: 10}",
    RULE % ", mode: 'canary: 200%'", RULE % ", mode: 'canary: 100.5%'", RULE % ", mode: {canary: 0.0%}",
    RULE % ", unless: 5", "rules: [{id: r, when: 5, then: {decision: review}}]",
    RULE % ", tests: [{given: {'amount ': 1}, expect: hit}]",
    "features: [{name: f, expr: 5}]", "features: [{name: f, expr: true}]",
    "features: [{name: f, agg: count, by: ip, window: 1h, where: true}]",
    RULE % ", hard: yes",
    RULE % ", whenn: x",
    RULE % ", tests: [{given: {}}]",
    RULE % ", tests: [{given: {}, expect: maybe}]",
    RULE % ", tests: [{given: {type: payment.unheard}, expect: hit}]",
    RULE % ", tests: [{given: {amount: much}, expect: hit}]",
    RULE % ", tests: [{given: {three_ds: 1}, expect: hit}]",
    RULE % ", tests: [{given: {}, with: {'median(by=ip)': 1}, expect: hit}]",
    FEATURE % "",
    FEATURE % ", agg: count",
    FEATURE % ", agg: count, by: customer",
    FEATURE % ", agg: median, by: customer, window: 1h",
    FEATURE % ", agg: count, by: planet, window: 1h",
    FEATURE % ", agg: count, by: customer, window: soon",
    FEATURE % ", agg: count, of: amount, by: customer, window: 1h",
    FEATURE % ", agg: sum, of: card_id, by: customer, window: 1h",
    FEATURE % ", agg: distinct, of: amount, by: customer, window: 1h",
    FEATURE % ", agg: mean, by: customer, window: 1h",
    FEATURE % ", expr: amount, by: customer",
    "features: [{name: 1st, expr: amount}]",
    "lists: {l: [a]}",
    "lists: {l: {values: [a, 1]}}",
    "lists: {l: {value: [a]}}",
    "lists: {l-l: {values: [a]}}",
    "models: {anomalie: {inputs: [a]}}",
    MODEL % "trees: 5",
    MODEL % "trees: 501, inputs: [a]",
    MODEL % "trees: 1.5, inputs: [a]",
    MODEL % "inputs: []",
    MODEL % "inputs: [a, a]",
    MODEL % "inputs: [a], detector: oracle",
    MODEL % "inputs: [a], memory: 500",
    MODEL % "inputs: [a], detector: tails, trees: 5",
    "models: {fraud: {plain: [a]}}",
    "models: {fraud: {inputs: [a], learner: oracle}}",
    FEATURE % ", agg: fraud_count, by: card, window: 1h, where: amount > 1",
    FEATURE % ", agg: fraud_rate, by: card",
])  # fmt: skip
def test_wrong_files_do_not(text: str) -> None:
    assert not valid(text)


@pytest.mark.parametrize("text", [
    MODEL % "inputs: [a], detector: tails, memory: 500",
    MODEL % "inputs: [a], trees: 5",
    "models: {fraud: {learner: logistic, seed: 3, plain: [a], inputs: [a]}}",
    FEATURE % ", agg: fraud_count, by: [card, device], window: 28d",
])  # fmt: skip
def test_models_and_label_aggregates(text: str) -> None:
    assert valid(text)


def test_right_tables_pass() -> None:
    assert valid("tables: {backup_route: {acq_a: acq_b, 5411: 1}}")


@pytest.mark.parametrize("extra", [
    "expr: amount / 2", "agg: age, by: device", "agg: count, by: [card, ip], window: 24h",
])  # fmt: skip
def test_right_features_pass(extra: str) -> None:
    assert valid(FEATURE % f", {extra}")
