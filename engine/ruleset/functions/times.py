"""Functions of time. Always of event time; there is no other clock here."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from engine.ruleset.functions.base import Function, number, text
from engine.ruleset.types import EVENT_TIME, Kind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_TIME_MS_MAX: Final = 4_102_444_800_000  # 2100-01-01, the last time an event may bear
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ZONE_CHARS_MAX: Final = 64
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo | None:
    """A time zone by its IANA name, None where there is no such zone."""
    if len(name) > _ZONE_CHARS_MAX or not _ZONE.fullmatch(name):
        return None
    # Out of the pinned package, for the system's own data differs from worker to worker.
    place = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    try:
        with place.open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (ValueError, OSError):
        return None


def _local(time_ms: float, name: str) -> datetime | None:
    found = zone(name)
    if found is None or not 0 <= time_ms <= _TIME_MS_MAX:
        return None
    return (_EPOCH + timedelta(milliseconds=int(time_ms))).astimezone(found)


def _hour(time_ms: float, name: str = "") -> float:
    if not name:
        return (time_ms // _HOUR_MS) % 24.0
    local = _local(time_ms, name)
    return float(local.hour) if local else math.nan


def _weekday(time_ms: float, name: str = "") -> float:
    if not name:
        return (time_ms // _DAY_MS + 3.0) % 7.0  # 1970-01-01 was a Thursday
    local = _local(time_ms, name)
    return float(local.weekday()) if local else math.nan


def _vector_hour(time_ms: Any) -> Any:
    return np.remainder(np.floor_divide(time_ms, _HOUR_MS), 24.0)


def _vector_weekday(time_ms: Any) -> Any:
    return np.remainder(np.floor_divide(time_ms, _DAY_MS) + 3.0, 7.0)


def _check_zone(time_ms: float | None, name: str | None = None) -> None:
    if name is not None and zone(name) is None:
        raise ValueError(f"unknown time zone '{name}'; write an IANA name such as 'Europe/Berlin'")


def _years(time_ms: float, day: str) -> float:
    """Whole years from a day to an event, in UTC; a birthday on 29 February comes on 1 March of other years."""
    if not _DAY.fullmatch(day) or not 0 <= time_ms <= _TIME_MS_MAX:
        return math.nan
    try:
        born = date.fromisoformat(day)
    except ValueError:
        return math.nan
    now = (_EPOCH + timedelta(milliseconds=int(time_ms))).date()
    years = now.year - born.year - ((now.month, now.day) < (born.month, born.day))
    return float(years) if years >= 0 else math.nan


def _check_day(time_ms: float | None, day: str | None) -> None:
    if day is None:
        return
    try:
        date.fromisoformat(day if _DAY.fullmatch(day) else "")
    except ValueError:
        raise ValueError(f"'{day}' is not a date; write it as in '1961-01-31'") from None


_LOCAL: Final = (number("time"), text("timezone"))
_WHEN: Final = (number("time", optional=True), text("zone", optional=True))

FUNCTIONS: Final = (
    Function("hour", _WHEN, Kind.NUMBER, _hour,
             "hour of the day, 0 to 23, of the event's time; in UTC, or in a zone such as the field `timezone`",
             "hour() < 6 or hour(coalesce(timezone, 'UTC')) == 23", _vector_hour, _check_zone),
    Function("weekday", _WHEN, Kind.NUMBER, _weekday,
             "day of the week, Monday 0 to Sunday 6, of the event's time; in UTC, or in a zone",
             "weekday('Europe/Berlin') >= 5", _vector_weekday, _check_zone),
    Function("local_hour", _LOCAL, Kind.NUMBER, _hour,
             "hour of the day in the event's own `timezone`; missing where it names none", "local_hour() < 6",
             fields=(EVENT_TIME, "timezone")),
    Function("local_weekday", _LOCAL, Kind.NUMBER, _weekday,
             "day of the week, Monday 0, in the event's own `timezone`; missing where it names none",
             "local_weekday() >= 5", fields=(EVENT_TIME, "timezone")),
    Function("years_since", (number("time"), text("date")), Kind.NUMBER, _years,
             "whole years from a date `YYYY-MM-DD` to the event; missing where it is none, or in the future",
             "years_since(birth_date) >= 65", check=_check_day, fields=(EVENT_TIME,)),
)  # fmt: skip
