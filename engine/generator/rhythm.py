"""When people pay: weights for each hour of the week in local time."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# One digit an hour from midnight, 0 to 9.
DAYS: Final = {
    "commuter": "100000279645875445688643",
    "homebody": "110000012467775677665432",
    "evening": "421000001123343334579998",
    "night_owl": "986421000011223344456789",
    "office": "000000015999687998420000",
}
# Monday to Sunday, 0 to 9.
WEEKS: Final = {
    "commuter": "6667986",
    "homebody": "5566799",
    "evening": "4445997",
    "night_owl": "4445898",
    "office": "9999910",
}
PERSONAS: Final = tuple(DAYS)
PEAK_SHARE: Final = 0.15  # of customers have a personal hour
PEAK_WEIGHT: Final = 0.12  # of ordinary hours for a customer with a personal hour


def _week(persona: str) -> tuple[float, ...]:
    """168 weights in [0, 1] from Monday 00:00."""
    return tuple(int(day) * int(hour) / 81.0 for day in WEEKS[persona] for hour in DAYS[persona])


HOURS: Final = {persona: _week(persona) for persona in PERSONAS}
PLAIN: Final = sum(sum(week) for week in HOURS.values()) / (168.0 * len(HOURS))
ACCEPTANCE: Final = PLAIN * (1.0 - PEAK_SHARE) + (1.0 / 24.0 + PLAIN * PEAK_WEIGHT) * PEAK_SHARE
"""Mean weight over customers and hours: the share of attempts that become sessions."""


@cache
def offset_ms(zone: str, day: int) -> int:
    """The offset of `zone` from UTC at noon UTC of `day` (days since 1970), in milliseconds."""
    try:
        offset = (EPOCH + timedelta(days=day, hours=12)).astimezone(ZoneInfo(zone)).utcoffset()
    except ZoneInfoNotFoundError as error:
        raise RuntimeError(f"no time zone data for {zone}: install the tzdata package") from error
    assert offset is not None
    return int(offset.total_seconds()) * 1000


def week_hour(time_ms: int, zone: str) -> int:
    """The local hour of the week, 0 (Monday 00:00) to 167."""
    local = time_ms + offset_ms(zone, time_ms // DAY_MS)
    return (local // HOUR_MS + 72) % 168  # 1970-01-01 was a Thursday


def weight(time_ms: int, zone: str, persona: str, peak_hour: int) -> float:
    """How likely an attempt at this time is a session, 0 to 1; `peak_hour` -1 for a customer without one."""
    hour = week_hour(time_ms, zone)
    if peak_hour < 0:
        return HOURS[persona][hour]
    return 1.0 if hour % 24 == peak_hour else PEAK_WEIGHT * HOURS[persona][hour]
