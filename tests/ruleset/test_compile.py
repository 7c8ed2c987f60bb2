"""What a rules directory compiles to: rows, sharing, order, names, hashes, models, limits."""

import json
import subprocess
import sys

import numpy as np
import pytest

from engine.features.definition import FeatureDef
from engine.ruleset import AnomalyConfig, Frame, RuleErrors, compile, declarations, defaults, ir
from engine.ruleset.compiler import content_hash
from engine.ruleset.explain import detail, explain_hit, explanation
from engine.ruleset.model import FraudConfig
from engine.scoring.learners.registry import LEARNERS
from engine.scoring.registry import DETECTORS, create
from tests.ruleset.helpers import columns_of, faults, rule_file, ruleset_of

CONTRACT = """
lists: {trusted_ips: {values: ["203.0.113.0/24"]}}
features:
  - {name: cards_per_ip_1h, agg: distinct, of: card_id, by: ip, window: 1h}
  - {name: cust_spend_24h, agg: sum, of: amount, by: customer, window: 24h, where: "type == 'payment.authorised'"}
  - {name: same_merchant_1d, agg: count, by: [customer, merchant], window: 24h}
  - {name: cust_mean_30d, agg: mean, of: amount, by: customer, window: 30d}
  - {name: amount_ratio, expr: "amount / coalesce(cust_mean_30d, amount)"}
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
MODELS = "models: {anomaly: {inputs: [n]}}\nfeatures:\n  - {name: n, agg: count, by: customer, window: 1h}\n"


def test_the_contracts_own_example() -> None:
    ruleset = compile({"card.yaml": CONTRACT})
    inline = "count(by=ip, window='10m', where='type == \\'payment.declined\\'')"
    declared = ["cards_per_ip_1h", "cust_spend_24h", "same_merchant_1d", "cust_mean_30d", "amount_ratio"]
    assert ruleset.declared == declared
    assert [definition.name for definition in ruleset.features[:5]] == [*declared[:4], inline]
    assert list(ruleset.rows)[: len(ruleset.features)] == [definition.name for definition in ruleset.features]
    assert ruleset.declared_rows()[1] == ["int", "number", "int", "number", "number"]
    rule = ruleset.rules[0]
    assert (rule.reason, rule.score, rule.decision, rule.mode) == ("CARD_TESTING_IP", 40.0, 3, "live")
    assert rule.uses == ("cards_per_ip_1h", inline)
    assert [ruleset.features[i].name for i in rule.features] == list(rule.uses)
    assert ruleset.features[2].by == ("customer", "merchant")


def test_the_event_before_inside_an_expression() -> None:
    """`last` is a number, `changed` a truth, of texts and numbers alike; `payment` is an entity."""
    when = (
        "amount > 3 * last(of=amount, by=card, window='30d') and changed(of=device_id, by=customer, window='7d')"
        " and (changed(of=amount, by=payment, window='7d', where=\"type == 'payment.settled'\") or missing(card_id))"
    )
    ruleset = compile({"r.yaml": f"rules: [{{id: r, when: {json.dumps(when)}, then: {{decision: review}}}}]\n"})
    found = [(d.agg, d.of, d.by) for d in (ruleset.features[i] for i in ruleset.rules[0].features)]
    assert found == [
        ("last", "amount", ("card",)), ("changed", "device_id", ("customer",)), ("changed", "amount", ("payment",)),
    ]  # fmt: skip
    assert [ruleset.kinds[i] for i in ruleset.rules[0].features] == ["number", "bool", "bool"]


def test_the_same_aggregate_is_one_feature_however_it_is_written() -> None:
    head = """features:
  - {name: declines, agg: count, by: card, window: 24h, where: "type == 'payment.declined'"}
"""
    when = (
        "count(window='1d', by=[card], where='type==\"payment.declined\"') > 1"
        " and count(by='card', window='1440m', where=\"'payment.declined' == type\") > 1 and declines > 1"
    )
    ruleset = ruleset_of(head + rule_file(when) + "models: {anomaly: {inputs: [declines]}}\n")
    assert [definition.name for definition in ruleset.features] == ["declines"]
    assert ruleset.rules[0].when.text == "(declines > 1) and (declines > 1) and (declines > 1)"


def test_the_order_of_entities_does_not_matter() -> None:
    ruleset = ruleset_of(rule_file("count(by=[card, customer], window='1h') > count(by=[customer, card], window='1h')"))
    ours = [definition for definition in ruleset.features if definition.by == ("customer", "card")]
    assert len(ours) == 1


def test_derived_features_are_ordered_and_rules_know_what_they_use() -> None:
    text = (
        MODELS
        + """
  - {name: c, expr: "b + 1"}
  - {name: b, expr: "a * 2"}
  - {name: a, expr: "n + amount"}
  - {name: is_big, expr: "c > 10"}
