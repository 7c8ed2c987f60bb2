"""Warming: which windows reach back before what their logs hold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.core.warming import COHORT_EVENTS, Warming
from engine.features.needs import Need

HOUR = 3_600_000


def need(
    touches: str, window: int | None, *parts: str, kept: int | None = None, lasts: int = 1000 * HOUR, late: int = 0
) -> Need:
    """A feature with a filter of its own, kept as long as its window, unless said otherwise."""
    return Need(touches, parts, window, (window or 0) if kept is None else kept, lasts, late)


def started(*needs: Need) -> Warming:
    """A shard whose recordings all began at 0."""
    warming = Warming(needs)
    warming.observe(times(*range(COHORT_EVENTS)))
    return warming


def times(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_a_window_that_reaches_before_the_declaration_is_warming() -> None:
    warming = Warming([need("count 1h", HOUR), need("age", None)])
    warming.observe(times(0, HOUR - 1, HOUR))
    assert warming.is_warming(0, 0, 0)
    assert not warming.is_warming(1, 0, 0)


def test_once_the_window_has_passed_it_is_warm() -> None:
    warming = Warming([need("count 1h", HOUR)])
    for i in range(COHORT_EVENTS):
        warming.observe(times(i))
    warming.observe(times(HOUR - 1, HOUR))
    assert warming.is_warming(0, 0, HOUR - 1)
    assert not warming.is_warming(0, 1, HOUR)


def test_a_sparse_stream_is_dated_by_its_first_event_from_the_start() -> None:
    warming = Warming([need("count 1h", HOUR)])
    seen = times(*range(0, 3 * HOUR, HOUR // 4))
    warming.observe(seen)
    assert [warming.is_warming(0, row, t) for row, t in enumerate(seen)] == [True] * 4 + [False] * 8


def test_a_straggler_dates_nothing_back() -> None:
    warming = Warming([need("count 1h", HOUR)])
    warming.observe(times(50 * HOUR, 50 * HOUR + 1, 0, 50 * HOUR + 2))
    assert warming.is_warming(0, 3, 50 * HOUR + 2)


def test_a_first_event_from_1970_does_not_make_everything_warm() -> None:
    warming = Warming([need("count 1h", HOUR)])
    now = 20_000 * 24 * HOUR
    warming.observe(times(0, now, now + 1, now + 2))
    assert warming.is_warming(0, 3, now + 2)


def test_a_first_event_from_the_far_future_does_not_keep_it_warming() -> None:
    warming = Warming([need("count 1h", HOUR)])
    warming.observe(times(10**12, *range(40)))
    warming.observe(times(2 * HOUR))
    assert not warming.is_warming(0, 0, 2 * HOUR)


def test_a_feature_declared_later_warms_by_itself() -> None:
    first = Warming([need("a", HOUR)])
    first.observe(times(*range(40)))
    later = Warming([need("b", HOUR), need("a", HOUR)], first.dump())
    assert later.changed
    later.observe(times(2 * HOUR))
    assert later.is_warming(0, 0, 2 * HOUR)
    assert not later.is_warming(1, 0, 2 * HOUR)


def test_a_feature_that_was_dropped_starts_over() -> None:
    first = Warming([need("a", HOUR), need("b", HOUR)])
    first.observe(times(*range(40)))
    without = Warming([need("a", HOUR)], first.dump())
    assert without.changed
    again = Warming([need("a", HOUR), need("b", HOUR)], without.dump())
    again.observe(times(2 * HOUR))
    assert not again.is_warming(0, 0, 2 * HOUR)
    assert again.is_warming(1, 0, 2 * HOUR)


def test_a_feature_of_a_filter_and_field_in_use_is_warm_at_once() -> None:
    warming = started(need("f", 9 * HOUR), need("g", HOUR, "amount"))
    warming.adopt([need("f", HOUR, "amount", kept=9 * HOUR), need("f", 9 * HOUR), need("g", HOUR)])
    warming.observe(times(9 * HOUR + 1))
    assert not warming.is_warming(0, 0, 9 * HOUR + 1)
    assert not warming.is_warming(1, 0, 9 * HOUR + 1)


def test_a_field_recorded_from_now_on_warms_a_feature_of_an_old_filter() -> None:
    warming = started(need("f", HOUR))
    warming.adopt([need("f", HOUR, "amount"), need("f", HOUR)])
    warming.observe(times(9 * HOUR))
    assert warming.is_warming(0, 0, 9 * HOUR)
    assert not warming.is_warming(1, 0, 9 * HOUR)


def test_a_longer_window_is_warm_once_what_was_kept_fills_it() -> None:
    warming = started(need("f", 2 * HOUR))
    warming.adopt([need("f", 5 * HOUR)])
    warming.observe(times(9 * HOUR, *[9 * HOUR] * COHORT_EVENTS))
    for time, warm in ((9, False), (11, False), (12, True)):
        assert warming.is_warming(0, 0, time * HOUR) is not warm, time
    later = Warming([need("f", 2 * HOUR, kept=5 * HOUR), need("f", 5 * HOUR)], warming.dump())
    later.observe(times(10 * HOUR))
    assert not later.is_warming(0, 0, 10 * HOUR)
    assert later.is_warming(1, 0, 10 * HOUR)


def test_a_window_longer_than_the_store_keeps_quiet_logs_starts_over() -> None:
    warming = started(need("f", 2 * HOUR, lasts=4 * HOUR))
    warming.adopt([need("f", 5 * HOUR)])
    warming.observe(times(*[9 * HOUR] * COHORT_EVENTS))
    assert warming.is_warming(0, 0, 14 * HOUR - 1)
    assert not warming.is_warming(0, 0, 14 * HOUR)


def test_a_window_shortened_and_lengthened_again_has_lost_what_was_trimmed() -> None:
    warming = started(need("f", 9 * HOUR))
    warming.adopt([need("f", HOUR)])
    warming.adopt([need("f", 9 * HOUR)])
    warming.observe(times(20 * HOUR))
    assert warming.is_warming(0, 0, 20 * HOUR)
    assert not warming.is_warming(0, 0, 28 * HOUR)


def test_what_a_running_shard_is_told_counts_from_after_the_lateness() -> None:
    """The first event since may itself be late, and those just before it were not recorded."""
    first = need("f", HOUR, late=5)
    warming = Warming([first])
    warming.observe(times(100 * HOUR))
    assert warming.is_warming(0, 0, 101 * HOUR - 1)
    assert not warming.is_warming(0, 0, 101 * HOUR)
    warming.adopt([first, need("g", HOUR, late=5)])
    warming.observe(times(*[100 * HOUR] * COHORT_EVENTS))
    assert not warming.is_warming(0, 0, 101 * HOUR)
    assert warming.is_warming(1, 0, 101 * HOUR + 4)
    assert not warming.is_warming(1, 0, 101 * HOUR + 5)


def test_dates_do_not_pile_up() -> None:
    """A reload after every event: what is stored stays small, and the latest declaration is what counts."""
    warming = Warming([need("f", 1)])
    sizes = []
    for step in range(1, 400):
        warming.observe(times(step * HOUR))
        warming.adopt([need("f", 1 + step), need(f"g{step}", HOUR)])
        sizes.append(len(warming.dump()))
    assert max(sizes[200:]) <= max(sizes[:200]) + 50
    warming.observe(times(400 * HOUR))
    assert warming.is_warming(1, 0, 400 * HOUR)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(1, 6), max_size=5))
def test_what_is_over_has_nothing_warming(steps: list[int], windows: list[int]) -> None:
    warming = Warming([need("f", HOUR)])
    clock = 0
    for step, window in zip(steps, [*windows, *[1] * len(steps)], strict=False):
        clock += step * HOUR // 4
        warming.observe(times(clock, clock + 1))
        if warming.over:
            assert not any(warming.is_warming(0, row, clock + row) for row in range(2))
        if step == 9:
            warming.adopt([need("f", window * HOUR)])


@given(st.lists(st.integers(0, 10 * HOUR), min_size=1, max_size=60), st.lists(st.integers(1, 59), max_size=5))
def test_batches_and_restarts_change_nothing(values: list[int], cuts: list[int]) -> None:
    whole = Warming([need("a", HOUR)])
    whole.observe(times(*values))
    expected = [whole.is_warming(0, row, t) for row, t in enumerate(values)]
    got, stored, start = [], b"", 0
    for end in [*sorted(c for c in cuts if c < len(values)), len(values)]:
        part = Warming([need("a", HOUR)], stored)
        part.observe(times(*values[start:end]))
        got += [part.is_warming(0, row, t) for row, t in enumerate(values[start:end])]
        stored, start = part.dump(), end
    assert got == expected
