"""Rules that observe: what an entry of `rules:` with `then.alert` says beyond other rules."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from engine.domain.durations import format_duration, parse_duration
from engine.domain.fields import ENTITY_FIELDS
from engine.ruleset import templates
from engine.ruleset.errors import Faults, suggest
from engine.ruleset.model import ALERT_KINDS, ANY, SEVERITIES, AlertSpec, Follow, Rule
from engine.ruleset.reader import Reader, fail, mapping
from engine.ruleset.scope import Scope
from engine.ruleset.types import EVENT_TYPES, FIELD_KINDS, Kind
from engine.ruleset.yaml_loader import Mapping

ALERT_KEYS: Final = ("alert", "severity", "reason", "title", "action", "by", "every")
FOLLOW_KEYS: Final = ("types", "same", "within", "usual")
ONLY_OBSERVERS: Final = ("on", "unless_followed_by")
EXAMPLE_TYPE: Final = "payment.requested"
EVERY_MS_DEFAULT: Final = 900_000
DURATION_MS_MIN: Final = 1_000
DURATION_MS_MAX: Final = 90 * 86_400_000  # as the longest window of a feature
BY_MAX: Final = 4
USUAL_MIN: Final = 1
USUAL_MAX: Final = 100


def is_observer(then: Mapping) -> bool:
    """Whether a `then` raises an alert."""
    return then.get("alert") is not None


def types_of(reader: Reader, observes: bool) -> tuple[str, ...]:
    """The types a rule is `on`, () for those that carry a decision. Raises `RuleError`."""
    if not observes:
        for key in ONLY_OBSERVERS:
            if reader.has(key):
                raise fail(
                    reader.node.items[key][0], f"a rule that decides has no '{key}'", "then: {alert: operations}"
                )
        return ()
    return _types(reader, "on")


def example(on: Sequence[str]) -> str:
    """The event type of a test that names none."""
    return EXAMPLE_TYPE if not on or ANY in on or EXAMPLE_TYPE in on else on[0]


def read(rule: Rule, on: tuple[str, ...], reader: Reader, found: Mapping, scope: Scope, faults: Faults) -> Rule:
    """The rule with the alert it raises; what is wrong with it goes to `faults`."""
    take = faults.take
    then = Reader(found, "'then' with an alert", ALERT_KEYS, faults)
    follow = take(lambda: _follow(reader, on), None) if reader.has("unless_followed_by") else None
    for place, key, message, hint in _misplaced(reader, then):
        faults.found.append(fail(place.items[key][0], message, hint))
    alert = AlertSpec(
        kind=take(lambda: _word(then, "alert", ALERT_KINDS, ""), ""),
        severity=take(lambda: _word(then, "severity", SEVERITIES, "medium"), ""),
        title=take(lambda: templates.read(then, "title", rule.description or rule.id, scope), ""),
        action=take(lambda: templates.read(then, "action", "", scope), ""),
        by=take(lambda: _entities(then), ()),
        every_ms=take(lambda: _duration(then, "every"), 0) if then.has("every") else EVERY_MS_DEFAULT,
    )
    reason = take(lambda: templates.reason_code(then, rule.id), "")
    return replace(rule, reason=reason, on=on, alert=alert, follow=follow)


def _misplaced(reader: Reader, then: Reader) -> list[tuple[Mapping, str, str, str]]:
    """Keys that do not go with an alert: where, which, what is wrong and what to know."""
    late = "it is evaluated once the state is back"
    found = [
        (reader, "hard", "a rule that raises an alert is not hard", "it decides nothing"),
        (reader, "on_degraded", "a rule that raises an alert has no 'on_degraded'", late),
    ]
    if reader.has("unless_followed_by"):
        watched = "each hit is watched on its own"
        found += [(then, key, f"'{key}' does not go with 'unless_followed_by'", watched) for key in ("by", "every")]
    return [(place.node, key, message, hint) for place, key, message, hint in found if place.has(key)]


def _follow(reader: Reader, on: tuple[str, ...]) -> Follow:
    what = "'unless_followed_by'"
    found = Reader(mapping(reader.need("unless_followed_by"), what), what, FOLLOW_KEYS)
    if not found.has("types") and not on:
        raise fail(found.node, f"{what} needs 'types' where the rule has no 'on'")
    same, texts = found.text("same"), [name for name, kind in FIELD_KINDS.items() if kind is Kind.STRING]
    if same not in texts:
        raise fail(found.need("same"), f"'{same}' is not a text field of an event", suggest(same, texts))
    found.need("within")
    usual = found.number("usual", 0.0, USUAL_MIN, USUAL_MAX)
    return Follow(_types(found, "types") or on, same, _duration(found, "within"), usual)


def _types(reader: Reader, key: str) -> tuple[str, ...]:
    types: list[str] = []
    for name, node in reader.texts(key):
        if name != ANY and name not in EVENT_TYPES:
            raise fail(node, f"there is no event type '{name}'", suggest(name, [*EVENT_TYPES, ANY]))
        if name in types:
            raise fail(node, f"'{name}' stands twice")
        types.append(name)
    if reader.has(key) and not types:
        raise fail(reader.need(key), f"'{key}' names no event type", "any for all of them")
    return (ANY,) if ANY in types else tuple(types)


def _entities(then: Reader) -> tuple[str, ...]:
    names = then.texts("by")
    for position, (name, node) in enumerate(names):
        if name not in ENTITY_FIELDS:
            hint = suggest(name, list(ENTITY_FIELDS)) or f"one of {', '.join(ENTITY_FIELDS)}"
            raise fail(node, f"unknown entity '{name}' in by", hint)
        if position == BY_MAX:
            raise fail(node, f"more than {BY_MAX} entities in by")
    return tuple(dict.fromkeys(name for name, _ in names))


def _word(then: Reader, key: str, known: Sequence[str], default: str) -> str:
    found = then.text(key, default) if default else then.text(key)
    if found not in known:
        hint = suggest(found, known) or f"one of {', '.join(known)}"
        raise fail(then.need(key), f"unknown {key} '{found}'", hint)
    return found


def _duration(reader: Reader, key: str) -> int:
    node = reader.scalar(key)
    try:
        found = parse_duration(node.raw)
    except ValueError as fault:
        raise fail(node, str(fault)) from None
    if not DURATION_MS_MIN <= found <= DURATION_MS_MAX:
        low, high = format_duration(DURATION_MS_MIN), format_duration(DURATION_MS_MAX)
        raise fail(node, f"'{key}' must be from {low} to {high}")
    return found
