"""The strict path: one record, in plain Python, with a precise reason for every refusal.

It is the definition of what an event is: the compiled scanner (`engine.core.scan`) only ever accepts what this accepts,
with the same values, and leaves to it every record that is in any way out of the ordinary.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.core.instants import TimeError, parse_time
from engine.domain import pan, reasons
from engine.domain.currencies import EXPONENTS
from engine.domain.events import CONTROL_TYPES, EVENT_TYPES, Control, Event
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.limits import ENTRIES_MAX, ID_CHARS_MAX, KEY_CHARS_MAX, STRING_CHARS_MAX, TEXT_CHARS_MAX
from engine.domain.money import MoneyError, to_minor

RECORD_BYTES_MAX: Final = 65_536
DEPTH_MAX: Final = 8

LONG_IDS: Final = ("event_id", "customer_id", "payment_id")
ID_FIELDS: Final = tuple(name for name in STRING_FIELDS if name.endswith("_id"))
NUMERIC_FIELDS: Final = tuple(name for name in NUMBER_FIELDS if name not in ("amount", "amount_base"))
FLAT_FIELDS: Final = ("metadata", "attributes", "consent")
KNOWN_FIELDS: Final = frozenset(Event.__struct_fields__) | {"type"}
REQUIRED: Final = {
    name: tuple(f.encode_name for f in msgspec.structs.fields(cls) if f.required)
    for name, cls in (*EVENT_TYPES.items(), *CONTROL_TYPES.items())
}

_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_INTEGER: Final = re.compile(r"-?[0-9]+")
_BAD_IN_ID: Final = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """The record is rejected: `reason` of `engine.domain.reasons`, and a detail for people that quotes no values."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Number:
    """The text of a JSON number, or of NaN and the infinities."""

    text: str


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


@dataclass(frozen=True, slots=True)
class Directive:
    """A control event read; `masked`: a card number was masked in it, so that its record must not be kept as it is."""

    event: Control
    masked: bool


def read(raw: bytes | None) -> Row | Directive:
    """Read one record. Raises `Refused`, and nothing else whatever the bytes."""
    document = parse(raw)
    kind = document.get("type")
    if kind is None:
        raise Refused(reasons.MISSING_FIELD, "type is missing")
    if not isinstance(kind, str):
        raise Refused(reasons.WRONG_TYPE, "type is not a string")
    if kind in CONTROL_TYPES:
        return _control(kind, document)
    if kind not in EVENT_TYPES:
        raise Refused(reasons.UNKNOWN_TYPE, "the type is not one of this contract")
    return _Reader(kind, document).row()


def parse(raw: bytes | None) -> dict[str, Any]:
    """The JSON object of a record, its numbers as `Number`. Raises `Refused`."""
    if raw is None:
        raise Refused(reasons.TOMBSTONE, "the record has no value")
    if len(raw) > RECORD_BYTES_MAX:
        raise Refused(reasons.TOO_LARGE, f"{len(raw)} bytes; {RECORD_BYTES_MAX} allowed")
    if not raw.strip(b" \t\r\n"):
        raise Refused(reasons.EMPTY, "the record is empty")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Refused(reasons.BYTE_ORDER_MARK, "the record begins with a byte order mark")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(reasons.INVALID_UTF8, f"invalid UTF-8 at byte {error.start}") from None
    _check_depth(text)
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        trailing = error.msg == "Extra data"
        detail = f"{error.msg} at character {error.pos}"
        raise Refused(reasons.TRAILING_DATA if trailing else reasons.NOT_JSON, detail) from None
    if not isinstance(document, dict):
        raise Refused(reasons.NOT_AN_OBJECT, "the JSON value is not an object")
    return document


