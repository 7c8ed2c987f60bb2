"""Rules that are to let some entity be for a while."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.instants import parse_time
from engine.domain.events import ControlSnooze
from engine.domain.fields import ENTITY_FIELDS
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.features.columns import Columns

HEAD_SNOOZES: Final = KEY_HEAD + b"snoozes"
SNOOZES_MAX: Final = 10_000
"""Snoozes in force in one shard: people set them one by one; some two megabytes, stored anew with each change."""


class SnoozesFull(Exception):
    """One snooze too many; nothing was changed."""


class _Snooze(msgspec.Struct, array_like=True):
    rule: str
    entity: str
    value: str
    until_ms: int


class Snoozes:
    """The snoozes of one shard."""

    def __init__(self, head: Mapping[bytes, bytes]) -> None:
        """`head`: the small state of the shard."""
        stored = head.get(HEAD_SNOOZES)
        kept = msgspec.msgpack.decode(stored, type=list[_Snooze]) if stored else []
        self._until = {(snooze.rule, snooze.entity, snooze.value): snooze.until_ms for snooze in kept}
        self._index: dict[str, dict[tuple[str, int], int]] = {}
        for (rule, entity, value), until_ms in self._until.items():
            self._index.setdefault(rule, {})[entity, hash64(value)] = until_ms
        self._unsaved = False

    def __bool__(self) -> bool:
        """Whether any is in force."""
        return bool(self._until)

    @property
    def entries(self) -> Mapping[tuple[str, str, str], int]:
        """Until when each rule lets whom be, by rule, entity and value."""
        return self._until

    def change(self, event: ControlSnooze) -> None:
        """Set or lift a snooze; those that have ended by the time of the event are dropped. Raises `SnoozesFull`."""
        time_ms = parse_time(event.event_time)
        until_ms = None if event.until is None else parse_time(event.until)
        key = (event.rule, event.entity, event.value)
        live = {other: until for other, until in self._until.items() if until > time_ms and other != key}
        if until_ms is not None and until_ms > time_ms:
            if len(live) >= SNOOZES_MAX:
                raise SnoozesFull(f"{SNOOZES_MAX:,} snoozes are in force already")
            live[key] = until_ms
        for gone in self._until.keys() - live.keys():
            del self._index[gone[0]][gone[1], hash64(gone[2])]
        if key in live:
            self._index.setdefault(event.rule, {})[event.entity, hash64(event.value)] = live[key]
        self._unsaved = self._unsaved or live != self._until
        self._until = live

    def of(self, rule: str, columns: Columns, rows: Iterable[int]) -> NDArray[np.bool_] | None:
        """Which of `rows` a rule is snoozed for, as a mask over all events of the batch; None for none of them."""
        known = self._index.get(rule)
        if not known:
            return None
        mask = np.zeros(columns.n, np.bool_)
        for entity in {entity for entity, _ in known}:
            hashes = columns.string(ENTITY_FIELDS[entity])
            for row in rows:
                until_ms = known.get((entity, int(hashes[row])))
                if until_ms is not None and columns.time_ms[row] < until_ms:
                    mask[row] = True
        return mask if mask.any() else None

    def ops(self) -> list[bytes]:
        """State operations for what has changed since the last call."""
        if not self._unsaved:
            return []
        self._unsaved = False
        kept = [_Snooze(*key, until_ms) for key, until_ms in self._until.items()]
        return [pack(Op(SET, HEAD_SNOOZES, msgspec.msgpack.encode(kept)))]
