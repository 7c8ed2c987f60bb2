"""Rule sets, lists and snoozes as JSON-ready objects, for people to look at."""

from collections.abc import Mapping
from typing import Any, Final

from engine.core.lists import LiveList
from engine.domain.durations import format_duration
from engine.domain.times import rfc3339
from engine.ruleset.lists import ValueList
from engine.ruleset.model import OUTCOMES, Rule
from engine.ruleset.ruleset import RuleSet

NETWORK: Final = "network"
NUMBER: Final = "number"
TEXT: Final = "text"


def ruleset_object(ruleset: RuleSet) -> dict[str, Any]:
    """A rule set: its rules, its observers and how many features and list values it declares."""
    return {
        "ruleset": ruleset.hash,
        "rules": [rule_object(rule) for rule in ruleset.rules],
        "observers": [rule_object(rule) for rule in ruleset.observers],
        "features": len(ruleset.declared),
        "lists": {name: len(values.texts) or len(values.numbers) for name, values in sorted(ruleset.lists.items())},
    }


def rule_object(rule: Rule) -> dict[str, Any]:
    """A rule as its file has it, without its expressions."""
    shown: dict[str, Any] = {
        "id": rule.id,
        "description": rule.description,
        "owner": rule.owner,
        "tags": list(rule.tags),
        "mode": rule.mode,
        "share": rule.share,
        "reason": rule.reason,
        "file": rule.file,
        "line": rule.line,
        "valid_from": _time(rule.valid_from_ms),
        "valid_to": _time(rule.valid_to_ms),
        "tests": len(rule.tests),
    }
    if rule.alert is None:
        decision = None if rule.decision is None else OUTCOMES[rule.decision]
        points = {"score": rule.score, "allow": rule.allow, "hard": rule.hard, "on_degraded": rule.on_degraded}
        return {**shown, "decision": decision, **points}
    alert = rule.alert
    return {
        **shown,
        "alert": alert.kind,
        "severity": alert.severity,
        "title": alert.title,
        "action": alert.action,
        "on": list(rule.on),
        "by": list(alert.by),
        "every": format_duration(alert.every_ms),
    }


def list_object(name: str, declared: ValueList | None, live: LiveList | None, now_ms: int) -> dict[str, Any]:
    """A list: what kind of values it holds, how many, and whether events have changed it."""
    return {
        "name": name,
        "declared": declared is not None,
        "kind": kind_of(declared),
        "changed": live is not None,
        "values": len(entries(declared, live, now_ms)),
    }


def kind_of(declared: ValueList | None) -> str:
    """What a list holds, as its declared values have it."""
    if declared is not None and declared.numeric:
        return NUMBER
    return NETWORK if declared is not None and declared.networks else TEXT


def entries(declared: ValueList | None, live: LiveList | None, now_ms: int) -> dict[str, int | None]:
    """The values of a list now, and until when each is on it (`None`: for ever)."""
    found: dict[str, int | None] = {}
    if declared is not None and not (live and live.replaced):
        texts = declared.texts or [f"{number:.15g}" for number in declared.numbers]
        gone = _meant(declared, live.removed) if live else frozenset()
        found.update((text, None) for text in texts if text not in gone)
    for text, until_ms in (live.added if live else {}).items():
        if until_ms is None or until_ms > now_ms:
            found[text] = until_ms
    return found


def _meant(declared: ValueList, removed: Mapping[str, None]) -> frozenset[str]:
    """The removed values as `entries` writes them: numbers in one form."""
    return frozenset(f"{float(text):.15g}" if declared.numeric else text for text in removed)


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)