rules:
  - {id: r, when: "is_big and c > 3", then: {score: 1}}
"""
    )
    ruleset = ruleset_of(text)
    assert [entry.name for entry in ruleset.derived] == ["a", "b", "c", "is_big"]
    assert ruleset.declared == ["n", "c", "b", "a", "is_big"]
    assert ruleset.rules[0].uses == ("n",)
    assert ruleset.declared_rows()[1] == ["int", "number", "number", "number", "bool"]
    for size in (1, 12):
        matrix = ruleset.derive(columns_of([{"amount": 3.0}] * size), np.full((1, size), 2.0))
        assert [matrix[ruleset.rows[name], 0] for name in ("n", "a", "b", "c", "is_big")] == [2, 5, 10, 11, 1]


def test_derive_fills_a_full_matrix_in_place() -> None:
    ruleset = ruleset_of(MODELS + '  - {name: twice, expr: "n * 2"}\n')
    full = np.full((2, 20), 4.0)
    assert ruleset.derive(columns_of([{}] * 20), full) is full
    assert full[1].tolist() == [8.0] * 20


def test_a_circle_of_derived_features_is_named() -> None:
    text = "features:\n  - {name: a, expr: b + 1}\n  - {name: b, expr: c}\n  - {name: c, expr: a}\n"
    assert faults(text) == ["t.yaml:4:21: derived features go in a circle: a -> b -> c -> a"]
    assert faults("features:\n  - {name: a, expr: a + 1}\n") == ["t.yaml:2:21: derived features go in a circle: a -> a"]


def test_files_are_compiled_in_order_of_name_and_may_name_each_other() -> None:
    rules = rule_file("n > 1")
    one = compile({"b.yaml": MODELS, "a.yaml": rules})
    two = compile({"a.yaml": rules, "b.yaml": MODELS})
    assert one.hash == two.hash
    assert one.rows == two.rows
    assert one.hash != compile({"a.yaml": rules + "\n", "b.yaml": MODELS}).hash
    assert one.hash != compile({"a.yaml": rules, "c.yaml": MODELS}).hash
    assert len(one.hash) == 16


def test_the_hash_keeps_names_and_texts_apart() -> None:
    assert content_hash({"a": "bc"}) != content_hash({"ab": "c"})
    assert content_hash({"a": "", "b": ""}) != content_hash({"a": "b"})


def test_the_same_directory_compiles_the_same_under_any_hash_seed() -> None:
    code = (
        "from pathlib import Path; from engine.ruleset import report;"
        "r = report.load(Path('rules')); print(r.hash, list(r.rows), [x.when.text for x in r.rules])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_models_are_read_and_bounded() -> None:
    anomaly = "{detector: half_space_trees, trees: 10, height: 6, window: 100, seed: 7, inputs: [n]}"
    ruleset = ruleset_of(MODELS.replace("{inputs: [n]}", anomaly).replace("n]}}", "n]}, fraud: {inputs: [n]}}"))
    assert ruleset.models.anomaly == AnomalyConfig("half_space_trees", 10, 6, 100, 7, ("n",))
    assert ruleset.models.fraud is not None
    assert ruleset.model_inputs(ruleset.models.fraud) == [0]
    default = ruleset_of(MODELS).models.anomaly
    assert default == AnomalyConfig("half_space_trees", 25, 8, 250, 42, ("n",))


@pytest.mark.parametrize(
    ("anomaly", "message"),
    [
        ("{inputs: [nn]}", "unknown feature 'nn' (did you mean 'n'?)"),
        ("{inputs: [amount]}", "declare a derived feature of the field"),
        ("{inputs: [n, n]}", "the input 'n' stands twice"),
        ("{inputs: []}", "a model has 1 to 128 inputs"),
        ("{trees: 0, inputs: [n]}", "'trees' must be from 1 to 500"),
        ("{height: 40, inputs: [n]}", "'height' must be from 1 to 15"),
        ("{trees: 2.5, inputs: [n]}", "'trees' must be a whole number"),
        ("{trees: yes, inputs: [n]}", "'trees' must be a number"),
        ("{detector: forest, inputs: [n]}", "unknown detector 'forest'"),
        ("{tres: 3, inputs: [n]}", "unknown key 'tres' of the anomaly model (did you mean 'trees'?)"),
        ("{trees: 3}", "the anomaly model needs 'inputs'"),
        ("{memory: 500, inputs: [n]}", "half_space_trees takes no 'memory' (it takes trees, height, window, seed)"),
        ("{detector: tails, seed: 5, inputs: [n]}", "tails takes no 'seed' (it takes memory)"),
        ("{detector: tails, memory: 10, inputs: [n]}", "'memory' must be from 100 to"),
    ],
)
def test_models_that_make_no_sense(anomaly: str, message: str) -> None:
    found = faults(MODELS.replace("{inputs: [n]}", anomaly))
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    ("fraud", "message"),
    [
        ("{plain: [n]}", "the fraud model needs 'inputs'"),
        ("{inputs: [n], plain: [m]}", "unknown feature 'm'"),
        ("{inputs: [n], plain: []}", "a model has 1 to 128 inputs"),
        ("{inputs: [n], learner: oracle}", "unknown learner 'oracle' (one of boosted_trees, logistic)"),
        ("{inputs: [n], seed: -1}", "'seed' must be from 0"),
        ("{inputs: [n], depth: 3}", "unknown key 'depth' of the fraud model"),
    ],
)
def test_fraud_models_that_make_no_sense(fraud: str, message: str) -> None:
    found = faults(MODELS.replace("{anomaly: {inputs: [n]}}", f"{{fraud: {fraud}}}"))
    assert len(found) == 1
    assert message in found[0]


OF_LABELS = """
features:
  - {name: again, expr: "rate * 2"}
  - {name: rate, expr: "coalesce(fraud_rate(by=device, window='7d'), 0)"}
  - {name: frauds, agg: fraud_count, by: terminal, window: 7d}
  - {name: n, agg: count, by: card, window: 1d}
  - {name: twice, expr: "n * 2"}
