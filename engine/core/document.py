"""The JSON object of a record, on the strict path: bounded in size and depth, no key twice, numbers as written."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from engine.domain import reasons

RECORD_BYTES_MAX: Final = 65_536
DEPTH_MAX: Final = 8

INTEGER: Final = re.compile(r"-?[0-9]+")
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


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
    if INTEGER.fullmatch(text):
        if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
            raise Refused(reasons.NUMBER_OUT_OF_RANGE, "an integer does not fit 64 bits")
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Refused(reasons.NUMBER_OUT_OF_RANGE, "a number does not fit a 64-bit float")
    return number
