"""Texts of a hit: its reason code, and templates with `{name}` where a value of the event goes.

A template names event fields, `metadata.KEY`, features, and tables through a field: `{backup_route[acquirer]}`. What is
missing on the event reads "missing".
"""

import re
from typing import TYPE_CHECKING, Final

from engine.ruleset import ir
from engine.ruleset.batch import Batch, TextOf
from engine.ruleset.check import Scope
from engine.ruleset.errors import suggest
from engine.ruleset.reader import Reader, fail
from engine.ruleset.scalar import Scalar
from engine.ruleset.types import FIELD_KINDS, Kind

if TYPE_CHECKING:
    from engine.ruleset.ruleset import RuleSet

REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
MISSING: Final = "missing"
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


def fill(ruleset: "RuleSet", batch: Batch, row: int, template: str) -> str:
    """A template with the values of one event of a batch, by the position of the event in it."""
    if "{" not in template:
        return template
    scalar = Scalar(ruleset.rows, ruleset.lists)

    def value(found: re.Match[str]) -> str:
        looked_up = _LOOKED_UP.fullmatch(found[1])
        if looked_up is None:
            return _shown(found[1], batch, row, scalar)
        key = TextOf(batch, row)(looked_up[2])
        answer = None if key is None else ruleset.tables[looked_up[1]].get(key)
        return MISSING if answer is None else answer

    return _PLACE.sub(value, template)


def _shown(name: str, batch: Batch, row: int, scalar: Scalar) -> str:
    kind = Kind.STRING if name.startswith(ir.METADATA) else FIELD_KINDS.get(name, Kind.NUMBER)
    if kind is Kind.STRING:
        text = TextOf(batch, row)(name)
        return MISSING if text is None else text
    number = scalar.number(ir.Field(kind, name) if name in FIELD_KINDS else ir.Feature(kind, name))(batch.row(row))
    if number != number:
        return MISSING
    return ir.number_text(number) if kind is not Kind.BOOL else str(bool(number))
