"""What sets a campaign off, as declared in YAML: events, a transition, a timer."""

import re
from typing import Final

from engine.domain.durations import parse_duration
from engine.ruleset.campaigns.model import ALERT_RESOLVED, DIMENSIONS, LEADS, ORDERED, TIMERS, Trigger
from engine.ruleset.errors import suggest
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.types import EVENT_TYPES
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

DAY_MS: Final = 86_400_000
DURATION_MS_MAX: Final = 3_660 * DAY_MS  # ten years
EVENTS: Final = (*EVENT_TYPES, ALERT_RESOLVED)
SPANS_MAX: Final = 8
"""Durations of one timer: a reminder 30 days, 7 days and a day before is three."""
ON_KEYS: Final = ("transition", "from", "to", "timer", "at", "after", "before", "gaps")
_PLACES: Final = ON_KEYS[4:]
"""Keys of timers that say when."""
BELOW: Final = "below"
WAYS: Final = (BELOW, "above")
"""What `from` may say instead of states: from a lower one, from a higher one."""
CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def word(reader: Reader, key: str, known: tuple[str, ...], default: str | None = None) -> str:
    """One of some words. Raises `RuleError`."""
    found = reader.text(key, default)
    if found not in known:
        hint = suggest(found, known) or f"one of {', '.join(known)}"
        raise fail(reader.need(key), f"unknown '{key}' '{found}'", hint)
    return found


def duration(node: Node, key: str) -> int:
    """A length of time in milliseconds. Raises `RuleError`."""
    if not isinstance(node, Scalar):
        raise fail(node, f"'{key}' must be a single value")
    try:
        found = parse_duration(node.raw)
    except ValueError as fault:
        raise fail(node, str(fault)) from None
    if not 0 < found <= DURATION_MS_MAX:
        raise fail(node, f"'{key}' must be above 0 and at most ten years")
    return found


def clock(node: Node, key: str) -> int:
    """A local time of day as minutes after midnight. Raises `RuleError`."""
    found = CLOCK.fullmatch(node.raw) if isinstance(node, Scalar) else None
    if found is None:
        raise fail(node, f"'{key}' must be a time of day", 'write it in quotes, as in "09:00"')
    return int(found[1]) * 60 + int(found[2])


def trigger(reader: Reader) -> Trigger:
    """`on`. Raises `RuleError`."""
    node = reader.need("on")
    if not isinstance(node, Mapping):
        return Trigger(events=_words(reader, "on", EVENTS, "there is no event type '{}'"))
    if "transition" in node.items:
        return _transition(node)
    return _timer(mapping(node, "'on'"))


def _transition(node: Mapping) -> Trigger:
    reader = Reader(node, "a transition", ON_KEYS[:3])
    dimension = word(reader, "transition", tuple(DIMENSIONS))
    states = DIMENSIONS[dimension]
    ends = _words(reader, "to", states, f"{dimension} has no state '{{}}'")
    starts, way = states, reader.text("from") if isinstance(reader.get("from"), Scalar) else ""
    if way in WAYS:
        if dimension not in ORDERED:
            raise fail(reader.need("from"), f"the states of {dimension} have no order", "name those it comes from")
    elif reader.has("from"):
        starts, way = _words(reader, "from", states, f"{dimension} has no state '{{}}'"), ""
    leads = LEADS[dimension]
    steps = tuple((s, e) for s in starts for e in ends if e in leads[s] and _goes(states, s, e, way))
    if not steps:
        hint = "; ".join(f"{start} goes to {', '.join(leads[start])}" for start in starts) if way not in WAYS else ""
        raise fail(node, "there is no such transition", hint)
    return Trigger(dimension=dimension, steps=steps)


def _goes(states: tuple[str, ...], start: str, end: str, way: str) -> bool:
    rise = states.index(end) - states.index(start)
    return rise != 0 and (not way or (rise > 0) == (way == BELOW))


def _timer(node: Mapping) -> Trigger:
    reader = Reader(node, "'on'", ON_KEYS[3:])
    timer = word(reader, "timer", tuple(TIMERS))
    for key in _PLACES:
        if reader.has(key) != (key in TIMERS[timer]):
            needs = "needs" if key in TIMERS[timer] else "has no"
            raise fail(node, f"the timer {timer} {needs} '{key}'")
    spans = [duration(item, key) for key in ("after", "before") if reader.has(key) for item in _items(reader, key)]
    return Trigger(
        timer=timer,
        after_ms=tuple(sorted(set(spans), reverse=True)),
        gaps=reader.number("gaps", 0.0, 1.0, 100.0),
        minute=clock(reader.need("at"), "at") if reader.has("at") else 0,
    )


def _items(reader: Reader, key: str) -> list[Node]:
    node = reader.need(key)
    items: list[Node] = [node] if isinstance(node, Scalar) else sequence(node, f"'{key}'")
    if not 0 < len(items) <= SPANS_MAX:
        raise fail(node, f"'{key}' is 1 to {SPANS_MAX} durations", "[30d, 7d]")
    return items


def _words(reader: Reader, key: str, known: tuple[str, ...], message: str) -> tuple[str, ...]:
    """Some of the known words, at least one, each once."""
    found = reader.texts(key)
    if not found:
        raise fail(reader.need(key), f"'{key}' names none")
    for text, node in found:
        if text not in known:
            raise fail(node, message.format(text), suggest(text, known) or f"one of {', '.join(known)}")
    return tuple(dict.fromkeys(text for text, _ in found))
