"""A customer's own calendar: local days and hours, months, birthdays. Instants are milliseconds since 1970, UTC.

An hour that the clocks skip in spring stands for the same time after the jump; one that comes twice in autumn for its
first coming. Months are counted from the original date and clamped to the length of the month they end in.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from engine.ruleset.functions.times import zone as known_zone

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
QUARTER_MS: Final = 900_000
PERIODS: Final = ("day", "week", "month", "year")
"""Calendar periods of caps. A week begins on Monday."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ZERO: Final = date(1970, 1, 1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UTC: Final = ZoneInfo("UTC")


def zone_of(name: str) -> ZoneInfo:
    """The zone of that IANA name; UTC where there is none."""
    return (known_zone(name) if name else None) or _UTC


def is_zone(name: str) -> bool:
    """Whether it is an IANA name that is known here."""
    return bool(name) and known_zone(name) is not None


def local(time_ms: int, zone: str) -> datetime:
    """An instant as the customer's clock shows it."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone_of(zone))


def local_day(time_ms: int, zone: str) -> int:
    """Number of the local day, counted from 1970-01-01."""
    return (time_ms + _ahead_ms(time_ms // QUARTER_MS, zone)) // DAY_MS


def local_hour(time_ms: int, zone: str) -> int:
    """Hour of the local day, 0 to 23."""
    return (time_ms + _ahead_ms(time_ms // QUARTER_MS, zone)) % DAY_MS // HOUR_MS


def local_month(time_ms: int, zone: str) -> int:
    """Number of the local month, `year * 12 + month - 1`."""
    return month_of((time_ms + _ahead_ms(time_ms // QUARTER_MS, zone)) // DAY_MS)


def local_date(time_ms: int, zone: str) -> date:
    """The local day."""
    return day_of((time_ms + _ahead_ms(time_ms // QUARTER_MS, zone)) // DAY_MS)


@lru_cache(maxsize=1 << 14)
def day_of(number: int) -> date:
    """The day that `local_day` numbers so."""
    return _DAY_ZERO + timedelta(days=number)


@lru_cache(maxsize=1 << 14)
def month_of(number: int) -> int:
    """The number of the month of a day that `local_day` numbers so."""
    day = day_of(number)
    return day.year * 12 + day.month - 1


@lru_cache(maxsize=1 << 16)
def _ahead_ms(quarter: int, zone: str) -> int:
    """How far a zone's clock is ahead of UTC in a quarter of an hour; since 1973 clocks change between quarters."""
    ahead = zone_of(zone).utcoffset(local(quarter * QUARTER_MS, zone))
    return 0 if ahead is None else ahead // _MILLISECOND


def instant(day: date, minute: int, zone: str) -> int:
    """When a local day's clock shows so many minutes after midnight."""
    shown = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone_of(zone))
    return (shown.astimezone(UTC) - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=1 << 16)
def _shows(number: int, minute: int, zone: str) -> int:
    """The same of a day by its number."""
    return instant(day_of(number), minute, zone)


@lru_cache(maxsize=1 << 14)
def month_begins(number: int, zone: str) -> int:
    """The first instant of a month that `local_month` numbers so."""
    return instant(date(number // 12, number % 12 + 1, 1), 0, zone)


def next_minute(after_ms: int, minute: int, zone: str) -> int:
    """The first instant at or after `after_ms` at which the customer's clock shows that minute of the day."""
    number = local_day(after_ms, zone)
    found = _shows(number, minute, zone)
    return found if found >= after_ms else _shows(number + 1, minute, zone)


def add_months(time_ms: int, months: int, zone: str) -> int:
    """The end of the local day that is so many months on: the 31st becomes the last day of a shorter month."""
    return _end_of_months(local_day(time_ms, zone), months, zone)


@lru_cache(maxsize=1 << 14)
def _end_of_months(number: int, months: int, zone: str) -> int:
    start = day_of(number)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))
    return instant(day + timedelta(days=1), 0, zone)


def period(time_ms: int, name: str, zone: str) -> str:
    """Which of a kind of period an instant is in, such as `2026-W47`: equal exactly within one."""
    return _period(local_day(time_ms, zone), name)


@lru_cache(maxsize=1 << 14)
def _period(number: int, name: str) -> str:
    day = day_of(number)
    if name == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat()[: {"day": 10, "month": 7, "year": 4}[name]]


def period_end(time_ms: int, name: str, zone: str) -> int:
    """When the period that an instant is in is over: the first instant of the next."""
    return _ends(local_day(time_ms, zone), name, zone)


@lru_cache(maxsize=1 << 14)
def _ends(number: int, name: str, zone: str) -> int:
    day = day_of(number)
    if name == "year":
        return instant(date(day.year + 1, 1, 1), 0, zone)
    if name == "month":
        return month_begins(month_of(number) + 1, zone)
    return _shows(number + (7 - day.weekday() if name == "week" else 1), 0, zone)


def birthday(year: int, birth: date) -> date:
    """The birthday in a year. Who was born on 29 February has it on 1 March of other years: they come of age then."""
    try:
        return birth.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def next_birthday(after_ms: int, birth: date, minute: int, zone: str) -> tuple[int, int]:
    """The first birthday at or after an instant, at a minute of the local day: the instant, and the year it is for."""
    year = local_date(after_ms, zone).year
    for candidate in (year - 1, year, year + 1):
        found = instant(birthday(candidate, birth), minute, zone)
        if found >= after_ms:
            return found, candidate
    return instant(birthday(year + 2, birth), minute, zone), year + 2


@lru_cache(maxsize=1 << 16)
def parse_day(text: str) -> date | None:
    """A date `YYYY-MM-DD`, None where it is none."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def quiet_until(time_ms: int, quiet: tuple[int, int] | None, zone: str) -> int:
    """The instant itself, or the end of the quiet hours it falls in: minutes of the day from and to, over midnight."""
    if quiet is None:
        return time_ms
    begins, ends = quiet
    minute = (time_ms + _ahead_ms(time_ms // QUARTER_MS, zone)) % DAY_MS // MINUTE_MS
    inside = begins <= minute < ends if begins < ends else minute >= begins or minute < ends
    return next_minute(time_ms, ends, zone) if inside else time_ms