models: {fraud: {inputs: [frauds, again, n], plain: [n, twice, INPUT]}}
"""


@pytest.mark.parametrize("name", ["frauds", "rate", "again"])
def test_a_label_free_detector_has_no_inputs_that_come_of_labels(name: str) -> None:
    (found,) = faults(OF_LABELS.replace("INPUT", name))
    assert ":8:64: 'plain' holds '" + name + "', which comes of labels" in found
    assert ruleset_of(OF_LABELS.replace(", INPUT", "")).models.fraud is not None


def test_a_fraud_model_says_how_it_learns() -> None:
    fraud = "{learner: logistic, seed: 9, plain: [n], inputs: [n]}"
    ruleset = ruleset_of(MODELS.replace("{anomaly: {inputs: [n]}}", f"{{fraud: {fraud}}}"))
    assert ruleset.models.fraud == FraudConfig(("n",), ("n",), "logistic", 9)
    tails = ruleset_of(MODELS.replace("{inputs: [n]}", "{detector: tails, memory: 700, inputs: [n]}"))
    assert tails.models.anomaly == AnomalyConfig("tails", inputs=("n",), memory=700)


def test_the_loader_knows_the_detectors_and_learners_there_are() -> None:
    assert set(declarations.DETECTORS) == set(DETECTORS)
    assert set(declarations.LEARNERS) == set(LEARNERS)
    for detector, names in declarations.DETECTORS.items():
        assert create(detector, 2, **{name: declarations.ANOMALY_BOUNDS[name][0] for name in names}).inputs == 2


def test_models_stand_in_one_file() -> None:
    with pytest.raises(RuleErrors, match="'models' stands in two files"):
        compile({"a.yaml": MODELS, "b.yaml": "models: {}"})


def test_without_models_the_shipped_ones_are_used_and_stay_out_of_sight() -> None:
    ruleset = ruleset_of("features: [{name: amount_z, agg: count, by: customer, window: 1h}]")
    assert ruleset.declared == ["amount_z"]
    assert ruleset.declared_rows() == (["amount_z"], ["int"], [0])
    assert ruleset.models == defaults.models()
    pace = next(entry for entry in ruleset.derived if entry.name == "default.cust_1h")
    used = [node.name for node in ir.walk(pace.expr) if isinstance(node, ir.Feature)]
    assert used == ["amount_z"]  # the same aggregate, so the same row
    far = next(entry for entry in ruleset.derived if entry.name == "default.amount_z")
    used = [node.name for node in ir.walk(far.expr) if isinstance(node, ir.Feature)]
    assert used == ["default.cust_mean", "default.cust_std"]  # and not the author's feature of that name


def test_an_explanation_names_every_part_and_its_value() -> None:
    ruleset = compile({"card.yaml": CONTRACT})
    columns = columns_of([{"ip": "203.0.113.5"}])
    matrix = np.full((len(ruleset.rows), 1), 5.0)
    lines = explain_hit(ruleset, Frame(columns, matrix), ruleset.rules[0], 0).lines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["False", "True", "5.0", "True", "5.0", "False", "True",
                                                            "203.0.113.5"]  # fmt: skip
    assert lines[1] == "  cards_per_ip_1h >= 4: True"
    assert lines[-1] == "      ip: 203.0.113.5"


EXPLAINED = """
features: [{name: n, agg: count, by: customer, window: 1h}, {name: new, agg: is_new, of: ip, by: customer, window: 1h}]
rules:
  - {id: a, when: n > 3 and new, then: {decision: decline}}
  - {id: b, when: amount > 5, then: {decision: review}, mode: shadow}
  - {id: c, when: amount > 50, then: {decision: review}}
  - {id: d, when: "ip == '10.0.0.1'", then: {allow: true}}
  - {id: o, when: n > 3, then: {alert: abuse}}
  - {id: p, on: payment.settled, when: n > 3, then: {alert: abuse}}
