"""Outputs as CloudEvents 1.0 in structured JSON, put together from bytes that are JSON already."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from engine.ports.sink import SinkOutput

CONTENT_TYPE: Final = b"application/cloudevents+json"
DAY_MS: Final = 86_400_000
EPOCH: Final = date(1970, 1, 1)

_encode = msgspec.json.Encoder().encode


def cloud_event(output: SinkOutput) -> bytes:
    """One CloudEvent. `subject` is the customer; it and `time` are left out where the output has none."""
    subject = b',"subject":%b' % _encode(output.key.decode()) if output.key else b""
    time = b',"time":"%b"' % rfc3339(output.time_ms) if output.time_ms else b""
    return b'{"specversion":"1.0","id":"%b","source":"steward","type":"steward.%b"%b%b,%b,"data":%b}' % (
        output.id.encode(),
        output.kind.encode(),
        subject,
        time,
        b'"datacontenttype":"application/json"',
        output.data,
    )


def rfc3339(time_ms: int) -> bytes:
    """Milliseconds since 1970 as `2026-11-21T10:00:00.123Z`."""
    days, ms = divmod(time_ms, DAY_MS)
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return b"%bT%02d:%02d:%02d.%03dZ" % (_day(days), minutes // 60, minutes % 60, seconds, ms)


@lru_cache(maxsize=1024)
def _day(days: int) -> bytes:
    """The part that a day's outputs share."""
    return (EPOCH + timedelta(days=days)).isoformat().encode()
