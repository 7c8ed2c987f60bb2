"""The catalogue of the shipped rules: `python -m load_tests.rules_catalogue` writes docs/rules-catalogue/*.md.

Made from the rule files and from figures.json of `load_tests.rule_figures`; tests/ruleset/test_catalogue.py compares.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.domain.durations import format_duration
from engine.ruleset import RuleSet, report
from engine.ruleset.aggregates import canonical
from engine.ruleset.model import HIT, OUTCOMES, Rule
from load_tests.rule_figures import FIGURES, RULES

PLACE = FIGURES.parent
CAVEAT = """\
on which no threshold was chosen: the rules were tuned on seeds 101 to 103 and 201 to 203. Truth is the generator's. It
plants about 1 % fraud among people who change devices, travel, use VPNs and pay for cars, and knows the exchange rates.
It is still a model made by those who wrote the rules: expect less of your own history before you have tuned them to it,
above all less precision. A payment is caught where its decision was not `approve`.""".splitlines()
SOURCE = "[`rules/{0}`](../../rules/{0})"


def pages() -> dict[str, str]:
    """Every page by its name."""
    ruleset, figures = report.load(RULES), json.loads(FIGURES.read_text("utf-8"))
    files = {rule.file: "" for rule in (*ruleset.rules, *ruleset.observers)}
    found = {f"{Path(file).stem}.md": "\n".join(_page(ruleset, file, figures)) + "\n" for file in sorted(files)}
    return {"README.md": "\n".join(_overview(ruleset, figures, sorted(files))) + "\n", **found}


def share(part: int, whole: int) -> str:
    """A share in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _overview(ruleset: RuleSet, figures: dict[str, Any], files: list[str]) -> Iterator[str]:
    totals, days = figures["totals"], figures["days"]
    seeds = ", ".join(str(seed["seed"]) for seed in figures["seeds"])
    yield "# The shipped rules, and what each of them catches"
    yield ""
    yield "Written by `make catalogue` from the rule files and figures.json; edit those. Tune the rules on payments of"
    yield "your own: `steward rules backtest` makes the same table of any history ([backtest](../backtest.md))."
    yield ""
    yield "| file | decide | observe | about |"
    yield "|---|---|---|---|"
    for file in files:
        decide, observe = (sum(r.file == file for r in rules) for rules in (ruleset.rules, ruleset.observers))
        yield f"| [{Path(file).stem}]({Path(file).stem}.md) | {decide} | {observe} | {_about(file)} |"
    yield ""
    yield "## All together"
    yield ""
    yield f"Measured on generated streams of {figures['events']:,} events each (seeds {seeds}; {days:,.0f} days in all)"
    yield from CAVEAT
    yield ""
    caught, wrong = totals["true_positives"], totals["false_positives"]
    cents = totals["caught_cents"], totals["missed_cents"]
    yield "| figure | value |"
    yield "|---|---|"
    yield f"| decisions; fraudulent among them | {totals['decisions']:,}; {totals['fraud']:,} |"
    yield f"| precision of decline, step_up and review | {share(caught, caught + wrong)} |"
    yield f"| recall of fraudulent payments | {share(caught, totals['fraud'])} |"
    yield f"| alerts a day | {totals['alerts'] / days:.1f} |"
    yield f"| honest payments not approved | {wrong:,} ({100 * wrong / totals['legitimate']:.2f} %) |"
    money = f"{cents[0] / 100:,.0f}, {cents[1] / 100:,.0f} ({share(cents[0], sum(cents))} caught)"
    yield f"| money caught, missed (EUR) | {money} |"
    each = [f"{100 * s['precision']:.0f} % and {100 * s['recall']:.0f} %" for s in figures["seeds"]]
    yield f"| precision and recall, seed by seed | {'; '.join(each)} |"
    yield ""
    yield "## By kind of fraud"
    yield ""
    yield "| kind | decided | caught | recall |"
    yield "|---|---|---|---|"
    for name, counts in figures["patterns"].items():
        row = counts["planted"], counts["caught"]
        yield f"| {name} | {row[0]:,} | {row[1]:,} | {share(row[1], row[0])} |"
    yield ""
    yield "Missed: mostly the first payments of a story, which look like anybody's; refunds come after the order."
    yield ""
    yield from _regenerate(figures, ruleset)


def _regenerate(figures: dict[str, Any], ruleset: RuleSet) -> Iterator[str]:
    yield "## How to measure again"
    yield ""
    yield "    python -m load_tests.rule_figures       # generates and replays every seed: some minutes"
    yield "    make catalogue                          # writes these pages"
    yield ""
    if figures["ruleset"] == ruleset.hash:
        yield f"The figures are of rule set `{figures['ruleset']}`, which is the one shipped."
    else:
        yield f"The figures are of rule set `{figures['ruleset']}`; the one shipped is `{ruleset.hash}`."


