"""The ticks that a history lacks: where they stand, and that nothing else of it changes."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.core.clock import UNSET
from engine.domain.times import rfc3339
from engine.service.pace import LEAP_MS_MAX, WITNESSES, paced

DAY = 86_400_000
START = 20_000 * DAY
JUMP = 8 * DAY


class Cut:
    """A chunk of a history: some of its records, and where they stand."""

    def __init__(self, records: list[bytes | None], first: int) -> None:
        self.records = records
        self._first = first

    def source(self, index: int) -> dict[str, Any]:
        return {"line": self._first + index}


def record(day: float, **fields: Any) -> bytes:
    return json.dumps({"event_time": rfc3339(START + round(day * DAY)), **fields}).encode()


def run(records: list[bytes | None], cuts: list[int] | None = None, clock_ms: int = UNSET) -> list[Any]:
    """The history with its ticks: the line of each record, and `("tick", day)` for each that was added."""
    edges = [0, *(cuts or []), len(records)]
    chunks = [Cut(records[start:end], start) for start, end in pairwise(edges)]
    found: list[Any] = []
    for chunk in paced(chunks, (clock_ms, JUMP)):
        for index, one in enumerate(chunk.records):
            if chunk.added:
                assert one is not None
                tick = json.loads(one)
                assert tick["type"] == "control.tick" and chunk.source(index) == {}
                found.append(("tick", (tick["event_time"] - START) / DAY))
            else:
                line = chunk.source(index)["line"]
                assert one == records[line]
                found.append(line)
    return found


def days(*at: float) -> list[bytes | None]:
    return [record(day) for day in at]


def test_a_tick_stands_before_what_comes_after_a_long_silence() -> None:
    assert run(days(0, 1, 21, 22, 400)) == [0, 1, ("tick", 21), 2, 3, ("tick", 400), 4]


def test_none_stands_where_no_silence_is_longer_than_one_event_is_believed() -> None:
    assert run(days(0, 5.5, 11, 11, 10, 16.4)) == [0, 1, 2, 3, 4, 5]


def test_the_clock_of_a_shard_that_goes_on_counts() -> None:
    assert run(days(30), clock_ms=START) == [("tick", 30), 0]
    assert run(days(30)) == [0]


def test_a_wrong_calendar_among_others_gets_none() -> None:
    assert run(days(0, 0.1, 200, 0.2, 0.3, 0.4)) == list(range(6))
    ordinary = [0.01 * number for number in range(WITNESSES * 3)]
    mixed = [day if number % 3 else 300 + day for number, day in enumerate(ordinary, 1)]
    assert run(days(*mixed)) == list(range(len(mixed)))


def test_one_late_event_denies_no_silence() -> None:
    assert run(days(0, 1, 30, 0.5, 30.1, 30.2)) == [0, 1, ("tick", 30), 2, 3, 4, 5]


def test_a_leap_of_years_is_left_alone() -> None:
    years = LEAP_MS_MAX / DAY
    assert run(days(0, years - 1)) == [0, ("tick", years - 1), 1]
    assert run(days(0, years + 3, years + 4)) == [0, 1, 2]


def test_records_without_a_time_are_passed_through() -> None:
    odd: list[bytes | None] = [None, b"", b"{", b"[]", b'{"event_time":true}', b'{"event_time":"soon"}', b"\xff"]
    far = [b'{"event_time":"2026-99-99T00:00:00Z"}', b'{"event_time":-5}', b'{"event_time":99999999999999999}']
    assert run([record(0), *odd, *far, record(20)]) == [*range(11), ("tick", 20), 11]


def test_milliseconds_and_offsets_are_times_too() -> None:
    east = json.dumps({"event_time": rfc3339(START + 20 * DAY + 14 * 3_600_000).replace("Z", "+14:00")}).encode()
    whole = json.dumps({"event_time": START + 40 * DAY}).encode()
    assert run([record(0), east, whole]) == [0, ("tick", 20), 1, ("tick", 40), 2]


@given(
    st.lists(st.one_of(st.floats(0, 60), st.just(1_500.0), st.none()), max_size=60),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_nothing_depends_on_how_it_is_cut(at: list[float | None], cuts: list[int]) -> None:
    records = [b"{" if day is None else record(day) for day in at]
    whole = run(list(records))
    assert run(list(records), sorted(cut for cut in cuts if cut <= len(records))) == whole
    assert [line for line in whole if isinstance(line, int)] == list(range(len(records)))


@given(st.lists(st.floats(0, 700), min_size=1, max_size=40))
def test_a_history_in_order_leaves_no_silence_unticked(at: list[float]) -> None:
    in_order = sorted(at)
    found = run(days(*in_order))
    reached = in_order[0]
    for one in found:
        day = in_order[one] if isinstance(one, int) else one[1]
        assert isinstance(one, tuple) or day - reached <= JUMP / DAY + 0.001
        reached = max(reached, day)
