"""What a state means, where its bytes depend on how the log was cut into batches.

All keys are compared byte by byte but those of watches and their timers, of cases, of customers' records and of
cool-downs. A record is a snapshot and a frame for each batch since: both are read, and written as one snapshot, without
the hour at which the customer is woken, which is a hint as well. A timer of a watch
is a hint to look at it: how many hints there are depends on batches, what the watch waits for does not. So of a watch
the hits and the stretches that are covered are compared; and each watch that waits must have a timer no later than its
first hit is due. Cases are kept batch by batch: those of a customer are compared with what has been told of each, and
those that wait to mature without the ones that are through or will not. A cool-down that is over may still be stored.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.core.cases import Notice
from engine.core.cases import unpack as unpack_cases
from engine.core.clock import ShardClock
from engine.core.customers import is_customer
from engine.core.label_desk import HEAD_LABELS, HEAD_MATURING
from engine.core.maturing import Stored, bucket_key
from engine.core.observers import HEAD_COOLDOWNS, HEAD_TIMERS
from engine.core.small_state import HEAD_CLOCK
from engine.core.timers import unpack
from engine.core.watches import Watch
from engine.domain.ops import KEY_CUSTOMER, KEY_LABEL, KEY_MATURING, KEY_TIMER, KEY_WATCH
from engine.engagement.customer import codec
from engine.engagement.customer.states import NEVER

_decode: Final = msgspec.msgpack.Decoder(Watch).decode
_hours: Final = msgspec.msgpack.Decoder(Stored).decode
_NEVER: Final = (-(1 << 63)).to_bytes(8, "little", signed=True)


def meaning(state: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The state as it is compared."""
    found = {}
    done_ms = int.from_bytes(state.get(HEAD_LABELS, _NEVER), "little", signed=True)
    now_ms = ShardClock(0, 0, state.get(HEAD_CLOCK, b"")).now
    for key, value in state.items():
        if key[:1] == KEY_LABEL:
            found[key] = _told(value)
        elif key[:1] == KEY_CUSTOMER and is_customer(key):
            found[key] = _whole(value, now_ms)
        elif key[:1] == KEY_MATURING:
            waiting = _waiting(value, done_ms)
            if waiting:
                found[key] = waiting
        elif key[:1] == KEY_WATCH:
            watch = _decode(value)
            if watch.armed or watch.covered or watch.usual:
                found[key] = msgspec.msgpack.encode([watch.armed, watch.covered, watch.usual])
        elif key[:1] != KEY_TIMER and key not in (HEAD_TIMERS, HEAD_MATURING, HEAD_COOLDOWNS):
            found[key] = value
    if HEAD_COOLDOWNS in state:
        entries = msgspec.msgpack.decode(state[HEAD_COOLDOWNS])
        found[HEAD_COOLDOWNS] = msgspec.msgpack.encode([held for held in entries if held[2] + held[3] > now_ms])
    if HEAD_MATURING in state:
        hours = _hours(state[HEAD_MATURING]).buckets
        found[HEAD_MATURING] = msgspec.msgpack.encode([hour for hour in hours if bucket_key(hour) in found])
    return found


def _whole(stored: bytes, now_ms: int) -> bytes:
    """A customer's record as one snapshot."""
    customer, _ = codec.load(stored)
    customer.timer_ms = NEVER
    return codec.snapshot(customer, max(now_ms, 0))


def _told(stored: bytes) -> bytes:
    """The cases of a customer, each with its notices in order."""
    cases: dict[int, list[bytes]] = {}
    for part in unpack_cases(stored):
        if isinstance(part, Notice):
            if part.identity in cases:
                cases[part.identity].append(part.packed())
            continue
        form, rows = part
        for row in rows:
            cases.setdefault(int(row["identity"]), []).append(repr(form).encode() + row.tobytes())
    return msgspec.msgpack.encode(sorted(cases.items()))


def _waiting(stored: bytes, done_ms: int) -> bytes:
    """The cases of an hour that will mature; empty for none."""
    parts = list(unpack_cases(stored))
    gone = {part.identity for part in parts if isinstance(part, Notice)}
    cases = [
        repr(part[0]).encode() + row.tobytes()
        for part in parts
        if not isinstance(part, Notice)
        for row in part[1]
        if row["due_ms"] > done_ms and int(row["identity"]) not in gone
    ]
    return msgspec.msgpack.encode(sorted(cases)) if cases else b""


def unattended(state: Mapping[bytes, bytes]) -> list[bytes]:
    """Keys of the watches whose alert no timer would raise in time."""
    first: dict[bytes, int] = {}
    for key, value in state.items():
        if key[:1] == KEY_TIMER:
            for timer in unpack(value):
                first[timer.owner] = min(timer.due_ms, first.get(timer.owner, timer.due_ms))
    watches = {key: _decode(value) for key, value in state.items() if key[:1] == KEY_WATCH}
    return [key for key, watch in watches.items() if watch.armed and first.get(key[1:], 2**62) > watch.armed[0].due_ms]
