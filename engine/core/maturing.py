"""Payments that mature: those of which nothing is told until their time has come count as legitimate.

They wait in buckets by the hour they are due in. A bucket is a key of its own that is only appended to, loaded when the
clock can reach it, and deleted when all in it are through. What has been told of a payment, or that it came to nothing,
is appended to its bucket as a notice, so that nothing of the waiting has to be in memory.
"""

import struct
from collections import defaultdict
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.cases import Cases, Form, Notice, block, unpack, without_inputs
from engine.core.stretches import STRETCH_MS
from engine.domain.ops import APPEND, DELETE, KEY_MATURING, Op, pack

_KEY: Final = struct.Struct("<q")


class Stored(msgspec.Struct, array_like=True):
    """What the head of a shard holds: the hours of which something waits, since 1970."""

    buckets: list[int] = []


class Due(NamedTuple):
    """Cases that have matured, by time and then by identity: an order that no batch changes.

    Attributes:
        parts: as stored; `order`: places of the cases in order, were the parts one after another.
    """

    parts: list[tuple[Form, Cases]]
    order: NDArray[np.intp]

    @property
    def due_ms(self) -> NDArray[np.int64]:
        """When each was due, in order."""
        due: NDArray[np.int64] = np.concatenate([cases["due_ms"] for _, cases in self.parts])[self.order]
        return due


class _Bucket:
    """Cases that are due in one hour. Sealed, those of one form are together and sorted."""

    def __init__(self) -> None:
        self.parts: list[tuple[Form, Cases]] = []
        self.gone: list[int] = []
        self.sealed = False

    def kill(self, identity: int) -> None:
        if not self.sealed:
            self.gone.append(identity)
            return
        self.parts = [(form, cases[cases["identity"] != np.uint64(identity)]) for form, cases in self.parts]

    def take(self, up_to_ms: int) -> list[tuple[Form, Cases]]:
        """Take out what is due by then."""
        if not self.sealed:
            self._seal()
        found, left = [], []
        for form, cases in self.parts:
            count = int(np.searchsorted(cases["due_ms"], up_to_ms, side="right"))
            if count:
                found.append((form, cases[:count]))
            if count < len(cases):
                left.append((form, cases[count:]))
        self.parts = left
        return found

    def _seal(self) -> None:
        by_form: dict[Form, list[Cases]] = defaultdict(list)
        for form, cases in self.parts:
            by_form[form].append(cases)
        gone = np.array(self.gone, np.uint64)
        self.parts, self.gone, self.sealed = [], [], True
        for form, members in by_form.items():
            cases = np.concatenate(members)
            if len(gone):
                cases = cases[~np.isin(cases["identity"], gone)]
            self.parts.append((form, cases[np.argsort(cases["due_ms"], kind="stable")]))


class Maturing:
    """What waits in one shard.

    Args:
        backed: a state store stands behind; without one all of it is in memory.
        stored: what `changed` gave, empty for a new shard.
    """

    def __init__(self, *, backed: bool, stored: bytes = b"") -> None:
        self._backed = backed
        state = msgspec.msgpack.decode(stored, type=Stored) if stored else Stored()
        self._pending = set(state.buckets)
        self._saved = stored
        self._held: dict[int, _Bucket] = {}
        self._fresh: dict[int, list[bytes]] = defaultdict(list)
        self._emptied: set[int] = set()
        self._reach: int | None = None

    @property
    def buckets(self) -> int:
        """Hours of which something waits."""
        return len(self._pending)

    def missing(self, reach_ms: int) -> list[bytes]:
        """Keys of the buckets that the clock can come to by `reach_ms`, and that are not in memory."""
        if not self._backed:
            return []
        self._reach = reach_ms // STRETCH_MS
        return [bucket_key(bucket) for bucket in sorted(self._pending - self._held.keys()) if bucket <= self._reach]

    def load(self, key: bytes, value: bytes | None, done_ms: int) -> None:
        """Take a stored bucket into memory; what was due by `done_ms` is through."""
        bucket = _KEY.unpack(key[1:])[0]
        held = self._held[bucket] = _Bucket()
        for part in unpack(value or b""):
            if isinstance(part, Notice):
                held.gone.append(part.identity)
            else:
                form, cases = part
                held.parts.append((form, cases[cases["due_ms"] > done_ms]))

    def possible(self) -> list[tuple[Form, Cases]]:
        """Everything in memory that the clock may come to in this batch."""
        near = (held for bucket, held in self._held.items() if self._reach is None or bucket <= self._reach)
        return [part for held in near for part in held.parts if len(part[1])]

    def add(self, form: Form, cases: Cases) -> None:
        """Let cases wait that are not due yet. The inputs of those that are not drawn are not kept."""
        drawn = cases["share"] != 0.0
        if form.inputs and not drawn.all():
            self._add(*without_inputs(form, cases[~drawn]))
            cases = cases[drawn]
        if len(cases):
            self._add(form, cases)

    def _add(self, form: Form, cases: Cases) -> None:
        hours = cases["due_ms"] // STRETCH_MS
        for bucket in np.unique(hours).tolist():
            some = cases[hours == bucket]
            if not self._backed or (bucket not in self._pending and self._reach is not None and bucket <= self._reach):
                self._held.setdefault(bucket, _Bucket())
            self._pending.add(bucket)
            if bucket in self._held:
                self._held[bucket].parts.append((form, some))
            if self._backed:
                self._fresh[bucket].append(block(form, some))

    def kill(self, identity: int, due_ms: int, notice: Notice) -> None:
        """Something has been told of a case that has not matured: it will not."""
        bucket = due_ms // STRETCH_MS
        if bucket in self._held:
            self._held[bucket].kill(identity)
        if self._backed and bucket in self._pending:
            self._fresh[bucket].append(notice.packed())

    def take(self, up_to_ms: int) -> Due | None:
        """Take out the cases that are due by then; None where there are none."""
        last = up_to_ms // STRETCH_MS
        parts: list[tuple[Form, Cases]] = []
        for bucket in sorted(bucket for bucket in self._held if bucket <= last):
            held = self._held[bucket]
            parts += held.take(up_to_ms)
            if not held.parts or bucket < last:
                del self._held[bucket]
                self._pending.discard(bucket)
                self._emptied.add(bucket)
        if not parts:
            return None
        due = np.concatenate([cases["due_ms"] for _, cases in parts])
        identity = np.concatenate([cases["identity"] for _, cases in parts])
        return Due(parts, np.lexsort((identity, due)))

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch changed."""
        fresh, self._fresh = self._fresh, defaultdict(list)
        emptied, self._emptied = self._emptied, set()
        if not self._backed:
            return []
        ops = [pack(Op(DELETE, bucket_key(bucket), b"")) for bucket in sorted(emptied)]
        return ops + [
            pack(Op(APPEND, bucket_key(bucket), b"".join(parts)))
            for bucket, parts in fresh.items()
            if bucket not in emptied
        ]

    def changed(self) -> bytes | None:
        """What the head is to hold; None where it is what it held."""
        stored = msgspec.msgpack.encode(Stored(sorted(self._pending)))
        if stored == self._saved or not (self._pending or self._saved):
            return None
        self._saved = stored
        return stored


def bucket_key(bucket: int) -> bytes:
    """State key of an hour."""
    return KEY_MATURING + _KEY.pack(bucket)
