"""The strict path: one record, in plain Python, with a precise reason for every refusal.

It is the definition of what an event is: the compiled scanner (`engine.core.scan`) only ever accepts what this accepts,
with the same values, and leaves to it every record that is in any way out of the ordinary.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.core.checks import REQUIRED, check_id, convert, holds_card, repaired, whole_part
from engine.core.directives import Directive, read_control
from engine.core.document import INTEGER, Number, Refused, parse, plain
from engine.core.instants import TimeError, parse_time
from engine.domain import pan, reasons
from engine.domain.currencies import EXPONENTS
from engine.domain.events import CONTROL_TYPES, EVENT_TYPES, Event
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.limits import ENTRIES_MAX, KEY_CHARS_MAX, STRING_CHARS_MAX, TEXT_CHARS_MAX
from engine.domain.money import MoneyError, to_minor

ID_FIELDS: Final = tuple(name for name in STRING_FIELDS if name.endswith("_id"))
NUMERIC_FIELDS: Final = tuple(name for name in NUMBER_FIELDS if name not in ("amount", "amount_base"))
FLAT_FIELDS: Final = ("metadata", "attributes", "consent")
KNOWN_FIELDS: Final = frozenset(Event.__struct_fields__) | {"type"}


@dataclass(slots=True)
class Row:
    """One event read: the struct and the exact values of its columns."""

    event: Event
    time_ms: int
    strings: dict[str, str]
    raw: bytes
    numbers: dict[str, float] = field(default_factory=dict)
    bools: dict[str, bool] = field(default_factory=dict)
    minor: int = 0
    exponent: int = -1
    masked: bool = False


def read(raw: bytes | None) -> Row | Directive:
    """Read one record. Raises `Refused`, and nothing else whatever the bytes."""
    document = parse(raw)
    kind = document.get("type")
    if kind is None:
        raise Refused(reasons.MISSING_FIELD, "type is missing")
    if not isinstance(kind, str):
        raise Refused(reasons.WRONG_TYPE, "type is not a string")
    if kind in CONTROL_TYPES:
        return read_control(kind, document)
    if kind not in EVENT_TYPES:
        raise Refused(reasons.UNKNOWN_TYPE, "the type is not one of this contract")
    return _Reader(kind, document).row()


class _Reader:
    """Checks the fields of one business event in a fixed order and collects its columns."""

    def __init__(self, kind: str, document: dict[str, Any]) -> None:
        self.kind = kind
        self.document = {key: value for key, value in document.items() if value is not None}
        self.masked = False
        self.values: dict[str, Any] = {}
        self.raw: dict[str, Any] = {}
        self.numbers: dict[str, float] = {}

    def row(self) -> Row:
        """The row of the event. Raises `Refused` with what is wrong with it."""
        self._unknown()
        for name in REQUIRED[self.kind]:
            if name not in self.document:
                raise Refused(reasons.MISSING_FIELD, f"{name} is missing")
        strings = self._strings()
        time_ms = self._time()
        minor, exponent = self._amount()
        self._rest()
        event = convert(EVENT_TYPES[self.kind], self.values)
        raw = msgspec.json.encode({"type": self.kind, **self.values, **self.raw})
        bools = {name: self.values[name] for name in BOOL_FIELDS if name in self.values}
        return Row(
            event, time_ms, {"type": self.kind, **strings}, raw, self.numbers, bools, minor, exponent, self.masked
        )  # fmt: skip

    def _unknown(self) -> None:
        for key, value in self.document.items():
            if key not in KNOWN_FIELDS:
                self._look(key)
                self._look(value)

    def _look(self, value: Any) -> None:
        """Note a card number anywhere in an unknown field, and refuse numbers that are none."""
        if isinstance(value, str):
            self.masked = self.masked or holds_card(value)
        elif isinstance(value, Number):
            plain(value)
            self.masked = self.masked or holds_card(whole_part(value.text))
        elif isinstance(value, dict):
            for key, inner in value.items():
                self._look(key)
                self._look(inner)
        elif isinstance(value, list):
            for inner in value:
                self._look(inner)

    def _strings(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in STRING_FIELDS:
            if name == "type" or name not in self.document:
                continue
            text = self.document[name]
            if not isinstance(text, str):
                raise Refused(reasons.WRONG_TYPE, f"{name} is not a string")
            if name in ID_FIELDS:
                check_id(name, text)
                if name == "card_id" and holds_card(text):
                    raise Refused(reasons.CARD_NUMBER_IN_CARD_ID, "card_id holds a clear card number")
            else:
                text = self._text(name, text, STRING_CHARS_MAX)
            found[name] = self.values[name] = text
        return found

    def _text(self, name: str, text: str, chars_max: int) -> str:
        """The text without card numbers and lone surrogates."""
        if len(text) > chars_max:
            raise Refused(reasons.STRING_TOO_LONG, f"{name} has {len(text)} characters; {chars_max} allowed")
        masked = pan.mask(repaired(text))
        if masked != repaired(text):
            self.masked = True
        return masked

    def _time(self) -> int:
        value = self.document["event_time"]
        if isinstance(value, Number) and INTEGER.fullmatch(value.text):
            text: str | int = int(value.text) if len(value.text) <= 20 else 10**20
        elif isinstance(value, str):
            text = value
        else:
            raise Refused(reasons.WRONG_TYPE, "event_time is neither a string nor an integer")
        try:
            time_ms = parse_time(text)
        except TimeError as error:
            raise Refused(error.reason, error.detail) from None
        self.values["event_time"] = text
        return time_ms

    def _amount(self) -> tuple[int, int]:
        value = self.document.get("amount")
        currency = self.values.get("currency")
        if currency is not None and currency not in EXPONENTS:
            raise Refused(reasons.UNKNOWN_CURRENCY, "the currency is not an ISO 4217 code in use")
        if value is None:
            return 0, -1
        if not isinstance(value, str | Number):
            raise Refused(reasons.WRONG_TYPE, "amount is neither a string nor a number")
        if currency is None:
            raise Refused(reasons.MISSING_FIELD, "an amount needs its currency")
        text = value if isinstance(value, str) else value.text
        self._refuse_card("amount", text)
        try:
            minor = to_minor(text, EXPONENTS[currency], number=isinstance(value, Number))
        except MoneyError as error:
            raise Refused(error.reason, error.detail) from None
        self.values["amount"] = text if isinstance(value, str) else plain(value)
        self.raw["amount"] = text if isinstance(value, str) else msgspec.Raw(text.encode())
        self.numbers["amount"] = minor / 10 ** EXPONENTS[currency]
        return minor, EXPONENTS[currency]

    def _refuse_card(self, name: str, text: str) -> None:
        if holds_card(whole_part(text)):
            raise Refused(reasons.CARD_NUMBER_IN_NUMBER, f"{name} reads as a card number")

    def _rest(self) -> None:
        for name in NUMERIC_FIELDS:
            if name in self.document:
                self._number(name, self.document[name])
        for name in BOOL_FIELDS:
            if name in self.document:
                if not isinstance(self.document[name], bool):
                    raise Refused(reasons.WRONG_TYPE, f"{name} is not a boolean")
                self.values[name] = self.document[name]
        if "schema_version" in self.document:
            version = self.document["schema_version"]
            if not isinstance(version, Number) or not INTEGER.fullmatch(version.text):
                raise Refused(reasons.WRONG_TYPE, "schema_version is not an integer")
            if version.text != "1":
                raise Refused(reasons.UNSUPPORTED_VERSION, "schema_version is not 1")
            self.values["schema_version"] = 1
        for name in FLAT_FIELDS:
            if name in self.document:
                self.values[name] = self._flat(name, self.document[name])

    def _number(self, name: str, value: Any) -> None:
        if not isinstance(value, Number):
            raise Refused(reasons.WRONG_TYPE, f"{name} is not a number")
        number = plain(value)
        self._refuse_card(name, value.text)
        self.numbers[name] = float(value.text)
        self.values[name] = number

    def _flat(self, name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Refused(reasons.WRONG_TYPE, f"{name} is not an object")
        if len(value) > ENTRIES_MAX:
            raise Refused(reasons.TOO_MANY_ENTRIES, f"{name} has {len(value)} entries; {ENTRIES_MAX} allowed")
        found: dict[str, Any] = {}
        for key, inner in value.items():
            kept = self._entry(name, inner)
            found[self._text(f"a key of {name}", key, KEY_CHARS_MAX)] = kept
        return found

    def _entry(self, name: str, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if name == "consent" or not isinstance(value, str | Number):
            raise Refused(reasons.WRONG_TYPE, f"a value of {name} has the wrong type")
        if isinstance(value, str):
            return self._text(f"a value of {name}", value, TEXT_CHARS_MAX)
        number = plain(value)
        whole = whole_part(value.text)
        if holds_card(whole):
            self.masked = True
            return pan.mask(whole)
        return number
