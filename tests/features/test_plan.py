"""Definitions, limits, the persisted layout, residence: everything round the kernels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import combine
from engine.features.definition import DAY_MS, HOUR_MS, FeatureDef, FeatureLimits, Filter
from engine.features.hashing import entity_keys, hash_words
from engine.features.layout import load
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Store, columns_of, field_is

BASE = 1_767_225_600_000


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (FeatureDef("f", "median", ("customer",), "amount", HOUR_MS), "unknown agg 'median'"),
        (FeatureDef("f", "count", (), None, HOUR_MS), "at least one entity"),
        (FeatureDef("f", "count", ("shop",), None, HOUR_MS), "unknown entity 'shop'"),
        (FeatureDef("f", "count", ("card", "card"), None, HOUR_MS), "twice"),
        (FeatureDef("f", "count", ("card",), "amount", HOUR_MS), "count takes no of"),
        (FeatureDef("f", "sum", ("card",), None, HOUR_MS), "sum needs of, a number field"),
        (FeatureDef("f", "sum", ("card",), "device_id", HOUR_MS), "needs a number field, not 'device_id'"),
        (FeatureDef("f", "distinct", ("card",), "amount", HOUR_MS), "needs a string field, not 'amount'"),
        (FeatureDef("f", "last", ("card",), "device_id", HOUR_MS), "last needs a number field, not 'device_id'"),
        (FeatureDef("f", "changed", ("card",), "three_ds", HOUR_MS), "changed needs a number or string field"),
        (FeatureDef("f", "changed", ("card",), "amount"), "changed needs a window"),
        (FeatureDef("f", "count", ("card",)), "count needs a window"),
        (FeatureDef("f", "count", ("card",), None, 0), "window of 0 ms"),
        (FeatureDef("f", "count", ("card",), None, 91 * DAY_MS), "1 ms to 90 days"),
    ],
)
def test_definitions_that_cannot_be_computed(definition: FeatureDef, message: str) -> None:
    with pytest.raises(ValueError, match="feature f: .*" + message):
        Plan.compile([definition])


def test_limits_of_a_plan() -> None:
    count = FeatureDef("n", "count", ("card",), None, HOUR_MS)
    with pytest.raises(ValueError, match="declared twice"):
        Plan.compile([count, count])
    with pytest.raises(ValueError, match="at most 1 in one plan"):
        Plan.compile([count, FeatureDef("m", "age", ("card",))], limits=FeatureLimits(features_max=1))
    many = [FeatureDef(f"n{k}", "count", ("card",), None, HOUR_MS, field_is("type", k)) for k in range(61)]
    with pytest.raises(ValueError, match="61 distinct filters; at most 60"):
        Plan.compile(many)
    fields = list(STRING_INDEX)[:3]
    wide = [FeatureDef(of, "distinct", ("card",), of, HOUR_MS) for of in fields]
    with pytest.raises(ValueError, match="3 fields aggregated; at most 2"):
        Plan.compile(wide, limits=FeatureLimits(columns_per_group_max=2))
    with pytest.raises(ValueError, match="exact_touches must be from 4 to 2048, not 3"):
        FeatureLimits(exact_touches=3)


def test_bits_and_columns_keep_their_meaning() -> None:
    """Dropping, adding and reordering features neither moves nor reuses a bit, a column or a group."""
    a = FeatureDef("a", "count", ("card",), None, HOUR_MS, field_is("type", 1))
    b = FeatureDef("b", "distinct", ("card",), "device_id", HOUR_MS, field_is("type", 2))
    c = FeatureDef("c", "sum", ("ip",), "amount", HOUR_MS)
    first = Plan.compile([a, b, c])
    second = Plan.compile(
        [FeatureDef("d", "max", ("card",), "amount", HOUR_MS, field_is("type", 3)), c], first.layout()
    )
    third = Plan.compile([c, b, a], second.layout())
    groups = load(third.layout()).groups
    assert [g.by for g in groups] == [("card",), ("ip",)]
    assert groups[0].filters == ["type == 1", "type == 2", "type == 3"]
    assert groups[0].columns == ["device_id", "amount"]
    assert Plan.compile([c, b, a], third.layout()).layout() == third.layout()
    with pytest.raises(ValueError, match="layout version 9"):
        Plan.compile([a], b'{"version":9}')


def test_a_group_out_of_bits_is_replaced() -> None:
    limits = FeatureLimits(filters_per_group_max=2)
    layout = None
    for k in range(5):
        plan = Plan.compile([FeatureDef("f", "count", ("card",), None, HOUR_MS, field_is("type", k))], layout, limits)
        layout = plan.layout()
    groups = load(layout).groups
    assert [g.retired for g in groups] == [True, True, False]
    assert plan.groups[0].id == 2
    assert plan.needs()[0].touches == "2.0"


def test_values_survive_a_change_of_features() -> None:
    """Features added and dropped between two batches: those that stay see all their events."""
    a = FeatureDef("a", "sum", ("card",), "amount", HOUR_MS)
    b = FeatureDef("b", "distinct", ("card",), "device_id", HOUR_MS, field_is("type", 2))
    c = FeatureDef("c", "max", ("card",), "lat", HOUR_MS)
    store = Store()
    events = columns_of([Event(BASE + k, {"card_id": 9, "type": 2, "device_id": k + 1}, (150, 2)) for k in range(3)])
    layout = None
    for features, want in (([a, b], [4.5, 3.0]), ([c, a], [np.nan, 9.0]), ([b, a], [3.0, 13.5])):
        plan = Plan.compile(features, layout)
        state = FeatureState(plan)
        store.fill(state, events)
        got, ops = state.update(events)
        store.apply(ops)
        layout = plan.layout()
        assert np.array_equal(got[:, -1], want, equal_nan=True)


def test_missing_names_each_entity_once() -> None:
    plan = Plan.compile(
        [FeatureDef("n", "count", ("card",), None, HOUR_MS), FeatureDef("m", "count", ("card", "ip"), None, HOUR_MS)]
    )
    state = FeatureState(plan)
    batch = columns_of([Event(BASE, {"card_id": 2**63 + 1, "ip": ip}) for ip in (0, 7, 7, 8)])
    keys = state.missing(batch)
    assert len(keys) == 3
    assert keys[0] == b"f\0\0" + (2**63 + 1).to_bytes(8, "little")
    pair = int(hash_words(np.array([2**63 + 1, 7], np.uint64)))
    assert b"f\1\0" + pair.to_bytes(8, "little") in keys
    state.load(keys, [None] * 3)
    assert state.missing(batch) == []
    assert state.entities() == 3
    assert FeatureState(plan, backed=False).missing(batch) == []


def test_eviction_takes_the_least_recently_used() -> None:
    plan = Plan.compile([FeatureDef("n", "count", ("card",), None, HOUR_MS)])
    state = FeatureState(plan)
    for card in range(1, 101):
        batch = columns_of([Event(BASE, {"card_id": card}), Event(BASE, {"card_id": 1})])
        state.load(keys := state.missing(batch), [None] * len(keys))
        state.update(batch)
    before = state.memory_bytes()
    assert state.evict(100) == 0
    assert state.evict(80) == 30
    assert state.entities() == 70
    left = columns_of([Event(BASE, {"card_id": card}) for card in (1, 31, 100)])
    assert [key[3] for key in state.missing(left)] == [31]
    fresh = columns_of([Event(BASE, {"card_id": card}) for card in range(200, 230)])
    state.load(keys := state.missing(fresh), [None] * len(keys))
    state.update(fresh)
    assert state.memory_bytes() == before
    alone = FeatureState(plan, backed=False)
    alone.update(left)
    assert alone.evict(0) == 0


def test_growth_in_the_middle_of_a_batch() -> None:
    """More entities, touches and operations than the first arrays hold, in one batch."""
    plan = Plan.compile([FeatureDef("n", "count", ("card",), None, HOUR_MS), FeatureDef("age", "age", ("card",))])
    events = [Event(BASE + k, {"card_id": k % 3000 + 1}) for k in range(9000)]
    state = FeatureState(plan)
    got, ops = state.update(columns_of(events))
    assert got[0].tolist() == [1.0] * 3000 + [2.0] * 3000 + [3.0] * 3000
    assert got[1, -1] == 6.0
    store = Store()
    store.apply(ops)
    assert len(store.data) == 3000


def test_age_is_kept_without_touches() -> None:
    """`age` counts any event: one that matches no filter still leaves its trace in the store."""
    never = Filter("never", lambda columns: np.zeros(columns.n, np.bool_))
    plan = Plan.compile(
        [FeatureDef("age", "age", ("card",)), FeatureDef("n", "count", ("card",), None, HOUR_MS, never)]
    )
    store = Store()
    for time, age in ((BASE, 0.0), (BASE + 5000, 5.0), (BASE - 1000, 0.0), (BASE + 40 * DAY_MS, 40 * 86_400 + 1.0)):
        state = FeatureState(plan)
        batch = columns_of([Event(time, {"card_id": 5}, decides=False)])
        store.fill(state, batch)
        got, ops = state.update(batch)
        store.apply(ops)
        assert got[:, 0].tolist() == [age, 0.0]
    assert list(store.ttl_hours.values()) == [400 * 24]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_hash_of_words_is_that_of_the_domain(words: list[int]) -> None:
    assert int(hash_words(np.array(words, np.uint64))) == combine(words)


def test_entity_keys() -> None:
    strings = columns_of([Event(0, {"customer_id": 3, "card_id": 4}), Event(0, {"customer_id": 3})]).strings
    rows = np.array([STRING_INDEX["customer_id"], STRING_INDEX["card_id"]], np.int64)
    assert entity_keys(strings, rows[:1]).tolist() == [3, 3]
    assert entity_keys(strings, rows).tolist() == [int(hash_words(np.array([3, 4], np.uint64))), 0]
    assert entity_keys(strings, rows[::-1].copy())[0] != entity_keys(strings, rows)[0]
