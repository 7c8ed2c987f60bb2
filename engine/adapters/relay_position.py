"""How far the outputs of a shard have gone: the record that says so, and which outputs it lets pass.

Every transaction of the relay carries, beside its outputs, one record of this form in the topic `steward.relay`, keyed
by the shard's number, as JSON:

    {"version": 1, "first": 4100, "next": 4600, "origin": "dec_…", "ids": "base64 of 8 bytes an output"}

`first` and `next` are the ordinals of the outputs the transaction is about (`engine.ports.sink.Sink.send`), `origin` is
the id of the shard's very first output, which tells one history from another, and `ids` are fingerprints of the ids.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.ports.sink import SinkOutput

VERSION: Final = 1
FINGERPRINT_BYTES: Final = 8
KNOWN_MAX: Final = 262_144
"""Fingerprints held of what was sent last: 2 MB; half a minute at the full speed of a shard."""


class PositionRecord(msgspec.Struct, frozen=True):
    """One record of the relay's topic; see the module."""

    version: int
    first: int
    next: int
    origin: str | None
    ids: bytes


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PositionRecord)


def decode(value: bytes) -> PositionRecord:
    """Read a record. Raises `ValueError` where it is none, or of another version."""
    try:
        record = _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no position of the relay: {error}") from error
    if record.version != VERSION or len(record.ids) % FINGERPRINT_BYTES:
        raise ValueError(f"a position of the relay of version {record.version}; this build reads {VERSION}")
    return record


def fingerprints(outputs: Sequence[SinkOutput]) -> NDArray[np.uint64]:
    """64 bits of each output's id: two of a million ids agree by chance once in 37 million times."""
    digests = [hashlib.blake2b(output.id.encode(), digest_size=FINGERPRINT_BYTES).digest() for output in outputs]
    return np.array(np.frombuffer(b"".join(digests), dtype="<u8")) if digests else np.empty(0, dtype="<u8")


class RelayPosition:
    """What is known of the outputs a shard has sent, and what is still to be sent.

    After a crash, or after a Redis that lost its last seconds, the same outputs come again under the same ordinals,
    because they follow from the log alone. Those that were sent are left out:

    - by id, as far back as the records at the topic's end reach. An output below the position with an id that was not
      sent means that the history changed (another build of the engine reads the log another way): it is sent, for
      nothing may be lost, and counted in `changed`;
    - by ordinal, below those records. Before that the very first output is compared with `origin`: where they differ
      the log or the state was made anew, and nothing of the old history counts.

    Attributes:
        next: ordinal after the last output sent.
        origin: id of the output with ordinal 0, if that was sent in a transaction.
        skipped, changed: outputs left out; outputs sent although their ordinal was below the position.
        renewed: whether a new history was found.
    """

    def __init__(self, records: Sequence[PositionRecord] = ()) -> None:
        """`records` are the last of the shard's, oldest first; none where it never sent anything."""
        self.next = records[-1].next if records else 0
        self.origin = records[-1].origin if records else None
        self.skipped = self.changed = 0
        self.renewed = False
        window = _newest(records)
        self._floor = min((record.first for record in window if record.origin == self.origin), default=0)
        ids = b"".join(record.ids for record in window)
        self._known = np.sort(np.frombuffer(ids, dtype="<u8")) if ids else np.empty(0, dtype="<u8")
        self._reached = self.next
        self._keep_until = self.next + len(self._known)
        self._sent_any = False

    def stale(self, first: int) -> bool:
        """Whether the outputs went back to before what this object saw being sent: it must be made anew."""
        return self._sent_any and first < self.next

    def unsent(self, first: int, outputs: Sequence[SinkOutput]) -> Sequence[SinkOutput]:
        """Those of `outputs`, the first of which has the ordinal `first`, that are still to be sent."""
        if first == 0 and outputs:
            self._compare_origin(outputs[0].id)
        if first >= self._keep_until:
            self._known = self._known[:0]
            return outputs
        ordinals = np.arange(first, first + len(outputs))
        sent = np.isin(fingerprints(outputs), self._known) | (ordinals < self._floor)
        self.skipped += int(sent.sum())
        self.changed += int((~sent & (ordinals < self._reached)).sum())
        return outputs if not sent.any() else [output for output, was in zip(outputs, sent, strict=True) if not was]

    def moves(self, first: int, outputs: Sequence[SinkOutput]) -> bool:
        """Whether the position has to be written even where none of `outputs` is to be sent."""
        return first + len(outputs) > self.next

    def record(self, first: int, outputs: Sequence[SinkOutput]) -> bytes:
        """The record that goes with `outputs`, those that were sent before included."""
        ids = fingerprints(outputs).tobytes()
        return _encoder.encode(PositionRecord(VERSION, first, first + len(outputs), self.origin, ids))

    def sent(self, first: int, outputs: Sequence[SinkOutput]) -> None:
        """The transaction is committed."""
        self.next = first + len(outputs)
        self._sent_any = True

    def _compare_origin(self, origin: str) -> None:
        if self.origin != origin:
            self.renewed = self.next > 0
            self.next = self._reached = self._floor = 0
            self.origin = origin


def _newest(records: Sequence[PositionRecord]) -> list[PositionRecord]:
    """As many of the last records as hold `KNOWN_MAX` fingerprints, at least one where there is any."""
    kept: list[PositionRecord] = []
    held = 0
    for record in reversed(records):
        held += len(record.ids) // FINGERPRINT_BYTES
        if kept and held > KNOWN_MAX:
            break
        kept.append(record)
    return kept
