"""Outputs as CloudEvents 1.0 in structured JSON, put together from bytes that are JSON already."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from engine.ports.sink import SinkOutput

CONTENT_TYPE: Final = b"application/cloudevents+json"
SOURCE: Final = "steward"

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
    seconds, ms = divmod(time_ms, 1000)
    return b"%b.%03dZ" % (_second(seconds), ms)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    """The part that a thousand outputs share."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
