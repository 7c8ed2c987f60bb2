"""What `control.list` events have made of the lists of the rules."""

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.core.instants import parse_time
from engine.domain.events import ControlList
from engine.domain.ops import DELETE, KEY_HEAD, SET, Op, pack
from engine.ruleset.functions.texts import to_number
from engine.ruleset.lists import ListState, ValueList, network

HEAD_LIST: Final = KEY_HEAD + b"list/"
LISTS_MAX: Final = 1_000
"""Lists of one shard that were ever changed; each costs a key of the head, which is read when the shard opens."""
ENTRIES_MAX: Final = 100_000
"""Entries of one list: some ten megabytes, stored anew with each change."""


class ListFull(Exception):
    """The change would make a list, or their number, larger than allowed; nothing was changed."""


class LiveList(msgspec.Struct, array_like=True):
    """One list as events have left it.

    Attributes:
        replaced: what the rule files declare no longer counts.
        added: value to the event time (ms) before which it is on the list; None for ever.
        removed: declared values that are off the list; the values mean nothing.
    """

    replaced: bool = False
    added: dict[str, int | None] = {}
    removed: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Whether it differs from what the files declare."""
        return self.replaced or bool(self.added) or bool(self.removed)


class LiveLists:
    """The changed lists of one shard, by name. Lists that no rule names (yet) are kept too."""

    def __init__(self, head: Mapping[bytes, bytes]) -> None:
        """`head`: the small state of the shard."""
        self.lists: dict[str, LiveList] = {
            key[len(HEAD_LIST) :].decode(): msgspec.msgpack.decode(value, type=LiveList)
            for key, value in sorted(head.items())
            if key.startswith(HEAD_LIST)
        }
        self._unsaved: dict[str, None] = {}
        self._states: dict[str, ListState] = {}
        self._declared: Mapping[str, ValueList] = {}

    def states(self, declared: Mapping[str, ValueList]) -> dict[str, ListState]:
        """The changed ones of the lists that a rule set declares, as its rules see them."""
        if declared is not self._declared:
            self._declared, self._states = declared, {}
        for name in self.lists.keys() & declared.keys() - self._states.keys():
            live = self.lists[name]
            state = ListState(declared[name], live.added, live.removed, live.replaced)
            self._states = {**self._states, name: state}
        return self._states

    def change(self, event: ControlList, declared: ValueList | None) -> None:
        """Apply an event: `values`, then `remove`, then `add`; entries that have expired by its time are dropped.

        `declared` is the list as the rule set in force declares it. Raises `ListFull`.
        """
        time_ms = parse_time(event.event_time)
        expires_ms = None if event.expires_at is None else parse_time(event.expires_at)
        known = self.lists.get(event.name)
        if known is None and len(self.lists) >= LISTS_MAX:
            raise ListFull(f"{LISTS_MAX:,} lists have been changed already")
        new = LiveList() if known is None else LiveList(known.replaced, known.added, dict(known.removed))
        new.added = {value: until for value, until in new.added.items() if until is None or until > time_ms}
        if event.values is not None:
            new = LiveList(True, dict.fromkeys(event.values, expires_ms))
        for value in event.remove:
            new.added.pop(value, None)
            if not new.replaced and declared is not None and declares(declared, value):
                new.removed[value] = None
        new.added.update(dict.fromkeys(event.add, expires_ms))
        if len(new.added) + len(new.removed) > ENTRIES_MAX:
            raise ListFull(f"the list would hold more than {ENTRIES_MAX:,} entries")
        if new:
            self.lists[event.name] = new
        else:
            self.lists.pop(event.name, None)
        if new != (known or LiveList()):
            self._unsaved[event.name] = None
            self._states = {name: state for name, state in self._states.items() if name != event.name}

    def ops(self) -> list[bytes]:
        """State operations for what has changed since the last call."""
        packed = []
        for name in self._unsaved:
            key, kept = HEAD_LIST + name.encode(), self.lists.get(name)
            packed.append(pack(Op(SET, key, msgspec.msgpack.encode(kept)) if kept else Op(DELETE, key, b"")))
        self._unsaved.clear()
        return packed


def declares(declared: ValueList, value: str) -> bool:
    """Whether a list of the rule files names a value, an address or a network however it is written."""
    if declared.numeric:
        return to_number(value) in declared.numbers
    if value in declared.texts or not declared.networks:
        return value in declared.texts
    try:
        version, length, number = network(value)
    except ValueError:
        return False
    return number in declared.networks.get((version, length), ())
