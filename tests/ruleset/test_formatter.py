"""Formatting changes no meaning, loses no comment, and is done after one pass."""
# ruff: noqa: E501 - YAML before and after reads best on one line

import random
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.cli import main
from engine.ruleset import RuleErrors, RuleSet, compile, formatter
from engine.ruleset.build import FALSE
from engine.ruleset.campaigns import abuse, bounds, gives, triggers
from engine.ruleset.campaigns.read import KEYS as CAMPAIGN_KEYS
from engine.ruleset.campaigns.tests_in_files import CASE_KEYS as CAMPAIGN_CASE_KEYS
from engine.ruleset.cases import CASE_KEYS
from engine.ruleset.compiler import SECTIONS
from engine.ruleset.declarations import ANOMALY_KEYS, FEATURE_KEYS, FRAUD_KEYS, LIST_KEYS, MODEL_KEYS
from engine.ruleset.formatter import comments, reformat
from engine.ruleset.formatter.layout import ORDERS
from engine.ruleset.formatter.tree import build
from engine.ruleset.observers import ALERT_KEYS, FOLLOW_KEYS
from engine.ruleset.rules import RULE_KEYS, THEN_KEYS
from engine.ruleset.yaml_loader import Source, load

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    path.relative_to(ROOT / "rules").as_posix(): path.read_text("utf-8")
    for path in sorted((ROOT / "rules").rglob("*.yaml"))
}
QUICK = (Phase.explicit, Phase.generate)
MESSY = """# header

# above lists
features:
- {window: 1h, name: a, by:   ip, agg: count}   # trailing
  # b is off
rules:
  - when: 'amount > 1'   # why
    # the outcome
    then: {reason: R,
           decision: review}
    id: "r"
    tests: [{expect: hit, given: {amount: 2}}]
  # foot of r
  - id: s
    when: |
       amount > 2
       and three_ds
    then:
      score: 5 # five
# end
"""
TIDY = """# header

# above lists
features:
  - {name: a, agg: count, by: ip, window: 1h}  # trailing
  # b is off

rules:
  - id: r
    when: amount > 1  # why
    # the outcome
    then: {decision: review, reason: R}
    tests:
      - {given: {amount: 2}, expect: hit}

  # foot of r
  - id: s
    when: |-
      amount > 2
      and three_ds
    then:
      score: 5  # five
# end
"""


OBSERVER = """rules:
  - {then: {every: 30m, by: acquirer, title: 'less of {acquirer}', alert: operations}, when: amount > 1, id: p}
  - then: {title: x, alert: operations}
    unless_followed_by:
       within: 3d
       same: payment_id
       types: [payment.settled,
          payment.cancelled]
    on: [payment.captured]
    when: 'amount > 1'
    id: o
    tests: [{rates: {USD: 2, base: EUR}, expect: hit, lists: {l: [a]}, given: {metadata: {when: 'a  b'}}}]
lists: {l: {values: []}}
tables: {when: {when: ' a  b ', expr: "yes"},
  other: {b: 1,

     a: 2}}
"""
OBSERVER_TIDY = """lists:
  l: {values: []}

tables:
  when: {when: " a  b ", expr: "yes"}
  other: {b: 1, a: 2}

rules:
  - id: p
    when: amount > 1
    then: {alert: operations, title: "less of {acquirer}", by: acquirer, every: 30m}

  - id: o
    on: [payment.captured]
    when: amount > 1
    unless_followed_by: {types: [payment.settled, payment.cancelled], same: payment_id, within: 3d}
    then: {alert: operations, title: x}
    tests:
      - {given: {metadata: {when: "a  b"}}, lists: {l: [a]}, rates: {USD: 2, base: EUR}, expect: hit}
"""


def said(text: str) -> Counter[str]:
    root = build(text)
    return Counter(c.text for c in comments.find(Source("t", text), root)) if root else Counter()


def semantics(ruleset: RuleSet) -> Any:
    """What a rule set does, without names of files, lines and the hash of the text."""
    rules = [
        (r.id, r.description, r.owner, r.when.text, r.unless and r.unless.text, r.decision, r.score, r.reason, r.detail, r.allow, r.hard,
         r.mode, r.share, r.uses, r.features, r.scores, r.tags, [(c.texts, c.numbers, c.flags, c.features, c.hit) for c in r.tests], r.on, r.alert, r.follow)
        for r in (*ruleset.rules, *ruleset.observers)
    ]  # fmt: skip
    derived = [(d.name, d.expr.text, d.kind) for d in ruleset.derived]
    lists = {name: (found.texts, found.numbers, found.networks) for name, found in ruleset.lists.items()}
    campaigns = [
        (replace(c, when=FALSE, reward=None, tests=(), file="", line=0), c.when.text, str(c.reward),
         [(t.event.texts, t.event.numbers, t.event.features, t.customer, t.granted, t.amount) for t in c.tests])
        for c in ruleset.campaigns
    ]  # fmt: skip
    return (
        rules,
        campaigns,
        [str(f) for f in ruleset.features],
        derived,
        ruleset.declared,
        lists,
        ruleset.tables,
        ruleset.models,
    )


