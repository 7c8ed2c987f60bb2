"""What `steward rules check` and `steward rules test` print."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from engine.ruleset import files, testing
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.compiler import compile
from engine.ruleset.errors import RuleErrors
from engine.ruleset.model import LIVE, Rule
from engine.ruleset.ruleset import RuleSet

WARNINGS_MAX: Final = 50  # as of errors: nobody reads more at once


class Report(NamedTuple):
    """Whether all is well, and what to print; `str()` is the text."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return self.text


def load(directory: Path) -> RuleSet:
    """Read and compile a rules directory or a single rule file. Raises `RuleErrors`."""
    return compile(files.read(directory))


def check(directory: Path) -> Report:
    """Whether a rules directory compiles, and what to print: a summary, with warnings of what a rule is better off
    with, or every fault with its place."""
    try:
        ruleset = load(Path(directory))
    except RuleErrors as faults:
        return Report(False, f"{faults}\n{_count(len(faults.errors), 'error')}")
    parts = [
        _rules(ruleset.rules, "rule"),
        *([_rules(ruleset.observers, "observer")] if ruleset.observers else []),
        _count(len(ruleset.declared), "declared feature"),
        _count(len(ruleset.features), "aggregate"),
        _count(len(ruleset.lists), "list"),
        *([_count(len(ruleset.tables), "table")] if ruleset.tables else []),
        *([_campaigns(ruleset)] if ruleset.campaigns else []),
    ]
    lines = [f"ok: {', '.join(parts)}; rule set {ruleset.hash}", *_warnings(ruleset)]
    return Report(True, "\n".join(lines))


def run_tests(directory: Path) -> Report:
    """Whether every in-file test holds, and what to print: failures explained, then the counts."""
    try:
        ruleset = load(Path(directory))
    except RuleErrors as faults:
        return Report(False, f"{faults}\n{_count(len(faults.errors), 'error')}")
    outcomes = testing.run(ruleset)
    lines = []
    for outcome in outcomes:
        if not outcome.ok:
            said, wanted = ("hit", "miss") if outcome.hit else ("miss", "hit")
            place = f"{outcome.rule.file}:{outcome.case.line}"
            lines.append(f"{place}: rule {outcome.rule.id}: expected {wanted}, got {said}")
            lines.extend(f"    {line}" for line in outcome.steps.lines())
    granted = testing.run_campaigns(ruleset)
    for one in granted:
        if not one.ok:
            lines.append(f"{one.campaign.file}:{one.case.line}: campaign {one.campaign.id}: {_expected(one)}")
            lines.extend(f"    {line}" for line in one.steps.lines())
    every: tuple[Rule | Campaign, ...] = (*ruleset.rules, *ruleset.observers, *ruleset.campaigns)
    untested = [rule.id for rule in every if not rule.tests]
    if untested:
        lines.append(f"without a test: {', '.join(untested)}")
    failed = sum(not outcome.ok for outcome in outcomes) + sum(not one.ok for one in granted)
    lines.append(f"{_count(len(outcomes) + len(granted), 'test')}, {failed} failed")
    return Report(failed == 0, "\n".join(lines))


def _expected(one: testing.Granted) -> str:
    """What a test of a campaign asked for, and what it got."""
    if not one.case.granted:
        return f"expected nothing, got {one.amount:g}" if one.campaign.reward else "expected nothing, got an offer"
    wanted = "a grant" if one.case.amount is None else f"{one.case.amount:g}"
    if one.case.frozen:
        wanted += " that is frozen"
    got = (
        f"{one.amount:g}" + (f", frozen for {', '.join(one.frozen)}" if one.frozen else "") if one.amount else "nothing"
    )
    return f"expected {wanted}, got {got}"


def _warnings(ruleset: RuleSet) -> list[str]:
    """A line for every rule or campaign that nobody answers for, that nobody explains or that nothing tests."""
    found = []
    every: tuple[tuple[str, Rule | Campaign], ...] = (
        *(("rule", rule) for rule in (*ruleset.rules, *ruleset.observers)),
        *(("campaign", campaign) for campaign in ruleset.campaigns),
    )
    for what, rule in every:
        wanted = (("owner", rule.owner), ("description", rule.description), ("test", rule.tests))
        lacking = [name for name, value in wanted if not value]
        if lacking:
            found.append(f"warning: {rule.file}:{rule.line}: {what} {rule.id} has no {', no '.join(lacking)}")
    more = len(found) - WARNINGS_MAX
    return found if more <= 0 else [*found[:WARNINGS_MAX], f"warning: {more:,} more like these"]


def _rules(rules: Sequence[Rule], word: str) -> str:
    aside = sum(rule.mode != LIVE for rule in rules)
    return _count(len(rules), word) + (f" ({aside} not live)" if aside else "")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _campaigns(ruleset: RuleSet) -> str:
    drafts = len(ruleset.campaigns) - len(ruleset.live)
    return _count(len(ruleset.campaigns), "campaign") + (f" ({drafts} of them drafts)" if drafts else "")
