"""A state that is stored, evicted, reloaded and restarted at will gives what one that never was would give."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.domain.ops import unpack
from engine.features.definition import FeatureDef, FeatureLimits
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, Store, columns_of
from tests.features.test_aggregates import BASE, FEATURES, H1, H24, PLAN, assert_same, events, on_one_clock

SMALL = FeatureLimits(exact_touches=16, compact_touches=8)
SMALL_PLAN = Plan.compile(FEATURES, limits=FeatureLimits(compact_touches=8))


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events(), min_size=1, max_size=60), st.data())
def test_reloads_and_evictions_change_nothing(stream: list[Event], data: st.DataObject) -> None:
    stream = on_one_clock(stream)
    want, _ = FeatureState(SMALL_PLAN, backed=False).update(columns_of(stream))
    state, store = FeatureState(SMALL_PLAN), Store()
    parts, at = [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, min(10, len(stream) - at)))
        batch = columns_of(stream[at : at + size])
        store.fill(state, batch)
        assert state.missing(batch) == []
        part, ops = state.update(batch)
        store.apply(ops)
        parts.append(part)
        at += size
        what = data.draw(st.sampled_from(("go on", "restart", "evict", "clear")))
        if what == "restart":
            state = FeatureState(Plan.compile(FEATURES, SMALL_PLAN.layout(), SMALL_PLAN.limits))
        elif what == "evict":
            state.evict(1)
        elif what == "clear":
            state.clear()
    got = np.concatenate(parts, axis=1)
    assert np.array_equal(got, want, equal_nan=True)


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events(), min_size=10, max_size=80))
def test_operations_do_not_depend_on_batches(stream: list[Event]) -> None:
    stream = on_one_clock(stream)
    whole, single = Store(), Store()
    state = FeatureState(SMALL_PLAN)
    whole.fill(state, columns_of(stream))
    whole.apply(state.update(columns_of(stream))[1])
    state = FeatureState(SMALL_PLAN)
    for event in stream:
        single.fill(state, columns_of([event]))
        single.apply(state.update(columns_of([event]))[1])
    assert whole.data == single.data
    assert whole.ttl_hours == single.ttl_hours


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events(), min_size=60, max_size=120), st.integers(0, 2**32))
def test_trimming_is_invisible(stream: list[Event], seed: int) -> None:
    """With lateness inside the limit and single events far off, every on-time value equals the oracle's."""
    random = np.random.default_rng(seed)
    clock = BASE
    for event in stream:
        clock += int(random.choice((0, 1000, H1, H24)))
        event.time = clock - int(random.choice((0, 0, 0, H1)))
        event.strings["customer_id"] = 11
    for i in random.choice(len(stream), 3, replace=False):
        stream[i].time = int(random.choice((0, BASE - 400 * H24, BASE + 4000 * H24)))
    oracle = Oracle(FEATURES)
    want = np.array([oracle.add(event) for event in stream]).T
    got, _ = FeatureState(SMALL_PLAN, backed=False).update(columns_of(stream))
    on_time = [i for i, event in enumerate(stream) if BASE - H1 <= event.time <= clock]
    assert_same(PLAN.names, got[:, on_time], want[:, on_time])


def test_an_ordinary_customer_fits_in_a_kilobyte() -> None:
    """Ten payments in thirty days, each requested, authorised and settled."""
    fields = ("card_id", "device_id", "merchant_id", "ip", "country", "channel")
    features = [FeatureDef(f"d_{of}", "distinct", ("customer",), of, 30 * H24) for of in fields]
    features += [FeatureDef(f"{agg}_30d", agg, ("customer",), "amount", 30 * H24) for agg in ("sum", "mean", "max")]
    features += [FeatureDef("age", "age", ("customer",)), FeatureDef("gap", "since_last", ("customer",))]
    random = np.random.default_rng(3)
    stream = []
    for payment in range(10):
        at = BASE + payment * 3 * H24 + int(random.integers(H24))
        strings = {name: int(random.integers(1, 2**63)) if k == 2 else 7**k + 2**60 for k, name in enumerate(fields)}
        strings["customer_id"] = 2**63 + 5
        for later in (0, 900, 20 * H1):
            stream.append(Event(at + later, strings, (int(random.integers(100, 20_000)), 2)))
    stream.sort(key=lambda e: e.time)
    state, store = FeatureState(Plan.compile(features)), Store()
    store.fill(state, columns_of(stream))
    store.apply(state.update(columns_of(stream))[1])
    (value,) = store.data.values()
    assert len(value) <= 1024
    assert list(store.ttl_hours.values()) == [400 * 24]


def test_the_log_of_a_busy_customer_stays_bounded() -> None:
    """Four years of an event an hour, with a day's window: trimmed, whatever a few clocks far ahead claim."""
    plan = Plan.compile([FeatureDef("n", "count", ("customer",), None, H24)])
    times = BASE + np.arange(35_000) * H1
    times[::997] += 9000 * H24
    state, store = FeatureState(plan), Store()
    for at in range(0, len(times), 5000):
        batch = columns_of([Event(int(time), {"customer_id": 5}) for time in times[at : at + 5000]])
        store.fill(state, batch)
        got, ops = state.update(batch)
        store.apply(ops)
    assert got[0, -1] == 24.0
    (value,) = store.data.values()
    assert len(value) < 4096
    assert state.memory_bytes() < 500_000


def test_corrupt_values_are_refused() -> None:
    state, store = FeatureState(PLAN), Store()
    batch = columns_of([Event(BASE, {"customer_id": 5, "device_id": 9}, (100, 2))] * 3)
    store.fill(state, batch)
    store.apply(state.update(batch)[1])
    (key,) = [key for key in store.data if key[1:3] == b"\0\0"]
    value = store.data[key]
    for bad in (value[:-1], b"\xff" * 20, b"\x01\x09", b"\x01\x01\x63\x00\x00"):
        with pytest.raises(ValueError, match="not a readable feature log"):
            state.load([key], [bad])
    state.load([key], [value])
    assert len(list(unpack(state.update(batch)[1]))) >= 3


def test_foreign_keys_are_passed_over() -> None:
    state = FeatureState(PLAN)
    state.load([b"a12345678", b"f\xff\xff12345678"], [b"x", b"y"])
    assert state.entities() == 0
