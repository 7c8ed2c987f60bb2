"""Warming: which windows reach back before a feature was declared."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.core.warming import COHORT_EVENTS, Warming

HOUR = 3_600_000


def times(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_a_window_that_reaches_before_the_declaration_is_warming() -> None:
    warming = Warming([("count 1h", HOUR), ("age", None)])
    warming.observe(times(0, HOUR - 1, HOUR))
    assert warming.is_warming(0, 0, 0)
    assert not warming.is_warming(1, 0, 0)


def test_once_the_window_has_passed_it_is_warm() -> None:
    warming = Warming([("count 1h", HOUR)])
    for i in range(COHORT_EVENTS):
        warming.observe(times(i))
    warming.observe(times(HOUR - 1, HOUR))
    assert warming.is_warming(0, 0, HOUR - 1)
    assert not warming.is_warming(0, 1, HOUR)


def test_a_sparse_stream_is_dated_by_its_first_event_from_the_start() -> None:
    warming = Warming([("count 1h", HOUR)])
    seen = times(*range(0, 3 * HOUR, HOUR // 4))
    warming.observe(seen)
    assert [warming.is_warming(0, row, t) for row, t in enumerate(seen)] == [True] * 4 + [False] * 8


def test_a_straggler_dates_nothing_back() -> None:
    warming = Warming([("count 1h", HOUR)])
    warming.observe(times(50 * HOUR, 50 * HOUR + 1, 0, 50 * HOUR + 2))
    assert warming.is_warming(0, 3, 50 * HOUR + 2)


def test_a_first_event_from_1970_does_not_make_everything_warm() -> None:
    warming = Warming([("count 1h", HOUR)])
    now = 20_000 * 24 * HOUR
    warming.observe(times(0, now, now + 1, now + 2))
    assert warming.is_warming(0, 3, now + 2)


def test_a_first_event_from_the_far_future_does_not_keep_it_warming() -> None:
    warming = Warming([("count 1h", HOUR)])
    warming.observe(times(10**12, *range(40)))
    warming.observe(times(2 * HOUR))
    assert not warming.is_warming(0, 0, 2 * HOUR)


def test_a_feature_declared_later_warms_by_itself() -> None:
    first = Warming([("a", HOUR)])
    first.observe(times(*range(40)))
    later = Warming([("b", HOUR), ("a", HOUR)], first.dump())
    assert later.changed
    later.observe(times(2 * HOUR))
    assert later.is_warming(0, 0, 2 * HOUR)
    assert not later.is_warming(1, 0, 2 * HOUR)


def test_a_feature_that_was_dropped_starts_over() -> None:
    first = Warming([("a", HOUR), ("b", HOUR)])
    first.observe(times(*range(40)))
    without = Warming([("a", HOUR)], first.dump())
    assert without.changed
    again = Warming([("a", HOUR), ("b", HOUR)], without.dump())
    again.observe(times(2 * HOUR))
    assert not again.is_warming(0, 0, 2 * HOUR)
    assert again.is_warming(1, 0, 2 * HOUR)


@given(st.lists(st.integers(0, 10 * HOUR), min_size=1, max_size=60), st.lists(st.integers(1, 59), max_size=5))
def test_batches_and_restarts_change_nothing(values: list[int], cuts: list[int]) -> None:
    whole = Warming([("a", HOUR)])
    whole.observe(times(*values))
    expected = [whole.is_warming(0, row, t) for row, t in enumerate(values)]
    got, stored, start = [], b"", 0
    for end in [*sorted(c for c in cuts if c < len(values)), len(values)]:
        part = Warming([("a", HOUR)], stored)
        part.observe(times(*values[start:end]))
        got += [part.is_warming(0, row, t) for row, t in enumerate(values[start:end])]
        stored, start = part.dump(), end
    assert got == expected
