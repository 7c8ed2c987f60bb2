"""The types of the expression language, and the names every expression may use."""

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from engine.domain import events
from engine.domain.durations import parse_duration
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS


class Kind(Enum):
    """The static type of an expression.

    `BOOL` may be missing (a boolean field, an `is_new` feature) and is held as a number: NaN, 0 or 1. `COND` is the
    outcome of a comparison and never missing. Rule authors see both as "a condition". `LIST` stands right of `in`.
    """

    NUMBER = "a number"
    STRING = "text"
    BOOL = "true or false"
    COND = "a condition"
    LIST = "a list"


TRUTHS: Final = (Kind.BOOL, Kind.COND)
NUMERIC: Final = (Kind.NUMBER, Kind.BOOL, Kind.COND)

EVENT_TIME: Final = "event_time"
"""Event time as a number: milliseconds since 1970."""

FIELD_KINDS: Final[dict[str, Kind]] = {
    EVENT_TIME: Kind.NUMBER,
    **dict.fromkeys(STRING_FIELDS, Kind.STRING),
    **dict.fromkeys(NUMBER_FIELDS, Kind.NUMBER),
    **dict.fromkeys(BOOL_FIELDS, Kind.BOOL),
}
SCORES: Final = ("anomaly", "fraud", "anomaly_top", "fraud_top")
"""What rules read as `score.NAME`: the models' scores, and where they stand among recent ones (the share of recent
decisions with at least this score, so that `score.fraud_top <= 0.003` hits 3 payments in 1,000)."""

SCORE_NAMES: Final = tuple(f"score.{name}" for name in SCORES)
SCORE_INDEX: Final = {name: place for place, name in enumerate(SCORES)}

EVENT_TYPES: Final = tuple(events.EVENT_TYPES)
"""What the field `type` can be; a comparison with anything else could never be true."""

WINDOW_MS_MIN: Final = 1_000
WINDOW_MS_MAX: Final = 90 * 86_400_000


def parse_window(text: str) -> int:
    """A window such as `90s`, `10m`, `24h`, `30d`, in milliseconds. Raises `ValueError` with a line for its author."""
    try:
        window_ms = parse_duration(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a window; write a whole number and s, m, h or d, as in 10m or 24h") from None
    if not WINDOW_MS_MIN <= window_ms <= WINDOW_MS_MAX:
        raise ValueError(f"the window {text} is not within 1s and 90d")
    return window_ms


MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""A time of RFC 3339: a date, a time of day and an offset."""


def parse_moment(text: str) -> int:
    """Milliseconds since 1970 of a time of RFC 3339. Raises `ValueError`."""
    if not MOMENT.fullmatch(text):
        raise ValueError(f"'{text}' is not a time with an offset")
    return (datetime.fromisoformat(text.upper()) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
