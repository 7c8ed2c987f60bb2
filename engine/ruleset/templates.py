"""Texts of a hit: its reason code, and templates with `{name}` where a value of the event goes.

A template names event fields, `metadata.KEY`, features, and tables through a field: `{backup_route[acquirer]}`. What is
missing on the event reads "missing".
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX
from engine.ruleset import ir
from engine.ruleset.batch import Batch, TextOf
from engine.ruleset.errors import suggest
from engine.ruleset.reader import Reader, fail
from engine.ruleset.scope import Scope
from engine.ruleset.types import EVENT_TIME, FIELD_KINDS, Kind

if TYPE_CHECKING:
    from engine.ruleset.ruleset import RuleSet

REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
MISSING: Final = "missing"
Shown: TypeAlias = Callable[[Batch, int, Any], str]
"""The text of one value of an event of a batch: batch, row, the event."""
Template: TypeAlias = tuple[str, list[Shown]]
"""A text with %s for each place, and what goes there."""
_BOOLS: Final = {-1: MISSING, 0: "False", 1: "True"}
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_LOOKED_UP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\[([A-Za-z_][A-Za-z0-9_]*)\]")


def reason_code(then: Reader, name: str) -> str:
    """The reason code of a hit: the id in upper case where none is given. Raises `RuleError`."""
    if not then.has("reason"):
        return name.upper()
    found = then.text("reason")
    if not REASON.fullmatch(found):
        raise fail(then.need("reason"), f"'{found}' is not a reason code", "upper-case letters, digits and _")
    return found


def read(then: Reader, key: str, default: str, scope: Scope) -> str:
    """A template whose names all exist. Raises `RuleError`."""
    found = then.text(key, default)
    for place in _PLACE.findall(found):
        looked_up = _LOOKED_UP.fullmatch(place)
        if place.startswith(ir.METADATA) and len(place) > len(ir.METADATA):
            continue
        if looked_up is None:
            _known(then, key, place, [*scope.features, *FIELD_KINDS])
            continue
        if looked_up[1] not in scope.tables:
            hint = suggest(looked_up[1], list(scope.tables)) or "declare it under tables:"
            raise fail(then.need(key), f"unknown table '{looked_up[1]}' in '{key}'", hint)
        texts = [name for name, kind in FIELD_KINDS.items() if kind is Kind.STRING]
        _known(then, key, looked_up[2], texts)
    return found


def _known(then: Reader, key: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise fail(then.need(key), f"unknown name '{name}' in '{key}'", suggest(name, known))


def names(template: str) -> list[str]:
    """What stands in the braces of a template."""
    return _PLACE.findall(template)


def fill(ruleset: "RuleSet", batch: Batch, row: int, template: str) -> str:
    """A template with the values of one event of a batch, by the position of the event in it."""
    known = ruleset.templates.get(template)
    if known is None:
        pieces = _PLACE.split(template)
        shown = [_shown(ruleset, name) for name in pieces[1::2]]
        known = ruleset.templates[template] = "%s".join(piece.replace("%", "%%") for piece in pieces[::2]), shown
    text, places = known
    event = batch.columns.events[row]
    return text % tuple([place(batch, row, event) for place in places])


def _shown(ruleset: "RuleSet", name: str) -> Shown:
    """What shows the value of one place of a template. It looks at that value: the whole event costs far more."""
    looked_up = _LOOKED_UP.fullmatch(name)
    if looked_up is not None:
        return _entry(ruleset.tables[looked_up[1]], looked_up[2])
    if name.startswith(ir.METADATA) or name == "type":
        return lambda batch, row, event: _text(TextOf(batch, row)(name))
    if FIELD_KINDS.get(name) is Kind.STRING:
        return lambda batch, row, event: MISSING if (text := getattr(event, name, None)) is None else text
    if name in BOOL_INDEX:
        flag = BOOL_INDEX[name]
        return lambda batch, row, event: _BOOLS[batch.columns.bools.item(flag, row)]
    if name in NUMBER_INDEX:
        field = NUMBER_INDEX[name]
        return lambda batch, row, event: _number(batch.numbers.item(field, row))
    if name == EVENT_TIME:
        return lambda batch, row, event: _number(float(batch.columns.time_ms.item(row)))
    feature = ruleset.rows[name]
    return lambda batch, row, event: _number(batch.matrix.item(feature, row))


def _entry(table: Mapping[str, str], name: str) -> Shown:
    """What a table has for the text of a field."""

    def shown(batch: Batch, row: int, event: Any) -> str:
        key = TextOf(batch, row)(name)
        return MISSING if key is None else table.get(key, MISSING)

    return shown


def _text(text: str | None) -> str:
    return MISSING if text is None else text


def _number(number: float) -> str:
    return MISSING if number != number else ir.number_text(number)
