"""When an observer rule last raised an alert, so that one cause raises one."""

from collections.abc import Iterable
from typing import Final

import msgspec

COOLDOWNS_MAX: Final = 4_096
"""Rules and entities that are cooling down at once, in one value of some 200 KB at most, stored when it changes. Past
it the one that has been cooling longest is forgotten: its next alert may come early."""

Key = tuple[int, bytes]
_Entry = tuple[int, bytes, int, int]


class Cooldowns:
    """Times of alerts by rule and entity. `stored` is what `changed` gave, empty for a new shard."""

    def __init__(self, stored: bytes = b"") -> None:
        entries = msgspec.msgpack.decode(stored, type=list[_Entry]) if stored else []
        self._last = {(rule, entity): (last, every) for rule, entity, last, every in entries}
        self._changed = False

    @staticmethod
    def joined(stored: Iterable[bytes]) -> bytes | None:
        """The cool-downs of several shards as one has them, as `changed` gave them; None for none. Of one key the later
        counts; past `COOLDOWNS_MAX` those that have been cooling longest are forgotten."""
        last: dict[Key, tuple[int, int]] = {}
        for entries in stored:
            for rule, entity, time_ms, every_ms in msgspec.msgpack.decode(entries, type=list[_Entry]):
                last[rule, entity] = max(last.get((rule, entity), (time_ms, every_ms)), (time_ms, every_ms))
        kept = sorted(last, key=lambda key: (last[key], key))[-COOLDOWNS_MAX:]
        return msgspec.msgpack.encode([(*key, *last[key]) for key in sorted(kept)]) if kept else None

    def allows(self, key: Key, time_ms: int, every_ms: int, clock_ms: int) -> bool:
        """Whether an event may raise an alert; it has then. Late or early, it is `every_ms` away from the last one.

        Once the clock is past the cool-down it is over, also for an event that comes late.
        """
        last, _ = self._last.get(key, (None, 0))
        if last is not None and last + every_ms > clock_ms and abs(time_ms - last) < every_ms:
            return False
        self._last[key] = (time_ms, every_ms)
        self._changed = True
        if len(self._last) > COOLDOWNS_MAX:
            self._last = {key: held for key, held in self._last.items() if sum(held) > clock_ms}
            while len(self._last) > COOLDOWNS_MAX:
                del self._last[min(self._last, key=lambda key: (self._last[key], key))]
        return True

    def changed(self, clock_ms: int) -> bytes | None:
        """What the head is to hold; None where it is what it held. What is over by the clock is left out."""
        if not self._changed:
            return None
        self._changed = False
        self._last = {key: held for key, held in self._last.items() if sum(held) > clock_ms}
        return msgspec.msgpack.encode([(*key, *held) for key, held in sorted(self._last.items())])
