"""Durations as people write them: `250ms`, `30s`, `10m`, `24h`, `8d`, `2w`."""

import re
from typing import Final

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DURATION_ALLOWED: Final = "a whole number and a unit: ms, s, m, h, d or w, as in 30s or 8d"
_FORM: Final = re.compile(r"([0-9]{1,12})\s*(ms|s|m|h|d|w)")


def parse_duration(text: str) -> int:
    """Milliseconds of a duration in text. Raises `ValueError` naming what is allowed.

    >>> parse_duration("8d")
    691200000
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: {DURATION_ALLOWED}")
    return int(match[1]) * UNITS_MS[match[2]]


def format_duration(duration_ms: int) -> str:
    """The shortest text that `parse_duration` reads back as the same milliseconds; weeks are written as days."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % UNITS_MS[unit] == 0:
            return f"{duration_ms // UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
