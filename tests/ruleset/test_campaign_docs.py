"""The pages about campaigns say what the tables say, and what they show is true."""

import re

import pytest

from engine.ruleset import testing
from engine.ruleset.campaigns import bounds, gives, tests_in_files, triggers
from engine.ruleset.campaigns.model import DIMENSIONS, REWARDS, TIMERS
from engine.ruleset.campaigns.read import KEYS
from engine.ruleset.limits import CAMPAIGNS_MAX
from engine.ruleset.parser import EXPRESSION_NODES_MAX
from engine.ruleset.rules import TESTS_MAX
from load_tests.campaigns_catalogue import PAGE, PLACE, ROOT, pages, with_names
from tests.ruleset.helpers import ruleset_of

TEXT = PAGE.read_text("utf-8")
HOWTO = (ROOT / "docs" / "howto" / "add-a-campaign.md").read_text("utf-8")


def blocks(text: str) -> list[str]:
    """The files that a page shows."""
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) if "\n   campaigns:" in f"\n{block}" else block
            for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]  # fmt: skip


def test_the_names_are_those_of_the_engine() -> None:
    assert with_names(TEXT) == TEXT, "run make catalogue"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        with_names("# nothing")


def test_the_catalogue_is_what_the_files_make() -> None:
    made = pages()
    assert {path.name for path in PLACE.glob("*.md")} == set(made)
    for name, text in made.items():
        assert (PLACE / name).read_text("utf-8") == text, f"{name}: run make catalogue"


def test_every_key_trigger_and_reward_is_explained() -> None:
    for key in (*KEYS, *gives.OFFER_KEYS, *gives.REWARD_KEYS, *bounds.CAP_KEYS, *bounds.BUDGET_KEYS,
                *tests_in_files.CASE_KEYS, *triggers.ON_KEYS):  # fmt: skip
        assert re.search(rf"[`{{ ]{key}\b[`:,]", TEXT) or key in ("reward", "offer", "description"), key
    for timer, keys in TIMERS.items():
        [row] = [line for line in TEXT.splitlines() if line.startswith(f"| `{timer}` |")]
        assert all(f"`{key}: " in row for key in keys)
    for dimension, states in DIMENSIONS.items():
        assert f"| `{dimension}` | {', '.join(states)} |" in TEXT
    for kind in REWARDS:
        assert f"{{reward: {kind}" in TEXT


def test_the_limits_are_those_that_apply() -> None:
    said = TEXT[TEXT.index("Limits, each") :]
    limits = (CAMPAIGNS_MAX, TESTS_MAX, bounds.CAPS_MAX, gives.OFFERS_MAX, triggers.SPANS_MAX, bounds.MONTHS_MAX)
    for number in (*limits, EXPRESSION_NODES_MAX):
        assert f"{number} " in said.replace("\n", " "), number


def test_the_files_of_the_pages_compile_and_their_tests_hold() -> None:
    for text in (TEXT, HOWTO):
        [block] = blocks(text)
        outcomes = testing.run_campaigns(ruleset_of(block))
        assert len(outcomes) >= 2
        assert all(outcome.ok for outcome in outcomes), [outcome.steps.lines() for outcome in outcomes]