def test_a_messy_file_becomes_tidy() -> None:
    assert reformat("t.yaml", MESSY) == TIDY
    assert reformat("t.yaml", TIDY) == TIDY


def test_observers_and_tables_become_tidy_and_mean_the_same() -> None:
    assert reformat("t.yaml", OBSERVER) == OBSERVER_TIDY
    assert reformat("t.yaml", OBSERVER_TIDY) == OBSERVER_TIDY
    assert semantics(compile({"t.yaml": OBSERVER})) == semantics(compile({"t.yaml": OBSERVER_TIDY}))
    assert compile({"t.yaml": OBSERVER}).tables["when"] == {"when": " a  b ", "expr": "yes"}


def test_the_shipped_rules_are_formatted_and_mean_the_same() -> None:
    for name, text in SHIPPED.items():
        assert reformat(name, text) == text, f"run: steward rules fmt rules/{name}"


def test_every_key_the_loader_knows_has_its_place() -> None:
    wanted = {
        (): SECTIONS, ("lists", "*"): LIST_KEYS, ("features", "*"): FEATURE_KEYS, ("models",): MODEL_KEYS,
        ("models", "anomaly"): ANOMALY_KEYS, ("models", "fraud"): FRAUD_KEYS, ("rules", "*"): RULE_KEYS,
        ("rules", "*", "then"): (*THEN_KEYS, *ALERT_KEYS),
        ("rules", "*", "unless_followed_by"): FOLLOW_KEYS,
        ("rules", "*", "tests", "*"): CASE_KEYS, ("campaigns", "*"): CAMPAIGN_KEYS,
        ("campaigns", "*", "on"): triggers.ON_KEYS,
        ("campaigns", "*", "then"): {*gives.REWARD_KEYS, *gives.OFFER_KEYS, *gives.CHOICE_KEYS},
        ("campaigns", "*", "then", "offers", "*"): gives.CHOSEN_KEYS, ("campaigns", "*", "caps", "*"): bounds.CAP_KEYS,
        ("campaigns", "*", "abuse"): abuse.KEYS, ("campaigns", "*", "abuse", "new_account"): abuse.NEW_KEYS,
        ("campaigns", "*", "abuse", "refund_cycling"): abuse.CYCLING_KEYS,
        ("campaigns", "*", "budget"): bounds.BUDGET_KEYS, ("campaigns", "*", "tests", "*"): CAMPAIGN_CASE_KEYS,
    }  # fmt: skip
    assert {path: set(keys) for path, keys in ORDERS.items()} == {path: set(keys) for path, keys in wanted.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("# only words\n\n\n", "# only words\n"),
        ("{}  # nothing", "# nothing\n{}\n"),
        ("rules:\n", "rules:\n"),
        ("rules: []", "rules: []\n"),
        ("lists: {a: {values: [\n  x, # first\n  y]}}", "lists:\n  a:\n    values:\n      - x  # first\n      - y\n"),
        (
            "lists: {a: {values: ['1', 'x y', \"it's\", 'yes', NO]}}",
            'lists:\n  a: {values: ["1", "x y", "it\'s", "yes", NO]}\n',
        ),
        (
            "features: [{name: 'a', agg: \"count\", by: 'ip', window: \"1h\"}, {name: b, expr: '10m', owner: '1e3'}]",
            'features:\n  - {name: a, agg: count, by: ip, window: 1h}\n  - {name: b, expr: 10m, owner: "1e3"}\n',
        ),
        ("features:\n  - # why\n    name: a\n    expr: 'amount'", "features:\n  # why\n  - {name: a, expr: amount}\n"),
        ("\ufefflists: {a: {values: [x]}}\r\n", "lists:\n  a: {values: [x]}\n"),
    ],
)
def test_corners(before: str, after: str) -> None:
    assert reformat("t.yaml", before.removeprefix("\ufeff")) == after


def test_long_conditions_are_folded_at_their_outermost_words() -> None:
    part = "count(by=ip, window='10m', where=\"type == 'payment.declined' and amount > 5\") >= 3"
    text = f"rules:\n  - id: r\n    when: amount > 1 and {part} or {part}\n    then: {{score: 1}}\n"
    found = reformat("t.yaml", text)
    assert f"    when: >-\n      amount > 1 and {part}\n      or {part}\n" in found
    assert reformat("t.yaml", found) == found


@pytest.mark.parametrize("text", ["a: &x 1", "- a", "x", "a: [", "a: 1\na: 2", "a: !!str 1"])
def test_what_the_loader_refuses_is_refused(text: str) -> None:
    with pytest.raises(RuleErrors):
        reformat("t.yaml", text)


def test_a_result_that_means_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter.Layout, "file", lambda self, root, rest: "rules: [1]\n")
    with pytest.raises(RuleErrors, match="left alone"):
        reformat("t.yaml", "rules: []\n")


