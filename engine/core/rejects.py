"""What a batch holds besides events: refused records and control events, each at its place."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from engine.core.redact import redact
from engine.domain.events import Control


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is no event.

    Attributes:
        index: its position among the records given to `decode`.
        reason, detail: a code of `engine.domain.reasons`, and a line for people that quotes no values.
        raw_sha256: hex digest of the record's bytes (of no bytes for a tombstone).
        raw_redacted: its first 2 KiB as text, card numbers masked.
    """

    index: int
    reason: str
    detail: str
    raw_sha256: str
    raw_redacted: str


class Placed(NamedTuple):
    """A control event at its place.

    Attributes:
        row: the row before which it applies.
        event: as decoded.
        position: of its record among those given to `decode`.
        record: the bytes of that.
        raw: its JSON without a clear card number: the record itself, or a re-encoding.
    """

    row: int
    event: Control
    position: int
    record: bytes
    raw: bytes


def reject(index: int, record: bytes | None, reason: str, detail: str) -> Reject:
    """A refused record."""
    return Reject(index, reason, detail, hashlib.sha256(record or b"").hexdigest(), redact(record))