"""


def test_an_explanation_as_data_has_what_hit_and_what_it_saw() -> None:
    ruleset = compile({"t.yaml": EXPLAINED})
    columns = columns_of([{"ip": "10.0.0.9", "amount": 1.0}, {"ip": "10.0.0.1", "amount": 12.5}])
    matrix = np.full((len(ruleset.rows), 2), np.nan)
    matrix[:2] = [[1.0, 4.0], [np.nan, 1.0]]
    frame = Frame(columns, matrix)
    verdicts = ruleset.decide(ruleset.evaluate(frame))
    found = json.loads(json.dumps(explanation(ruleset, frame, 1, verdicts)))
    assert found["ruleset"] == ruleset.hash
    assert [(entry["rule"], entry["outcome"]) for entry in found["rules"]] == [
        ("a", "set_aside"), ("b", "shadow"), ("d", "in_force"),
    ]  # fmt: skip
    assert found["rules"][0] | {"line": 0} == {
        "rule": "a", "file": "t.yaml", "line": 0, "mode": "live", "outcome": "set_aside", "reason": "A",
        "condition": {"node": "(n > 3) and (new is true)", "value": True, "parts": [
            {"node": "n > 3", "value": True, "parts": [{"node": "n", "value": 4.0}]},
            {"node": "new is true", "value": True, "parts": [{"node": "new", "value": True}]},
        ]},
        "features": {"n": 4, "new": True},
    }  # fmt: skip
    assert [(entry["rule"], entry["outcome"]) for entry in found["observers"]] == [("o", "hit")]
    everything = explanation(ruleset, frame, 0, verdicts, everything=True)
    assert {entry["outcome"] for kind in ("rules", "observers") for entry in everything[kind]} == {"miss"}
    assert [entry["rule"] for entry in everything["rules"]] == ["a", "b", "c", "d"]
    assert everything["rules"][0]["features"] == {"n": 1, "new": None}
    columns.decides[:] = False
    assert explanation(ruleset, frame, 1, ruleset.decide(ruleset.evaluate(frame)))["observers"] == []


def test_the_detail_of_a_hit_is_filled_in() -> None:
    rule = "then: {score: 1, detail: '{amount} from {ip}, {lat}'}"
    ruleset = ruleset_of(rule_file("true", rule=rule))
    frame = Frame(columns_of([{"amount": 12.5, "ip": "10.0.0.1"}]), np.empty((len(ruleset.rows), 1)))
    assert detail(ruleset, frame, 0, 0) == "12.5 from 10.0.0.1, missing"
    plain = ruleset_of(rule_file("true", rule="then: {score: 1}\n    description: why"))
    assert detail(plain, frame, 0, 0) == "why"


def test_filters_see_columns_only() -> None:
    ruleset = ruleset_of(
        "features: [{name: f, agg: count, by: customer, window: 1h, where: \"amount > 5 and lower(ip) == 'a'\"}]"
    )
    definition: FeatureDef = ruleset.features[0]
    assert definition.where is not None
    assert definition.where.text == "(amount > 5) and (lower(ip) == 'a')"
    columns = columns_of([{"amount": float(i), "ip": "A" if i % 2 else "b"} for i in range(12)])
    assert definition.where.evaluate(columns).tolist() == [i > 5 and i % 2 == 1 for i in range(12)]