def _check_depth(text: str) -> None:
    depth = 0
    for match in _TOKENS.finditer(text):
        character = match.group()[0]
        if character in "{[":
            depth += 1
            if depth > DEPTH_MAX:
                raise Refused(reasons.TOO_DEEP, f"nested deeper than {DEPTH_MAX} at character {match.start()}")
        elif character in "}]":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(reasons.DUPLICATE_KEY, "an object names a key twice")
    return found


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=Number
)


def plain(value: Number) -> int | float:
    """The number as an int or a float. Raises `Refused` where it is not finite or does not fit 64 bits."""
    text = value.text
    if text in ("NaN", "Infinity", "-Infinity"):
        raise Refused(reasons.NUMBER_NOT_FINITE, "NaN and Infinity are not JSON numbers")
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
            raise Refused(reasons.NUMBER_OUT_OF_RANGE, "an integer does not fit 64 bits")
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Refused(reasons.NUMBER_OUT_OF_RANGE, "a number does not fit a 64-bit float")
    return number


def _holds_card(text: str) -> bool:
    return bool(pan.find(text))


def _whole(number: str) -> str:
    """The digits before point and exponent."""
    return re.split("[.eE]", number, maxsplit=1)[0]


def repaired(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot carry, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def check_id(name: str, text: str) -> None:
    """Raises `Refused` on an id that is too long, or holds control characters or lone surrogates."""
    if _SURROGATE.search(text):
        raise Refused(reasons.LONE_SURROGATE, f"{name} holds half of a surrogate pair")
    if _BAD_IN_ID.search(text):
        raise Refused(reasons.CONTROL_CHARACTER, f"{name} holds a control character")
    limit = ID_CHARS_MAX if name in LONG_IDS else STRING_CHARS_MAX
    if len(text) > limit or (not text and name in LONG_IDS):
        raise Refused(reasons.ID_LENGTH, f"{name} has {len(text)} characters; {limit} allowed, and not none")


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
        event = _convert(EVENT_TYPES[self.kind], self.values)
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
            self.masked = self.masked or _holds_card(value)
        elif isinstance(value, Number):
            plain(value)
            self.masked = self.masked or _holds_card(_whole(value.text))
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
                if name == "card_id" and _holds_card(text):
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
        if isinstance(value, Number) and _INTEGER.fullmatch(value.text):
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
        if _holds_card(_whole(text)):
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
            if not isinstance(version, Number) or not _INTEGER.fullmatch(version.text):
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
        whole = _whole(value.text)
        if _holds_card(whole):
            self.masked = True
            return pan.mask(whole)
        return number


def _convert(cls: type[Any], values: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(values, cls, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        reason = reasons.WRONG_TYPE
        if text.startswith("Invalid enum value") or "matching regex" in text or " of length " in text:
            reason = reasons.INVALID_VALUE
        elif "missing required field" in text:
            reason = reasons.MISSING_FIELD
        raise Refused(reason, "refused at " + pan.mask(text.rpartition(" - at ")[2])[:100]) from None


_CONTROL_TIMES: Final = ("event_time", "expires_at", "until")
_MATCHED: Final = {"control.list": ("values", "add", "remove"), "control.snooze": ("value",)}
"""Fields whose values are compared with those of events: what is masked there would match nothing."""


def _control(kind: str, document: dict[str, Any]) -> Directive:
    """A control event; every text in it but the ids is masked."""
    given = {key: value for key, value in document.items() if value is not None}
    values = {key: _simple(key, value) for key, value in given.items()}
    for name in REQUIRED[kind]:
        if name not in values:
            raise Refused(reasons.MISSING_FIELD, f"{name} is missing")
    for name in ("event_id", "customer_id", "payment_id", "alert_id"):
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
    control: Control = _convert(CONTROL_TYPES[kind], values)
    return Directive(control, any(_masks(value) for key, value in given.items() if not key.endswith("_id")))


def _masks(value: Any) -> bool:
    """Whether a card number is masked somewhere in a value of a control event."""
    if isinstance(value, str):
        return _holds_card(repaired(value))
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