def _about(file: str) -> str:
    """The remark at the head of a rule file, its first sentence."""
    lines = [line[2:] for line in (RULES / file).read_text("utf-8").splitlines() if line.startswith("# ")]
    text = " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    return text.split(". ")[0].rstrip(".")


def _page(ruleset: RuleSet, file: str, figures: dict[str, Any]) -> Iterator[str]:
    decide = [rule for rule in ruleset.rules if rule.file == file]
    observe = [rule for rule in ruleset.observers if rule.file == file]
    yield f"# {Path(file).stem}"
    yield ""
    yield f"{_about(file)}."
    yield f"From {SOURCE.format(file)}, by `make catalogue`. Measured on the streams of the [overview](README.md)."
    yield ""
    if decide:
        yield from _table(decide, figures)
    if observe:
        yield from _observed(observe, figures)
    for rule in (*decide, *observe):
        yield from _rule(rule)
    yield from _features(ruleset, [*decide, *observe])


def _table(rules: list[Rule], figures: dict[str, Any]) -> Iterator[str]:
    yield "| rule | asks for | hits | alone | precision | recall | hits a day | caught, EUR | insulted |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for rule in rules:
        counts = figures["rules"].get(rule.id, {})
        hits, right, wrong = (counts.get(k, 0) for k in ("hits", "true_positives", "false_positives"))
        cells = [
            f"[{rule.id}](#{rule.id})",
            _asks(rule),
            f"{hits:,}",
            f"{counts.get('hits_alone', 0):,}",
            share(right, right + wrong),
            share(right, figures["totals"]["fraud"]),
            f"{hits / figures['days']:.2f}",
            f"{counts.get('caught_cents', 0) / 100:,.0f}",
            f"{counts.get('insulted', 0):,}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "`alone`: hit by no other rule. `insulted`: honest payments that were not approved while the rule hit, with"
    yield "others or alone. No hits: the generated stream has no such event, or the list holds examples only."
    yield ""


def _observed(rules: list[Rule], figures: dict[str, Any]) -> Iterator[str]:
    yield "| rule | alert | alerts | alerts a day | planted | found | alerts without cause |"
    yield "|---|---|---|---|---|---|---|"
    for rule in rules:
        counts = figures["observers"].get(rule.id, {})
        alerts, known = counts.get("alerts", 0), "planted" in counts
        alert = rule.alert
        cells = [f"[{rule.id}](#{rule.id})", f"{alert.kind}, {alert.severity}" if alert else ""]
        cells += [f"{alerts:,}", f"{alerts / figures['days']:.2f}"]
        cells += [f"{counts.get(k, 0):,}" if known else "–" for k in ("planted", "found")]
        cells += [f"{alerts - counts.get('right', 0):,}" if known else "–"]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _asks(rule: Rule) -> str:
    """What a hit asks for."""
    if rule.allow:
        return "allow"
    asked = OUTCOMES[rule.decision] if rule.decision is not None else "points"
    return f"{asked} ({rule.mode})" if rule.mode != "live" else asked


def _rule(rule: Rule) -> Iterator[str]:
    yield f"## {rule.id}"
    yield ""
    yield f"{rule.description[0].upper()}{rule.description[1:]}."
    yield ""
    yield "```"
    if rule.on:
        yield f"on {', '.join(rule.on)}"
    yield f"when {rule.when.text}"
    if rule.unless is not None:
        yield f"unless {rule.unless.text}"
    if rule.follow is not None:
        within = format_duration(rule.follow.within_ms)
        usual = (
            f", or {rule.follow.usual:g} times its usual longest silence if that is longer" if rule.follow.usual else ""
        )
        types = ", ".join(rule.follow.types)
        yield f"unless followed by {types} of the same {rule.follow.same} within {within}{usual}"
    yield "```"
    yield ""
    says = f"`{rule.reason}` · {rule.owner} · "
    if rule.alert is not None:
        says += f"alert: {rule.alert.kind}, {rule.alert.severity}"
        says += f" · “{rule.alert.title}”" + (f" · {rule.alert.action}" if rule.alert.action else "")
    else:
        says += f"{_asks(rule)}, {rule.score:+g} points" + (" · hard" if rule.hard else "")
        says += " · counts as a hit without the state" if rule.on_degraded == HIT else ""
    yield says
    yield ""
    if rule.uses:
        yield f"Features: {', '.join(f'`{name}`' for name in sorted(rule.uses))}"
        yield ""


def _features(ruleset: RuleSet, rules: list[Rule]) -> Iterator[str]:
    used = {name for rule in rules for name in rule.uses}
    yield "## Features used"
    yield ""
    yield "| feature | is |"
    yield "|---|---|"
    for definition in sorted(ruleset.features, key=lambda definition: definition.name):
        if definition.name in used:
            yield f"| `{definition.name}` | `{canonical(definition)}` |"


def main() -> int:
    """Write every page."""
    for name, text in pages().items():
        (PLACE / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
