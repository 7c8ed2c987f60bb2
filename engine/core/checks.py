"""What the strict path checks in the fields of events of every kind."""

import re
from typing import Any, Final

import msgspec

from engine.core.document import Refused
from engine.domain import pan, reasons
from engine.domain.events import CONTROL_TYPES, EVENT_TYPES
from engine.domain.limits import ID_CHARS_MAX, STRING_CHARS_MAX

LONG_IDS: Final = ("event_id", "customer_id", "payment_id")
REQUIRED: Final = {
    name: tuple(f.encode_name for f in msgspec.structs.fields(cls) if f.required)
    for name, cls in (*EVENT_TYPES.items(), *CONTROL_TYPES.items())
}

_BAD_IN_ID: Final = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def holds_card(text: str) -> bool:
    """Whether a card number is somewhere in a text."""
    return bool(pan.find(text))


def whole_part(number: str) -> str:
    """The digits of a number before point and exponent."""
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


def convert(cls: type[Any], values: dict[str, Any]) -> Any:
    """The struct of an event. Raises `Refused`, with the place and without the value."""
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
