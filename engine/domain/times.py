"""Times as text."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
_EPOCH: Final = date(1970, 1, 1)
_SECONDS: Final = tuple(f"{second:02d}" for second in range(60))
_MILLISECONDS: Final = tuple(f".{ms:03d}Z" for ms in range(1000))


def rfc3339(time_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC, such as `2026-11-21T10:00:00.123Z`."""
    minutes, ms = divmod(time_ms, MINUTE_MS)
    seconds, ms = divmod(ms, 1000)
    return f"{_minute(minutes)}{_SECONDS[seconds]}{_MILLISECONDS[ms]}"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """The part that a minute's times share."""
    days, minute = divmod(minutes, DAY_MS // MINUTE_MS)
    return f"{(_EPOCH + timedelta(days=days)).isoformat()}T{minute // 60:02d}:{minute % 60:02d}:"
