"""Times as text."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


def rfc3339(time_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC, such as `2026-11-21T10:00:00.123Z`."""
    days, ms = divmod(time_ms, DAY_MS)
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{_day(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{ms:03d}Z"


@lru_cache(maxsize=1024)
def _day(days: int) -> str:
    """The part that a day's times share."""
    return (_EPOCH + timedelta(days=days)).isoformat()
