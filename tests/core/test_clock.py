"""The clock of a shard against one that takes one event at a time, and what it promises."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.clock import UNSET, ShardClock
from tests.core.rig import DAY, HOUR, JUMP, LATE, OracleClock

NOW = 1_760_000_000_000
TIMES = st.one_of(
    st.integers(NOW - 2 * HOUR, NOW + 2 * HOUR),
    st.integers(NOW - 30 * DAY, NOW + 30 * DAY),
    st.sampled_from([1_000, 4_080_000_000_000]),
)
STEPS = st.lists(st.tuples(TIMES, st.integers(0, 4)), max_size=40)  # customer 0: a tick


def advance(clock: ShardClock, rows: list[tuple[int, int]]) -> list[int]:
    times = np.array([time_ms for time_ms, _ in rows], np.int64)
    return clock.advance(times, np.array([who for _, who in rows], np.uint64)).tolist()


def times_of(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([t for t, _ in rows], np.int64), np.array([who for _, who in rows], np.uint64)


@settings(max_examples=400, deadline=None)
@given(STEPS, st.integers(1, 9))
def test_batches_and_restarts_change_nothing_and_its_reach_is_no_less(steps: list[tuple[int, int]], size: int) -> None:
    oracle, stored = OracleClock(), b""
    place = 0
    while place < len(steps):
        clock = ShardClock(LATE, JUMP, stored)
        ticks = [steps[place][0]] if steps[place][1] == 0 else []
        start = place + len(ticks)
        end = start
        while end < min(len(steps), start + size) and steps[end][1]:
            end += 1
        rows = steps[start:end]
        reach = clock.reach(*times_of(rows), ticks)
        for tick in ticks:
            clock.tick(tick)
            assert clock.now == oracle.tick(tick)
        assert advance(clock, rows) == [oracle.step(*row) for row in rows]
        assert reach >= clock.now
        stored = clock.changed() or stored
        assert not clock.changed()
        place = end


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_after_two_events_it_never_goes_back(steps: list[tuple[int, int]]) -> None:
    clock = ShardClock(LATE, JUMP)
    moved = advance(clock, [row for row in steps if row[1]])
    assert moved[1:] == sorted(moved[1:])


def test_one_device_with_a_wrong_calendar_moves_nobody() -> None:
    for wrong in (1_000, 4_080_000_000_000):
        for place in range(4):
            rows = [(NOW + i * 1_000, 1 + i % 3) for i in range(20)]
            rows.insert(place, (wrong, 9))
            clock = ShardClock(LATE, JUMP)
            advance(clock, rows)
            assert clock.now == NOW + 19_000 - LATE, (wrong, place)


def test_after_a_long_silence_two_customers_in_a_row_are_believed_and_one_is_not() -> None:
    clock = ShardClock(LATE, JUMP)
    advance(clock, [(NOW, 1), (NOW, 2), (NOW + 20 * DAY, 1), (NOW + 21 * DAY, 1)])
    assert clock.now == NOW - LATE
    advance(clock, [(NOW + 20 * DAY, 2)])
    assert clock.now == NOW + 20 * DAY - LATE


def test_a_customer_who_is_alone_is_believed_at_the_second_time() -> None:
    clock = ShardClock(LATE, JUMP)
    advance(clock, [(NOW, 1), (NOW, 1), (NOW + 20 * DAY, 1)])
    assert clock.now == NOW - LATE
    advance(clock, [(NOW + 20 * DAY + 1, 1)])
    assert clock.now == NOW + 20 * DAY - LATE


def test_no_event_is_no_time() -> None:
    clock = ShardClock(LATE, JUMP)
    assert clock.now == UNSET
    assert clock.changed() == b""
    assert advance(clock, []) == []
    assert clock.reach(*times_of([]), []) == UNSET


def test_an_event_is_believed_further_for_its_own_customer() -> None:
    clock = ShardClock(LATE, JUMP, own_ms=100 * DAY, past_ms=9 * DAY)
    assert clock.believed(NOW + 100 * DAY, NOW) == NOW + 100 * DAY
    assert clock.believed(NOW + 100 * DAY + 1, NOW) == NOW + LATE
    assert clock.believed(NOW - 9 * DAY, NOW) == NOW - 9 * DAY
    assert clock.believed(NOW - 9 * DAY - 1, NOW) == NOW
    assert ShardClock(LATE, JUMP).believed(NOW + JUMP, NOW) == NOW + JUMP
