"""Event times: RFC 3339 with an offset, or milliseconds since 1970."""

import re
from datetime import date
from typing import Final

from engine.domain import reasons

TIME_MS_MAX: Final = 4_133_980_800_000
"""The first millisecond of 2101; times are from 0 to just below it."""

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class TimeError(ValueError):
    """A time that is refused; `reason` is `TIME_MALFORMED`, `TIME_OUT_OF_RANGE` or `WRONG_TYPE`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse_time(value: str | int) -> int:
    """Milliseconds since 1970; a fraction finer than that is cut off. A leap second counts as the second after it.

    Raises `TimeError`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TimeError(reasons.WRONG_TYPE, "event_time is neither a string nor an integer")
    time_ms = value if isinstance(value, int) else _parse_text(value)
    if not 0 <= time_ms < TIME_MS_MAX:
        raise TimeError(reasons.TIME_OUT_OF_RANGE, "event_time is outside the years 1970 to 2100")
    return time_ms


def _parse_text(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise TimeError(reasons.TIME_MALFORMED, "event_time is not RFC 3339 with an offset")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hour, offset_minute = match.group(7), match.group(8), match.group(9), match.group(10)
    offset = int(offset_hour or 0) * 60 + int(offset_minute or 0)
    if hour > 23 or minute > 59 or second > 60 or int(offset_hour or 0) > 23 or int(offset_minute or 0) > 59:
        raise TimeError(reasons.TIME_MALFORMED, "event_time names no time of day")
    if year == 0:
        raise TimeError(reasons.TIME_OUT_OF_RANGE, "event_time is outside the years 1970 to 2100")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise TimeError(reasons.TIME_MALFORMED, "event_time names no day of the calendar") from None
    minutes = days * 1440 + hour * 60 + minute - (-offset if sign == "-" else offset)
    if second == 60 and minutes % 1440 != 1439:
        raise TimeError(reasons.TIME_MALFORMED, "a leap second is the last of a day in UTC")
    return (minutes * 60 + second) * 1000 + int((fraction or "0")[:3].ljust(3, "0"))
