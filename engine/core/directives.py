"""Control events, read on the strict path."""

from dataclasses import dataclass
from typing import Any, Final

from engine.core.checks import REQUIRED, check_id, convert, holds_card, repaired
from engine.core.document import Number, Refused, plain
from engine.core.instants import TimeError, parse_time
from engine.domain import pan, reasons
from engine.domain.events import CONTROL_TYPES, Control

_CONTROL_TIMES: Final = ("event_time", "expires_at", "until")
_MATCHED: Final = {"control.list": ("values", "add", "remove"), "control.snooze": ("value",)}
"""Fields whose values are compared with those of events: what is masked there would match nothing."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A control event read; `masked`: a card number was masked in it, so that its record must not be kept as it is."""

    event: Control
    masked: bool


def read_control(kind: str, document: dict[str, Any]) -> Directive:
    """The control event of a JSON object; every text in it but the ids is masked. Raises `Refused`."""
    given = {key: value for key, value in document.items() if value is not None}
    values = {key: _simple(key, value) for key, value in given.items()}
    for name in REQUIRED[kind]:
        if name not in values:
            raise Refused(reasons.MISSING_FIELD, f"{name} is missing")
    for name in ("event_id", "customer_id", "payment_id", "alert_id", "cause_event_id"):
        if isinstance(values.get(name), str):
            check_id(name, values[name])
    for name in _CONTROL_TIMES:
        if name in values:
            try:
                parse_time(values[name])
            except TimeError as error:
                raise Refused(error.reason, error.detail.replace("event_time", name)) from None
    for name in _MATCHED.get(kind, ()):
        if _masks(given.get(name)):
            raise Refused(reasons.CARD_NUMBER_IN_CONTROL, f"a value of {name} reads as a card number")
    values.pop("type")
    control: Control = convert(CONTROL_TYPES[kind], values)
    return Directive(control, any(_masks(value) for key, value in given.items() if not key.endswith("_id")))


def _masks(value: Any) -> bool:
    """Whether a card number is masked somewhere in a value of a control event."""
    if isinstance(value, str):
        return holds_card(repaired(value))
    if isinstance(value, dict):
        return any(_masks(key) or _masks(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_masks(inner) for inner in value)


def _simple(key: str, value: Any) -> Any:
    if isinstance(value, Number):
        return plain(value)
    if isinstance(value, str):
        return value if key.endswith("_id") else pan.mask(repaired(value))
    if isinstance(value, dict):
        return {pan.mask(repaired(inner)): _simple(inner, kept) for inner, kept in value.items()}
    if isinstance(value, list):
        return [_simple(key, inner) for inner in value]
    return value
