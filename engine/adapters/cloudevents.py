"""Outputs as CloudEvents 1.0 in structured JSON, put together from bytes that are JSON already."""

from typing import Final

import msgspec

from engine.domain.times import rfc3339
from engine.ports.sink import SinkOutput

CONTENT_TYPE: Final = b"application/cloudevents+json"

_encode = msgspec.json.Encoder().encode


def cloud_event(output: SinkOutput) -> bytes:
    """One CloudEvent. `subject` is the customer; it and `time` are left out where the output has none."""
    subject = b',"subject":%b' % _encode(output.key.decode()) if output.key else b""
    time = b',"time":"%b"' % rfc3339(output.time_ms).encode() if output.time_ms else b""
    return b'{"specversion":"1.0","id":"%b","source":"steward","type":"steward.%b"%b%b,%b,"data":%b}' % (
        output.id.encode(),
        output.kind.encode(),
        subject,
        time,
        b'"datacontenttype":"application/json"',
        output.data,
    )
