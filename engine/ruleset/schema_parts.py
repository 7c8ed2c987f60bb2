"""Pieces the schema of rule files is made of."""

from collections.abc import Sequence
from typing import Any, Final

from engine.domain.durations import UNITS_MS
from engine.ruleset.reader import TEXT_CHARS_MAX
from engine.ruleset.types import MOMENT

Schema = dict[str, Any]
_DURATION: Final = rf"\s*[0-9]{{1,12}}\s*({'|'.join(UNITS_MS)})\s*"


def closed(properties: Schema, *required: str) -> Schema:
    """An object with these keys and no others."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        found["required"] = list(required)
    return found


def whole(pattern: str) -> str:
    """A pattern for the whole of a text."""
    return f"^(?:{pattern})$"


def text(description: str, pattern: str | None = None) -> Schema:
    """A text, of a pattern or bounded."""
    found: Schema = {"type": "string", "description": description}
    return {**found, "pattern": whole(pattern)} if pattern else {**found, "maxLength": TEXT_CHARS_MAX}


def texts(description: str, **of: Any) -> Schema:
    """A text, or a list of them."""
    one = {"type": "string", **of}
    return {"description": description, "anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def duration(description: str) -> Schema:
    """A duration such as `15m`."""
    return {**text(description, _DURATION), "examples": ["15m", "3d"]}


def moment(description: str) -> Schema:
    """A time of RFC 3339."""
    return {**text(description, MOMENT.pattern), "examples": ["2026-01-31T23:00:00Z"]}


def choice(description: str, words: Sequence[str]) -> Schema:
    """One of some words, the default first."""
    return {"enum": list(words), "default": words[0], "description": description}
