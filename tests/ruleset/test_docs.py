"""The documentation is in step with the registry, and its examples are true."""

import re
from pathlib import Path

import pytest

from engine.ruleset import reference, testing
from engine.ruleset.functions import BUILTINS, REGISTRY
from tests.ruleset.helpers import faults, rule_file, ruleset_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
EXAMPLES = {name: entry[2] for name, entry in BUILTINS.items()} | {n: f.example for n, f in REGISTRY.items()}
HEAD = """tables: {risk_class: {"5411": low}}
features:
  - {name: cust_mean_30d, agg: mean, of: amount, by: customer, window: 30d}
"""


def test_the_function_table_is_the_registrys() -> None:
    text = PAGE.read_text("utf-8")
    assert reference.with_table(text) == text, "run: python -m engine.ruleset.reference"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        reference.with_table("# nothing")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_compile(name: str) -> None:
    example = EXAMPLES[name]
    found = faults(HEAD + f"  - {{name: d, expr: {example!r}}}\n".replace("\\'", "'")) if "'" not in example else []
    assert found == []
    as_rule = faults(HEAD + rule_file(example))
    assert as_rule == [] or "a condition is needed here, but this is a number" in as_rule[0]
    assert name in example


def test_the_file_of_the_page_compiles_and_its_tests_hold() -> None:
    block = re.search(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    needed = (
        "  - {name: cust_mean_30d, agg: mean, of: amount, by: customer, window: 30d}\n"
        "  - {name: scaled_amount, expr: 'clamp(amount / 1000, 0, 1)'}\n"
    )
    ruleset = ruleset_of(block[1].replace("lists:\n", needed + "lists:\n", 1))
    assert [outcome.ok for outcome in testing.run(ruleset)] == [True] * 3


def test_every_file_of_the_page_compiles() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    observers = ruleset_of(blocks[1]).observers
    assert [rule.id for rule in observers if rule.follow is not None] == ["settlement_missing", "source_silent"]


def test_every_function_keeps_its_documentation_to_a_line() -> None:
    for function in REGISTRY.values():
        assert function.doc
        assert "\n" not in function.doc + function.example
        assert len(function.params) >= 1
