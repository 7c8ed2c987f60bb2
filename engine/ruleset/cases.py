"""In-file tests: an event written out beside its rule, and whether the rule hits."""

import ast
import json
import math
from collections.abc import Mapping as ListsByName
from dataclasses import replace
from datetime import datetime
from typing import Final

from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.rates import Rates, RatesError
from engine.ruleset import aggregates
from engine.ruleset.check import Checker
from engine.ruleset.errors import suggest
from engine.ruleset.ir import METADATA
from engine.ruleset.lists import ListState, ValueList
from engine.ruleset.model import Case
from engine.ruleset.parser import Text, parse
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.scope import Scope
from engine.ruleset.types import EVENT_TIME, EVENT_TYPES, SCORE_NAMES, Kind
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

Lists = ListsByName[str, ValueList]
CASE_KEYS: Final = ("given", "with", "lists", "rates", "expect", "description")
TIME_MS_DEFAULT: Final = 1_767_268_800_000  # 2026-01-01T12:00:00Z, a Thursday
EXPECTS: Final = ("hit", "miss")


def read_case(
    node: Mapping, type_name: str, kinds: dict[str, Kind], catalogue: aggregates.Catalogue, lists: Lists
) -> Case:
    """A test, its names and types checked; its event is a `type_name` unless it says otherwise. Raises `RuleError`."""
    reader = Reader(node, "a test", CASE_KEYS)
    expect = reader.text("expect")
    if expect not in EXPECTS:
        raise fail(reader.need("expect"), f"a test expects hit or miss, not '{expect}'")
    case = Case({"type": type_name}, {}, {}, TIME_MS_DEFAULT, {}, {}, expect == "hit", node.line + 1)
    scores: dict[str, float] = {}
    time_ms = TIME_MS_DEFAULT
    given = mapping(reader.need("given"), "'given'").items if reader.has("given") else {}
    for name, (key, value) in given.items():
        if name == "metadata":
            case.texts.update(_metadata(value))
            continue
        if not isinstance(value, Scalar):
            raise fail(value, f"the value of {name} must be a single value")
        if name == EVENT_TIME:
            time_ms = _time_ms(value)
        elif name in SCORE_NAMES:
            scores[name.removeprefix("score.")] = _number(value, name) if value.value is not None else math.nan
        elif name in kinds:
            case.features[name] = _feature(value, name)
        else:
            _field(case, name, key, value)
    extra = mapping(reader.need("with"), "'with'").items if reader.has("with") else {}
    for name, (key, value) in extra.items():
        case.features[_inline(key, catalogue)] = _feature(value, name)
    return replace(
        case,
        time_ms=time_ms,
        scores=scores,
        lists={name: _list(lists, name, *pair) for name, pair in _items(reader, "lists")},
        rates=_rates(reader) if reader.has("rates") else None,
    )


def _items(reader: Reader, key: str) -> list[tuple[str, tuple[Scalar, Node]]]:
    return list(mapping(reader.need(key), f"'{key}'").items.items()) if reader.has(key) else []


def _metadata(node: Node) -> dict[str, str]:
    """Entries as `metadata()` reads them."""
    found = {}
    for name, (_, value) in mapping(node, "'metadata'").items.items():
        if not isinstance(value, Scalar):
            raise fail(value, f"the value of {name} must be a single value")
        if value.value is not None:
            found[f"{METADATA}{name}"] = value.value if isinstance(value.value, str) else json.dumps(value.value)
    return found


def _list(lists: Lists, name: str, key: Scalar, node: Node) -> ListState:
    """A list with what the test puts on it, in place of what is declared."""
    if name not in lists:
        raise fail(key, f"unknown list '{name}'", suggest(name, list(lists)))
    items = sequence(node, f"'{name}'")
    for item in items:
        if not isinstance(item, Scalar) or item.value is None or isinstance(item.value, bool):
            raise fail(item, "a value must be text or a number")
    values = {item.raw: None for item in items if isinstance(item, Scalar)}
    return ListState(lists[name], values, replaced=True)


def _rates(reader: Reader) -> Rates:
    items = _items(reader, "rates")
    texts = {name: value.raw for name, (_, value) in items if isinstance(value, Scalar)}
    base = texts.pop("base", None)
    if base is None:
        raise fail(reader.need("rates"), "'rates' needs 'base'", "{base: EUR, USD: 1.085}")
    try:
        return Rates(base, texts)
    except RatesError as fault:
        raise fail(reader.need("rates"), str(fault)) from None


def _field(case: Case, name: str, key: Scalar, value: Scalar) -> None:
    if name in STRING_FIELDS:
        case.texts.pop(name, None)
        if value.value is None:
            return
        if isinstance(value.value, bool):
            raise fail(value, f"{name} is text", "put it in quotes")
        if name == "type" and value.raw not in EVENT_TYPES:
            raise fail(value, f"there is no event type '{value.raw}'", suggest(value.raw, EVENT_TYPES))
        case.texts[name] = value.raw
    elif name in NUMBER_FIELDS:
        if value.value is not None:
            case.numbers[name] = _number(value, name)
    elif name in BOOL_FIELDS:
        if value.value is None:
            return
        if not isinstance(value.value, bool):
            raise fail(value, f"{name} is true or false")
        case.flags[name] = value.value
    else:
        raise fail(key, f"unknown name '{name}'", suggest(name, [*STRING_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS]))


def _number(value: Scalar, name: str) -> float:
    if isinstance(value.value, bool) or not isinstance(value.value, (int, float)):
        raise fail(value, f"{name} is a number")
    return float(value.value)


def _feature(value: Node, name: str) -> float | None:
    if not isinstance(value, Scalar) or isinstance(value.value, str):
        raise fail(value, f"the value of {name} must be a number, true, false or null")
    return None if value.value is None else float(value.value)


def _time_ms(value: Scalar) -> int:
    if isinstance(value.value, int) and not isinstance(value.value, bool):
        return value.value
    try:
        moment = datetime.fromisoformat(value.raw)
        if moment.tzinfo is not None:
            return int(moment.timestamp() * 1000)
    except ValueError:
        pass
    raise fail(value, "event_time is a time such as 2026-01-31T23:00:00Z, or milliseconds")


def _inline(key: Scalar, catalogue: aggregates.Catalogue) -> str:
    text = Text(key)
    tree = parse(text)
    if not isinstance(tree, ast.Call) or not tree.keywords:
        raise fail(key, "'with' gives values to inline aggregates, by their text", "features belong in given")
    checker = Checker(text, Scope(place="a test"))
    found = catalogue.find(aggregates.from_call(checker, tree))
    if found is None:
        raise fail(key, "no rule uses this aggregate", "write it as in the rule")
    return found
