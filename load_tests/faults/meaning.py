"""What a state means, where its bytes depend on how the log was cut into batches.

All keys are compared byte by byte but those of watches and their timers. A timer of a watch is a hint to look at it:
how many hints there are depends on batches, what the watch waits for does not. So of a watch the hits and the
stretches that are covered are compared; and each watch that waits must have a timer no later than its first hit is due.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.core.observers import HEAD_TIMERS
from engine.core.timers import unpack
from engine.core.watches import Watch
from engine.domain.ops import KEY_TIMER, KEY_WATCH

_decode: Final = msgspec.msgpack.Decoder(Watch).decode


def meaning(state: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The state as it is compared."""
    found = {}
    for key, value in state.items():
        if key[:1] == KEY_WATCH:
            watch = _decode(value)
            if watch.armed or watch.covered:
                found[key] = msgspec.msgpack.encode([watch.armed, watch.covered])
        elif key[:1] != KEY_TIMER and key != HEAD_TIMERS:
            found[key] = value
    return found


def unattended(state: Mapping[bytes, bytes]) -> list[bytes]:
    """Keys of the watches whose alert no timer would raise in time."""
    first: dict[bytes, int] = {}
    for key, value in state.items():
        if key[:1] == KEY_TIMER:
            for timer in unpack(value):
                first[timer.owner] = min(timer.due_ms, first.get(timer.owner, timer.due_ms))
    watches = {key: _decode(value) for key, value in state.items() if key[:1] == KEY_WATCH}
    return [key for key, watch in watches.items() if watch.armed and first.get(key[1:], 2**62) > watch.armed[0].due_ms]
