"""The journal: what `serve` without a log keeps of its input, stored with the effects of that input.

Layout of one entry (one micro-batch), little endian: `version u8 | count u32`, then for each record, in order,
`kind u8 | length u32 | bytes`. Nothing here holds a clear card number: an accepted event is kept as decoded (with card
numbers masked, `MASKED` then), of a refused one only the reason and the SHA-256 of its bytes.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from engine.core.rejects import Reject

VERSION: Final = 1
ACCEPTED: Final = 0
MASKED: Final = 1
REFUSED: Final = 2
_ENTRY: Final = struct.Struct("<BI")
_RECORD: Final = struct.Struct("<BI")

READ_BACK: Final = "journal-kind"
"""Header of a record that was read back: its kind, one byte."""

NOT_KEPT: Final = "refused before; the record itself was not kept"


class Kept(NamedTuple):
    """One record: `kind`, and the event as JSON or, where it was refused, `{"reason", "raw_sha256"}`."""

    kind: int
    value: bytes


def encode(records: Sequence[Kept]) -> bytes:
    """Frame the records of a micro-batch."""
    parts = [_ENTRY.pack(VERSION, len(records))]
    for kind, value in records:
        parts += (_RECORD.pack(kind, len(value)), value)
    return b"".join(parts)


def decode(entry: bytes) -> list[Kept]:
    """Undo `encode`. Raises `ValueError` for another version or a truncated entry."""
    if len(entry) < _ENTRY.size:
        raise ValueError("truncated journal entry")
    version, count = _ENTRY.unpack_from(entry)
    if version != VERSION:
        raise ValueError(f"journal entry of version {version}; this build reads {VERSION}")
    position = _ENTRY.size
    records: list[Kept] = []
    for _ in range(count):
        if position + _RECORD.size > len(entry):
            raise ValueError("truncated journal entry")
        kind, length = _RECORD.unpack_from(entry, position)
        position += _RECORD.size
        records.append(Kept(kind, entry[position : position + length]))
        position += length
    if position != len(entry):
        raise ValueError("truncated or overlong journal entry")
    return records


def keep(decoded: Any, values: Sequence[bytes | None]) -> list[Kept]:
    """What is kept of the records `values` that `decoded` (`engine.core.decode.Decoded`) was made from."""
    kept = [Kept(ACCEPTED, value or b"") for value in values]
    for placed in decoded.controls:
        if placed.raw is not placed.record:
            kept[placed.position] = Kept(MASKED, placed.raw)
    for index, raw, masked in zip(decoded.index.tolist(), decoded.raw, decoded.masked.tolist()):
        kept[index] = Kept(MASKED if masked else ACCEPTED, raw)
    for reject in decoded.rejects:
        body = msgspec.json.encode({"reason": reject.reason, "raw_sha256": reject.raw_sha256})
        kept[reject.index] = Kept(REFUSED, body)
    return kept


class _Refused(msgspec.Struct):
    reason: str
    raw_sha256: str


_refused = msgspec.json.Decoder(_Refused)


def mend(decoded: Any, records: Sequence[Any]) -> None:
    """Make `decoded` what it was when records that were read back came first: refused, or with a masked card number."""
    kinds = {i: value[0] for i, record in enumerate(records) for name, value in record.headers if name == READ_BACK}
    if not kinds:
        return
    decoded.masked[[kinds.get(index) == MASKED for index in decoded.index.tolist()]] = True
    for place, reject in enumerate(decoded.rejects):
        if kinds.get(reject.index) == REFUSED:
            first = _refused.decode(records[reject.index].value)
            decoded.rejects[place] = Reject(reject.index, first.reason, NOT_KEPT, first.raw_sha256, "")
