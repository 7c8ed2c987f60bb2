"""`steward rules explain`: why one decision is what it is, rule by rule."""

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import (
    Unusable,
    directory,
    rule_sets_argument,
    settings,
    settings_arguments,
    usable_rules,
)

if TYPE_CHECKING:
    from engine.adapters.files import Chunk
    from engine.ruleset.model import Rule
    from engine.ruleset.ruleset import RuleSet
    from engine.service.explain import Decided, Found, Observed

SUMMARY: Final = "replay history up to an event and show what every rule saw of it"
BATCH_EVENTS: Final = 1_000
INFINITE_MS: Final = 2**62


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which event, of which history, under which rules."""
    settings_arguments(parser)
    parser.add_argument("event", metavar="EVENT_ID", help="the event whose decision is explained")
    parser.add_argument("--source", nargs="+", required=True, metavar="SOURCE", help="history, as of steward replay")
    parser.add_argument("--rules", type=directory, metavar="DIR", help="rules directory (the shipped one)")
    rule_sets_argument(parser)
    parser.add_argument("--rule", metavar="ID", help="this rule only")
    parser.add_argument("--customer", metavar="ID", help="of this customer, where several have such an event")
    parser.add_argument("--decisions", metavar="FILE", help="compare with the decision in this decisions.ndjson")
    parser.add_argument("--map", metavar="FILE|NAME", help="columns of Parquet and CSV, as of steward replay")


def run(args: argparse.Namespace) -> int:
    """Print the explanation; 1 where the logged decision is another one."""
    loaded = settings(args, {"STEWARD_RULES": args.rules})
    from engine.adapters.files import SourceError
    from engine.partitions import core_settings, load_ruleset
    from engine.service.explain import NoDecision, find
    from engine.service.rule_directories import RuleDirectories

    try:
        with usable_rules():
            ruleset, core, others = load_ruleset(loaded), core_settings(loaded), RuleDirectories(args.rule_sets)
            chunks = _chunks(args.source, args.map)
            found = find(chunks, ruleset, core, args.event, args.customer, rulesets=others.compiled)
        known = [rule.id for rule in (*found.ruleset.rules, *found.ruleset.observers)]
        if args.rule is not None and args.rule not in known:
            raise Unusable(f"steward rules explain: no rule {args.rule} in force in the rule set {found.ruleset.hash}")
        decision = found.decided.decision if found.decided is not None else None
        if args.decisions and decision is None:
            raise Unusable(f"steward rules explain: {args.event} carries no decision that could be compared")
        logged = _logged(args.decisions, decision) if args.decisions and decision is not None else None
    except (SourceError, NoDecision) as error:
        raise Unusable(f"steward rules explain: {error}") from error
    print("\n".join(_lines(found, args.rule)))
    if args.decisions is None or decision is None:
        return 0
    differences = _differences(decision, logged)
    print("\n" + "\n".join(differences or [f"the decision in {args.decisions} is the same"]))
    return 1 if differences else 0


def _chunks(names: list[str], mapping_name: str | None) -> "Iterator[Chunk]":
    from engine.adapters.files import open_source, read_mapping

    mapping = read_mapping(mapping_name) if mapping_name else None
    with ExitStack() as stack:
        sources = [stack.enter_context(open_source(name, mapping, BATCH_EVENTS)) for name in names]
        for source in sources:
            yield from source


def _logged(name: str, decision: dict[str, Any]) -> dict[str, Any] | None:
    """The decision of the same event in a log; None where it has none."""
    from engine.adapters.files import open_source

    if Path(name).suffix in (".parquet", ".csv"):
        raise Unusable(f"steward rules explain: {name}: a decision log is NDJSON")
    key = decision["event_id"], decision["customer_id"]
    with open_source(name) as source:
        for chunk in source:
            for index, record in enumerate(chunk.records):
                try:
                    entry = json.loads(record)
                except ValueError as error:
                    line = chunk.source(index)["line"]
                    raise Unusable(f"steward rules explain: {name}:{line}: not JSON: {error}") from error
                if isinstance(entry, dict) and (entry.get("event_id"), entry.get("customer_id")) == key:
                    return entry
    return None


def _differences(replayed: dict[str, Any], logged: dict[str, Any] | None) -> list[str]:
    """What the log says otherwise, a line a field."""
    if logged is None:
        return ["the log has no decision on this event"]
    names = [name for name in {**replayed, **logged} if replayed.get(name) != logged.get(name)]
    if not names:
        return []
    lines = ["the logged decision differs:"]
    for name in names:
        lines.append(f"  {name}: logged {json.dumps(logged.get(name))}, replayed {json.dumps(replayed.get(name))}")
    return lines


def _lines(found: "Found", only: str | None) -> list[str]:
    event, decided = found.event, found.decided
    place = ":".join(str(part) for part in found.source.values())
    whose = f"({event.__struct_config__.tag}) of customer {event.customer_id}"
    if decided is None:
        lines = [
            f"event {event.event_id} {whose}, from {place}",
            f"no decision: events of this kind carry none; rule set {found.ruleset.hash}",
        ]
    else:
        decision = decided.decision
        scores = ", ".join(f"{name} {_shown(value)}" for name, value in decision["scores"].items())
        lines = [
            f"event {event.event_id} {whose} at {decision['event_time']}, from {place}",
            f"decision {decision['decision']}, score {decision['score']:g}, rule set {decision['ruleset']}",
            f"scores: {scores}",
            f"degraded: {', '.join(decision['degraded']) or 'nothing'}{', late' if decision['late'] else ''}",
        ]
        for index, rule in enumerate(found.ruleset.rules):
            if only in (None, rule.id):
                lines += ["", *_rule_lines(found.ruleset, rule, _outcome(decided, index, rule), decided)]
    if found.observed is not None:
        for index, rule in enumerate(found.ruleset.observers):
            if only in (None, rule.id):
                outcome = _observation(found.observed, index, rule)
                lines += ["", *_rule_lines(found.ruleset, rule, outcome, found.observed)]
    return lines


def _out_of_time(rule: "Rule", side: "Decided | Observed") -> bool:
    time_ms = int(side.frame.columns.time_ms[side.row])
    return not (rule.valid_from_ms or -INFINITE_MS) <= time_ms < (rule.valid_to_ms or INFINITE_MS)


def _outcome(decided: "Decided", index: int, rule: "Rule") -> str:
    """What came of a rule that decides."""
    from engine.ruleset.model import OUTCOMES

    if _out_of_time(rule, decided):
        return "outside of its valid_from and valid_to"
    if not decided.hit(index):
        return "miss"
    if decided.aside(index, rule.mode):
        return "hit, in shadow: changes nothing"
    if rule.id not in [reason["rule"] for reason in decided.decision["reasons"]]:
        return "hit, set aside by a rule that allows"
    asked = "allow" if rule.allow else OUTCOMES[rule.decision] if rule.decision is not None else "no outcome"
    return f"hit: {asked}, {rule.score:+g} points, {rule.reason}"


def _observation(observed: "Observed", index: int, rule: "Rule") -> str:
    """What came of an observer."""
    from engine.domain.durations import format_duration

    assert rule.alert is not None
    if _out_of_time(rule, observed):
        return "outside of its valid_from and valid_to"
    if index not in observed.hits:
        return "miss"
    alert = f"{rule.alert.kind} alert, {rule.alert.severity}, {rule.reason}"
    if rule.follow is not None:
        types = " or ".join(rule.follow.types)
        within = format_duration(rule.follow.within_ms)
        usual = (
            f", or {rule.follow.usual:g} times its usual longest silence if that is longer" if rule.follow.usual else ""
        )
        return f"hit: {alert}, unless {types} with the same {rule.follow.same} follows within {within}{usual}"
    if rule.id in observed.alerts:
        return f"hit: {alert}"
    return "hit, no alert: in shadow, snoozed, or soon after another one"


def _rule_lines(ruleset: "RuleSet", rule: "Rule", outcome: str, side: "Decided | Observed") -> list[str]:
    from engine.ruleset.explain import explain_hit

    word = "rule" if rule.alert is None else "observer"
    lines = [f"{word} {rule.id} ({rule.mode}, {rule.file}:{rule.line}): {outcome}"]
    tree = explain_hit(ruleset, side.frame, rule, side.row)
    lines += [f"    {line}" for line in tree.lines()]
    if rule.uses:
        values = side.frame.matrix[[ruleset.rows[name] for name in rule.uses], side.row].tolist()
        lines.append("  features it read:")
        lines += [f"    {name}: {_shown(value)}" for name, value in zip(rule.uses, values, strict=True)]
    return lines


def _shown(value: float | None) -> str:
    return "missing" if value is None or value != value else f"{value:.10g}"
