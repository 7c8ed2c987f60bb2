"""The sweep: each value against a replay of rules that were edited by hand, and how literals are named."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ruleset import compile, ir
from engine.service.backtest import SweepError, parse
from engine.service.backtest.sweep_target import literals, varied
from tests.backtest.conftest import BASELINE, backtest, replay
from tests.backtest.naive import Naive

RULES = """
features:
  - {name: f, agg: count, by: customer, window: 1h}
rules:
  - id: one
    when: f >= 4 and amount > 4 and (amount / 2 > 10 or coalesce(f, 7) in [1, 2]) and round(amount, 2) ** 2 > 3
    then: {decision: review, reason: ONE}
  - id: none
    when: channel == 'web'
    then: {decision: review, reason: NONE}
"""


def ruleset() -> Any:
    return compile({"rules.yaml": RULES})


@pytest.mark.parametrize(
    ("rule", "old", "values"),
    [
        ("busy", "cust_count_24h >= {}", (2, 4, 6)),
        ("quiet", "amount > {}", (100, 150)),
        ("dear", "ratio >= {}", (1, 3)),
    ],
)
def test_sweep_is_what_edited_rules_do(
    place: Path, events: list[dict[str, Any]], tmp_path: Path, rule: str, old: str, values: tuple[float, ...]
) -> None:
    name = old.split(maxsplit=1)[0]
    step = values[1] - values[0]
    sweep = f"{rule}:{name}={values[0]}..{values[-1]}:{step}"
    report_file = tmp_path / "report.json"
    assert backtest(place, "--sweep", sweep, "--json", report_file, candidate="baseline") == 0
    found = json.loads(report_file.read_text())["sweeps"][0]
    assert [point["value"] for point in found["points"]] == list(values)
    for point in found["points"]:
        rules = tmp_path / f"rules{point['value']}"
        rules.mkdir()
        text = (
            re.sub(old.format("[0-9.]+"), old.format(point["value"]), BASELINE, count=1)
            if rule != "dear"
            else (BASELINE.replace("ratio >= 2", f"ratio >= {point['value']}"))
        )
        if rule == "quiet":
            text = BASELINE.replace("amount > 150", f"amount > {point['value']}").replace("    mode: shadow\n", "")
        (rules / "rules.yaml").write_text(text)
        out = replay(place, rules, tmp_path / f"out{point['value']}")
        naive = Naive(events, (out, out), 0.5)
        assert point["hits"] == len(naive.of(0, None, rule))
        assert point["true_positives"] == len(naive.of(0, "fraud", rule))
        assert point["false_positives"] == len(naive.of(0, "legitimate", rule))
        for label, key in (("fraud", "set_recall"), ("legitimate", "set_insult_rate")):
            those = naive.of(0, label)
            assert point[key] == round(sum(d["decision"] != "approve" for d in those) / len(those), 6)
    assert len({point["hits"] for point in found["points"]}) > 1


def test_literals_are_named_by_position_value_and_what_they_are_compared_with() -> None:
    rules = ruleset()
    values = [literal.value for literal in literals(rules.rules[0].when)]
    assert values == [4.0, 4.0, 2.0, 10.0, 7.0, 3.0]  # neither the digits of round nor the power, nor a list's members
    assert parse("one:#1=1..3", rules).path == parse("one:f=1..3", rules).path
    assert parse("one:10=1..3", rules).position == 4
    assert parse("one:amount / 2=1..3", rules).position == 4
    assert parse("one: amount = 1..3 ", rules).position == 2


@pytest.mark.parametrize(
    "text",
    ["one", "one:4", "one:=1..2", ":4=1..2", "two:4=1..2", "one:4=1..2", "one:5=1..2", "one:#9=1..2", "one:#²=1..2",
     "none:1=1..2", "one:f=2..1", "one:f=1..1", "one:f=1..2:0", "one:f=1..2:-1", "one:f=a..b", "one:f=1..nan",
     "one:f=0..1000:1", "one:f=1e3..2e3", "one:f=0..1:0." + "0" * 90 + "1", "one:channel=1..2"],
)  # fmt: skip
def test_what_cannot_be_swept_is_said_in_a_line(text: str) -> None:
    with pytest.raises(SweepError) as error:
        parse(text, ruleset())
    assert "\n" not in str(error.value)


def test_values() -> None:
    rules = ruleset()
    assert parse("one:f=1..5", rules).values == (1, 2, 3, 4, 5)
    assert parse("one:f=0..1:0.1", rules).values == tuple(i / 10 for i in range(11))
    assert len(parse("one:f=0..1000", rules).values) == 21
    assert parse("one:f=-2..-1:0.5", rules).values == (-2.0, -1.5, -1.0)


@given(st.integers(0, 5), st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))
def test_only_the_named_literal_changes(place_of: int, value: float) -> None:
    rules = ruleset()
    target = parse(f"one:#{place_of + 1}=1..2", rules)
    before = rules.rules[0].when
    text = before.text
    after = varied(rules.rules[0], target, value).when
    assert before.text == text
    wanted = [literal.value for literal in literals(before)]
    wanted[place_of] = value
    found = [literal.value for literal in literals(after)]
    assert all(math.isclose(a, b) or a == b for a, b in zip(found, wanted, strict=True))
    assert len(ir.walk(after)) == len(ir.walk(before))
    assert varied(rules.rules[0], target, target.current).when.text == text
