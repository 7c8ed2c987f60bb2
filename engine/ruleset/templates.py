"""Texts of a hit: its reason code, and templates with `{name}` where a value of the event goes.

A template names event fields, `metadata.KEY`, features, and tables through a field: `{backup_route[acquirer]}`. What is
missing on the event reads "missing".
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX
from engine.ruleset import ir
from engine.ruleset.batch import Batch, TextOf
from engine.ruleset.check import Scope
from engine.ruleset.errors import suggest
from engine.ruleset.reader import Reader, fail
from engine.ruleset.types import EVENT_TIME, FIELD_KINDS, Kind

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
    pieces = list(_pieces(template))
    for index in range(1, len(pieces), 2):
        pieces[index] = _shown(ruleset, batch, row, pieces[index])
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _pieces(template: str) -> tuple[str, ...]:
    """Literal text and names by turns, literal text first."""
    return tuple(_PLACE.split(template))


def _shown(ruleset: "RuleSet", batch: Batch, row: int, name: str) -> str:
    """The value of one place of a template. Looks at that value only: to see the whole event costs far more."""
    looked_up = _LOOKED_UP.fullmatch(name) if "[" in name else None
    if looked_up is not None:
        key = TextOf(batch, row)(looked_up[2])
        answer = None if key is None else ruleset.tables[looked_up[1]].get(key)
        return MISSING if answer is None else answer
    if name.startswith(ir.METADATA) or FIELD_KINDS.get(name) is Kind.STRING:
        text = TextOf(batch, row)(name)
        return MISSING if text is None else text
    if name in BOOL_INDEX:
        flag = int(batch.columns.bools[BOOL_INDEX[name], row])
        return MISSING if flag < 0 else str(bool(flag))
    if name in NUMBER_INDEX:
        number = float(batch.numbers[NUMBER_INDEX[name], row])
    else:
        number = float(batch.columns.time_ms[row] if name == EVENT_TIME else batch.matrix[ruleset.rows[name], row])
    return MISSING if number != number else ir.number_text(number)
