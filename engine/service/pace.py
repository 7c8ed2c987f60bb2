"""Pace: the ticks that a history lacks.

A shard believes an event of one customer only so far ahead of its clock (`engine.core.clock`). A live shard is ticked
while nothing comes; a file has no ticks of its own, and one in which nobody does anything for longer would be read by a
clock that stands still: holds would not end, nor would anything expire. So a tick is put before a record whose time is
further ahead than that, where the records after it say that time has passed: at least half of the next 16 that name a
time are as far ahead, or there are none and nothing of that time was denied before. One wrong calendar among others
gets no tick. Nor does a leap of more than three years: whoever means one puts a tick of their own into the history.

What is added depends on the order of the records alone, not on how they are cut into chunks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from engine.core.clock import UNSET
from engine.core.instants import TimeError, parse_time
from engine.domain.events import ControlTick

WITNESSES: Final = 16
"""Records that are asked whether time has passed: more than a wrong calendar sends in a row among other customers."""
LEAP_MS_MAX: Final = 3 * 366 * 86_400_000
"""Longer than anything of a customer waits: an annual cycle, the twelve months of points and their hold, twice."""
_DAY_MS: Final = 86_400_000
_DAYS_MAX: Final = 1_000  # kept days of a text; a history has as many in three years


class Chunk(Protocol):
    """Some consecutive records of a source."""

    @property
    def records(self) -> Sequence[bytes | None]:
        """The raw records."""

    def source(self, index: int) -> dict[str, Any]:
        """Where record `index` came from."""


@dataclass(frozen=True, slots=True)
class Paced:
    """Records of a chunk, or one tick that stands in no source.

    Attributes:
        records: the raw records.
        added: whether they are the tick: not to be counted as events of the history.
    """

    records: Sequence[bytes | None]
    added: bool
    _chunk: Chunk | None
    _start: int

    def source(self, index: int) -> dict[str, Any]:
        """Where record `index` came from; empty for a tick."""
        return {} if self._chunk is None else self._chunk.source(self._start + index)


class _When(msgspec.Struct):
    event_time: str | int | None = None


class _Clock:
    """How far the records have come, at most two days too little: most are read to the day."""

    def __init__(self, clock_ms: int, jump_ms: int) -> None:
        self._reached = clock_ms
        self._jump = jump_ms
        self._denied = UNSET  # the last time that was not believed
        self._days: dict[str, int] = {}
        self._decode = msgspec.json.Decoder(_When).decode

    def time_ms(self, record: bytes | None) -> int | None:
        """The time a record names, None where it names none that could be read."""
        try:
            value = self._decode(record or b"").event_time
            return None if value is None else parse_time(value)
        except (msgspec.DecodeError, UnicodeDecodeError, TimeError):
            return None

    def ahead(self, record: bytes | None) -> int:
        """The time of a record that is too far ahead to be believed by itself; 0 for any other, which is taken in."""
        try:
            value = self._decode(record or b"").event_time
        except (msgspec.DecodeError, UnicodeDecodeError):
            return 0
        day_ms = self._day(value) if isinstance(value, str) else value
        if day_ms is None:
            return 0
        if day_ms <= self._reached + self._jump - 2 * _DAY_MS:  # an offset is less than a day
            self._reached = max(self._reached, day_ms - _DAY_MS)
            return 0
        time_ms = self.time_ms(record)
        if time_ms is None:
            return 0
        if self._reached == UNSET or time_ms <= self._reached + self._jump:
            self._reached = max(self._reached, time_ms)
            return 0
        return time_ms

    def confirmed(self, time_ms: int, witnesses: list[int]) -> bool:
        """Whether a time ahead is believed, by those after it; it is taken in then."""
        if time_ms - self._reached > LEAP_MS_MAX:
            return False
        as_far = sum(witness > self._reached + self._jump for witness in witnesses)
        if 2 * as_far < len(witnesses) or (not witnesses and abs(time_ms - self._denied) <= self._jump):
            self._denied = time_ms
            return False
        self._reached = time_ms
        return True

    def _day(self, text: str) -> int | None:
        """The first millisecond in UTC of the day that a time begins with; None where it begins with none."""
        day = text[:10]
        found = self._days.get(day)
        if found is None:
            try:
                found = parse_time(f"{day}T00:00:00Z")
            except TimeError:
                return None
            if len(self._days) >= _DAYS_MAX:
                self._days.clear()
            self._days[day] = found
        return found


def paced(chunks: Iterable[Chunk], clock: tuple[int, int]) -> Iterator[Paced]:
    """The records in their order, with the ticks that they lack.

    Args:
        chunks: the history.
        clock: that of the shard before it, and how far ahead of it one event is believed (`Partition.clock`).
    """
    source, waiting, reader = iter(chunks), list[Chunk](), _Clock(*clock)
    while True:
        chunk = waiting.pop(0) if waiting else next(source, None)
        if chunk is None:
            return
        start = 0
        for index, record in enumerate(chunk.records):
            time_ms = reader.ahead(record)
            if time_ms and reader.confirmed(time_ms, _witnesses(reader, chunk, index + 1, waiting, source)):
                if start < index:
                    yield Paced(chunk.records[start:index], False, chunk, start)
                yield Paced([_tick(time_ms)], True, None, 0)
                start = index
        if start < len(chunk.records):
            yield Paced(chunk.records[start:], False, chunk, start)


def _witnesses(reader: _Clock, chunk: Chunk, start: int, waiting: list[Chunk], source: Iterator[Chunk]) -> list[int]:
    """The times of the records from `start` on, as many as are asked; further chunks are read into `waiting`."""
    found: list[int] = []
    place = -1
    while True:
        for record in chunk.records[start:]:
            time_ms = reader.time_ms(record)
            if time_ms is not None:
                found.append(time_ms)
                if len(found) == WITNESSES:
                    return found
        place, start = place + 1, 0
        if place == len(waiting):
            following = next(source, None)
            if following is None:
                return found
            waiting.append(following)
        chunk = waiting[place]


def _tick(time_ms: int) -> bytes:
    return msgspec.json.encode(ControlTick(event_id=f"tick-{time_ms}", event_time=time_ms))
