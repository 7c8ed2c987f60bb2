"""Outbox entries: the outputs of one micro-batch, framed as the bytes that are committed with its state.

Layout of version 1, little endian, no padding: `version u8 | ordinal of the first output u64 | count u32`, then for
each output `kind u8 | key length u16 | id length u8 | time i64 | data length u32 | key | id | data`.

The ordinal counts the outputs a shard ever made. Outputs follow from the records alone, so it is the same after any
crash and however the records were batched, which a sequence number of entries is not.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.core.effects import OUTPUT_KINDS, Output

VERSION: Final = 1
_ENTRY: Final = struct.Struct("<BQI")
_OUTPUT: Final = struct.Struct("<BHBqI")
_KIND_INDEX: Final = {kind: index for index, kind in enumerate(OUTPUT_KINDS)}


class Entry(NamedTuple):
    """A decoded outbox entry: the ordinal of its first output, and the outputs in order."""

    first: int
    outputs: Sequence[Output]


def encode(entry: Entry) -> bytes:
    """Frame an entry. Raises `ValueError` for a kind that is not in `OUTPUT_KINDS`."""
    parts = [_ENTRY.pack(VERSION, entry.first, len(entry.outputs))]
    for output in entry.outputs:
        index = _KIND_INDEX.get(output.kind)
        if index is None:
            raise ValueError(f"unknown kind of output {output.kind!r}")
        key, id_bytes, data = output.key, output.id.encode(), output.data
        parts += (_OUTPUT.pack(index, len(key), len(id_bytes), output.time_ms, len(data)), key, id_bytes, data)
    return b"".join(parts)


def decode(payload: bytes) -> Entry:
    """Undo `encode`. Raises `ValueError` for another version, an unknown kind or a truncated entry."""
    if len(payload) < _ENTRY.size:
        raise ValueError("truncated outbox entry")
    version, first, count = _ENTRY.unpack_from(payload)
    if version != VERSION:
        raise ValueError(f"outbox entry of version {version}; this build reads {VERSION}")
    position = _ENTRY.size
    outputs: list[Output] = []
    for _ in range(count):
        output, position = _decode_output(payload, position)
        outputs.append(output)
    if position != len(payload):
        raise ValueError("trailing bytes after an outbox entry")
    return Entry(first, outputs)


def _decode_output(payload: bytes, position: int) -> tuple[Output, int]:
    if position + _OUTPUT.size > len(payload):
        raise ValueError("truncated outbox entry")
    kind, key_bytes, id_bytes, time_ms, data_bytes = _OUTPUT.unpack_from(payload, position)
    key_at = position + _OUTPUT.size
    id_at = key_at + key_bytes
    data_at = id_at + id_bytes
    end = data_at + data_bytes
    if end > len(payload) or kind >= len(OUTPUT_KINDS):
        raise ValueError("truncated or unknown output in an outbox entry")
    output_id = payload[id_at:data_at].decode()
    return Output(OUTPUT_KINDS[kind], payload[key_at:id_at], output_id, time_ms, payload[data_at:end]), end