def once_is_enough(text: str) -> str:
    first = reformat("t.yaml", text)
    assert reformat("t.yaml", first) == first
    assert said(first) == said(text)
    return first


@settings(max_examples=30, phases=QUICK, deadline=None)
@given(st.sampled_from(sorted(SHIPPED)), st.integers(0, 2**32), st.integers(1, 12))
def test_comments_and_blank_lines_anywhere(name: str, seed: int, count: int) -> None:
    chance = random.Random(seed)
    lines = SHIPPED[name].splitlines()[:60]
    for number in range(count):
        place = chance.randrange(len(lines) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            lines.insert(place, "")
        elif kind == 1 and place < len(lines):
            lines[place] += f"  # behind {number}"
        else:
            lines.insert(place, " " * chance.randrange(9) + f"# word {number}")
    text = "\n".join(lines)
    try:
        load("t.yaml", text)
    except RuleErrors:
        return
    once_is_enough(text)


SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), st.text("ab :#'\"{}[],-|>&*!%@`?\\\n\t", max_size=30),
    st.sampled_from(["yes", "NO", "null", "~", "1", "1.5", "1e3", "0x1", "12:30", "- a", "a: b", "#", " x", "x ", "---", "..."]),
    st.text("ab cd", min_size=100, max_size=160), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from([*SECTIONS, *RULE_KEYS, *FEATURE_KEYS]), st.text("ab :#'\",", max_size=9))
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@settings(max_examples=60, phases=QUICK, deadline=None)
@given(
    st.dictionaries(KEYS, TREES, max_size=4),
    st.sampled_from([True, False, None]),
    st.sampled_from([None, "'", '"', "|", ">"]),
)
def test_any_tree_in_any_style(tree: dict[str, Any], flow: bool | None, style: str | None) -> None:
    text = yaml.safe_dump(
        tree, default_flow_style=flow, default_style=style, allow_unicode=True, sort_keys=False, width=60
    )
    try:
        load("t.yaml", text)
    except RuleErrors:
        return
    once_is_enough(text)


@settings(max_examples=3, phases=QUICK, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([True, False, None]))
def test_rules_mean_the_same_in_any_order_of_keys(seed: int, flow: bool | None) -> None:
    chance = random.Random(seed)

    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            keys = list(node)
            chance.shuffle(keys)
            return {"on" if key is True else key: shuffled(node[key]) for key in keys}  # PyYAML reads YAML 1.1
        return [shuffled(item) for item in node] if isinstance(node, list) else node

    files = {
        name: yaml.safe_dump(shuffled(yaml.safe_load(text)), default_flow_style=flow, sort_keys=False)
        for name, text in SHIPPED.items()
    }
    before = compile(files)
    assert semantics(compile({name: once_is_enough(text) for name, text in files.items()})) == semantics(before)


def test_formatting_keeps_the_meaning_of_the_shipped_rules() -> None:
    long = {name: "\n".join(line.rstrip() for line in text.splitlines()) for name, text in SHIPPED.items()}
    assert semantics(compile({n: once_is_enough(t) for n, t in long.items()})) == semantics(compile(SHIPPED))


def test_the_command_replaces_files_and_check_lists_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    messy, tidy = tmp_path / "sub" / "messy.yaml", tmp_path / "tidy.yml"
    messy.write_text(MESSY)
    messy.chmod(0o640)
    tidy.write_text(TIDY)
    assert main(["rules", "fmt", "--check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"would change {messy}\n"
    assert messy.read_text() == MESSY
    assert main(["rules", "fmt", str(messy), str(tidy)]) == 0
    assert capsys.readouterr().out == f"formatted {messy}\n"
    assert messy.read_text() == TIDY
    assert stat.S_IMODE(messy.stat().st_mode) == 0o640
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["messy.yaml"]
    assert main(["rules", "fmt", "--check", str(tmp_path)]) == 0


def test_a_bad_file_stops_the_command_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(MESSY)
    (tmp_path / "b.yaml").write_text("rules: [")
    assert main(["rules", "fmt", str(tmp_path)]) == 2
    assert "b.yaml:2:1: not YAML" in capsys.readouterr().err
    assert (tmp_path / "a.yaml").read_text() == MESSY
    assert main(["rules", "fmt", str(tmp_path / "absent")]) == 2


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(MESSY)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    assert main(["rules", "fmt", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text() == TIDY


def test_a_comment_above_the_key_that_becomes_the_first_is_the_items_at_once() -> None:
    """It was moved above the dash, and only the next run wrote the item on one line."""
    text = "features:\n  - agg: count\n    by: customer\n    window: 1h\n    # why\n    name: f0\n"
    once = reformat("a.yaml", text)
    assert once == "features:\n  # why\n  - {name: f0, agg: count, by: customer, window: 1h}\n"
    assert reformat("a.yaml", once) == once
