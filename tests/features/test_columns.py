"""Batches put together: label rows between events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.fields import STRING_FIELDS
from engine.domain.labels import FRAUD, LEGITIMATE, NOT_A_LABEL
from engine.features.columns import label_rows
from engine.features.definition import HOUR_MS, FeatureDef, Filter
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, columns_of

BASE = 1_767_225_600_000
DEVICE = {"customer_id": 3, "device_id": 9}


@given(st.lists(st.integers(0, 6)), st.integers(0, 6))
def test_rows_go_before_the_given_ones_in_order(places: list[int], n: int) -> None:
    before = np.array(sorted(place for place in places if place <= n), np.intp)
    events = columns_of([Event(i, {"customer_id": i + 1}, (i + 1, 2)) for i in range(n)])
    strings = np.full((len(STRING_FIELDS), len(before)), 7, np.uint64)
    times = np.arange(100, 100 + len(before))
    added = label_rows(times, np.full(len(before), FRAUD, np.int8), times / 1000, strings)
    merged, rows = events.insert(added, before)
    want: list[tuple[int, int, float]] = []
    for i in range(n + 1):
        want += [(int(times[k]), FRAUD, times[k] / 1000) for k in np.flatnonzero(before == i)]
        want += [(i, NOT_A_LABEL, -1.0)] if i < n else []
    got = list(zip(merged.time_ms, merged.labels, np.nan_to_num(merged.ordinary, nan=-1.0), strict=True))
    assert got == want
    assert merged.time_ms[rows].tolist() == list(range(n))
    back = merged.take(rows)
    for name in ("strings", "numbers", "bools", "minor", "exponent", "decides", "labels"):
        assert np.array_equal(getattr(back, name), getattr(events, name), equal_nan=name == "numbers"), name


@pytest.mark.parametrize("before", [[0], [1, 0], [0, 3], [-1, 0]])
def test_places_that_do_not_fit(before: list[int]) -> None:
    events = columns_of([Event(BASE, DEVICE), Event(BASE, DEVICE)])
    added = events.take(np.array([0, 1]))
    with pytest.raises(ValueError, match="ascending"):
        events.insert(added, np.array(before, np.intp))


def test_label_rows_change_no_feature_of_events() -> None:
    """Not counts, not ages, whatever a filter makes of a row without an event."""
    by = ("device",)
    first = Filter("first", lambda columns: np.array([event["x"] == 1 for event in columns.events], np.bool_))
    features = [
        FeatureDef("n", "count", by, None, HOUR_MS),
        FeatureDef("x", "count", by, None, HOUR_MS, first),
        FeatureDef("age", "age", by),
        FeatureDef("gap", "since_last", by, None, HOUR_MS),
    ]
    events = columns_of([Event(BASE + i * 1000, DEVICE) for i in range(4)])
    events.events = [{"x": i} for i in range(4)]
    want, _ = FeatureState(Plan.compile(features), backed=False).update(events)
    strings = events.strings[:, :2]
    added = label_rows(np.array([BASE - 500, BASE]), np.array([LEGITIMATE, FRAUD], np.int8), np.ones(2), strings)
    merged, rows = events.insert(added, np.array([0, 2]))
    state = FeatureState(Plan.compile(features))
    assert len(state.missing(added)) == 0
    got, _ = state.update(merged)
    assert np.array_equal(got[:, rows], want, equal_nan=True)
    assert np.isnan(got[:, merged.labels != NOT_A_LABEL]).all()
