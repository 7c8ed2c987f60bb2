"""The catalogue of the shipped rules says what the rule files and the figures say."""

import json

from engine.generator.fraud import PATTERNS
from engine.ruleset import report
from load_tests.rule_figures import FIGURES, RULES
from load_tests.rules_catalogue import PLACE, pages


def test_the_pages_are_those_the_files_make() -> None:
    made = pages()
    assert {path.name for path in PLACE.glob("*.md")} == set(made)
    for name, text in made.items():
        assert (PLACE / name).read_text("utf-8") == text, f"{name}: run make catalogue"


def test_every_rule_has_its_entry_and_every_kind_of_fraud_its_figures() -> None:
    ruleset, figures = report.load(RULES), json.loads(FIGURES.read_text("utf-8"))
    text = "\n".join(pages().values())
    for rule in (*ruleset.rules, *ruleset.observers):
        assert f"\n## {rule.id}\n" in text
        assert f"`{rule.reason}`" in text
    assert {rule.id for rule in ruleset.rules} == set(figures["rules"]), "run python -m load_tests.rule_figures"
    assert {pattern.name for pattern in PATTERNS} == set(figures["patterns"])
