"""Aggregates of arrived labels against the naive oracle: streams, stores, shards, hot entities, and no leak."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.domain.labels import BECAME_FRAUD, BECAME_LEGITIMATE, FRAUD, LEGITIMATE, NOT_A_LABEL
from engine.features.definition import DAY_MS, HOUR_MS, LABEL_AGGREGATES, FeatureDef, FeatureLimits, Filter
from engine.features.layout import load
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, Store, columns_of
from tests.features.test_aggregates import BASE, assert_same
from tests.features.test_sharing import Shards

KINDS = (LEGITIMATE, FRAUD, BECAME_FRAUD, BECAME_LEGITIMATE)
WINDOWS = (HOUR_MS, DAY_MS, 28 * DAY_MS)
BYS = (("customer",), ("device",), ("customer", "device"))


def features_of(bys: tuple[tuple[str, ...], ...]) -> list[FeatureDef]:
    """Every aggregate of labels, and some of events beside them."""
    found = []
    for by in bys:
        tag = "_".join(by)
        for window in WINDOWS:
            found += [FeatureDef(f"{agg}_{tag}_{window}", agg, by, None, window) for agg in LABEL_AGGREGATES]
            found.append(FeatureDef(f"count_{tag}_{window}", "count", by, None, window))
            found.append(FeatureDef(f"sum_{tag}_{window}", "sum", by, "amount", window))
        found.append(FeatureDef(f"age_{tag}", "age", by))
    return found


FEATURES = features_of(BYS)
LIMITS = FeatureLimits(compact_touches=8)
PLAN = Plan.compile(FEATURES, limits=LIMITS)


def rows() -> st.SearchStrategy[Event]:
    steps = (0, 0, 1, 60_000, HOUR_MS - 1, HOUR_MS, DAY_MS, -1000, -HOUR_MS)
    return st.builds(
        lambda step, label, customer, device, ordinary, amount: Event(
            step,
            {"customer_id": customer, "device_id": device},
            (amount, 2) if label == NOT_A_LABEL else None,
            decides=label == NOT_A_LABEL,
            label=label,
            ordinary=ordinary if label != NOT_A_LABEL else np.nan,
        ),
        st.sampled_from(steps),
        st.sampled_from((NOT_A_LABEL, NOT_A_LABEL, *KINDS, FRAUD)),
        st.integers(1, 2),
        st.integers(0, 2),
        st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0, np.nan)),
        st.integers(1, 10**6),
    )


def timed(stream: list[Event]) -> list[Event]:
    clock = BASE
    for row in stream:
        row.time, clock = clock + row.time, max(clock, clock + row.time)
    return stream


def cut(data: st.DataObject, stream: list[Event], most: int) -> list[list[Event]]:
    parts, at = [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, min(most, len(stream) - at)))
        parts.append(stream[at : at + size])
        at += size
    return parts


def wanted_of(features: list[FeatureDef], stream: list[Event]) -> np.ndarray:
    oracle = Oracle(features)
    return np.array([oracle.add(row) for row in stream]).T


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(rows(), min_size=1, max_size=60), st.data())
def test_labels_equal_the_oracle_through_any_store(stream: list[Event], data: st.DataObject) -> None:
    """Any order of labels and corrections, any batches, restarts and evictions between them."""
    stream = timed(stream)
    want = wanted_of(FEATURES, stream)
    state, store = FeatureState(PLAN), Store()
    parts = []
    for part in cut(data, stream, 15):
        batch = columns_of(part)
        store.fill(state, batch)
        matrix, ops = state.update(batch)
        store.apply(ops)
        parts.append(matrix)
        what = data.draw(st.sampled_from(("go on", "restart", "evict")))
        if what == "restart":
            state = FeatureState(Plan.compile(FEATURES, PLAN.layout(), LIMITS))
        elif what == "evict":
            state.evict(1)
    assert_same(PLAN.names, np.concatenate(parts, axis=1), want)


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(rows(), min_size=1, max_size=60), st.integers(2, 4), st.data())
def test_labels_of_shared_entities_reach_every_shard(stream: list[Event], shards: int, data: st.DataObject) -> None:
    features = features_of((("device",),))
    stream = timed(stream)
    want = wanted_of(features, stream)
    deployment = Shards(Plan.compile(features, limits=LIMITS), shards)
    parts = []
    for part in cut(data, stream, 12):
        shard, batch = data.draw(st.integers(0, shards - 1)), columns_of(part)
        deployment.load(shard, batch)
        parts.append(deployment.update(shard, batch))
    assert_same([definition.name for definition in features], np.concatenate(parts, axis=1), want)


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(rows(), min_size=1, max_size=50), st.data())
def test_rows_asked_about_later_keep_what_was_loaded(stream: list[Event], data: st.DataObject) -> None:
    """First the events of a batch, then its label rows: as if all had been asked about at once."""
    features = features_of((("device",),))
    stream = timed(stream)
    want = wanted_of(features, stream)
    deployment = Shards(Plan.compile(features, limits=LIMITS), 2)
    parts = []
    for part in cut(data, stream, 12):
        shard, batch = data.draw(st.integers(0, 1)), columns_of(part)
        labelled = np.flatnonzero(batch.labels)
        state = deployment.states[shard]
        deployment.load(shard, batch.take(np.flatnonzero(batch.labels == NOT_A_LABEL)))
        keys = state.missing(batch.take(labelled), further=True)
        homes = [home if (home := state.home(key)) is not None else shard for key in keys]
        state.load(keys, [deployment.stores[home].get(key) for home, key in zip(homes, keys, strict=True)])
        parts.append(deployment.update(shard, batch))
    assert_same([definition.name for definition in features], np.concatenate(parts, axis=1), want)


HOT = FeatureLimits(exact_touches=16, compact_touches=8, lateness_ms=600_000)


def hot_stream(seed: int, n: int) -> list[Event]:
    """One device with many labels, a tenth of them frauds, some of them taken back, up to ten minutes out of order."""
    draw = np.random.default_rng(seed)
    clock, stream = BASE, []
    kinds = draw.choice((NOT_A_LABEL, *KINDS), n, p=(0.2, 0.66, 0.1, 0.02, 0.02))
    for kind in kinds.tolist():
        clock += int(draw.choice((0, 1000, 60_000, HOUR_MS), p=(0.2, 0.3, 0.45, 0.05)))
        late = int(draw.integers(600_000)) if draw.random() < 0.2 else 0
        stream.append(Event(clock - late, {"device_id": 77}, label=kind, ordinary=float(draw.random())))
    return stream


HOT_FEATURES = [
    FeatureDef(f"{agg}_{name}", agg, ("device",), None, window)
    for name, window in (("10m", 600_000), ("1h", HOUR_MS), ("6h", 6 * HOUR_MS), ("3d", 3 * DAY_MS))
    for agg in LABEL_AGGREGATES
]


@pytest.mark.parametrize("seed", range(3))
def test_a_hot_entity_is_exact_while_few_labels_lie_in_the_window(seed: int) -> None:
    stream = hot_stream(seed, 600)
    want = wanted_of(HOT_FEATURES, stream)
    got, _ = FeatureState(Plan.compile(HOT_FEATURES, limits=HOT), backed=False).update(columns_of(stream))
    names = [definition.name for definition in HOT_FEATURES]
    counts = {name.split("_")[-1]: want[names.index(name)] for name in names if name.startswith("label_count")}
    events = np.array([row.label == NOT_A_LABEL for row in stream])
    seen = 0
    for row, name in enumerate(names):
        few = np.flatnonzero(events & (counts[name.split("_")[-1]] <= 8))
        seen += len(few)
        assert_same([name], got[row : row + 1, few], want[row : row + 1, few])
    assert seen > 500


def test_a_hot_entity_past_that_is_near_and_survives_the_store() -> None:
    """Counts within what tiles promise at these limits, times within a bucket; the same after any reload."""
    stream = hot_stream(7, 4000)
    want = wanted_of(HOT_FEATURES, stream)
    whole, _ = FeatureState(Plan.compile(HOT_FEATURES, limits=HOT), backed=False).update(columns_of(stream))
    state, store, parts = FeatureState(Plan.compile(HOT_FEATURES, limits=HOT)), Store(), []
    for at in range(0, len(stream), 130):
        batch = columns_of(stream[at : at + 130])
        store.fill(state, batch)
        matrix, ops = state.update(batch)
        store.apply(ops)
        parts.append(matrix)
        state.evict(0)
    assert np.array_equal(np.concatenate(parts, axis=1), whole, equal_nan=True)
    events = np.array([row.label == NOT_A_LABEL for row in stream])
    for row, definition in enumerate(HOT_FEATURES):
        got, exact = whole[row, events], want[row, events]
        assert np.array_equal(np.isnan(got), np.isnan(exact)), definition.name
        slack = 1.0
        if definition.agg.startswith("since"):
            slack = 0.1 * (definition.window_ms or 0) / 1000
        elif definition.agg.startswith("fraud_rate"):
            slack = 0.02
        assert np.nanmax(np.abs(got - exact) - 0.02 * np.abs(exact)) <= slack, definition.name


def test_labels_that_have_not_arrived_change_nothing() -> None:
    """All labels turned from a moment on: every feature of every event before it is the same bits."""
    draw = np.random.default_rng(5)
    stream = [replace(row, strings={"device_id": int(draw.integers(1, 6))}) for row in hot_stream(5, 1500)]
    at = 900
    turned = stream[:at] + [replace(row, label=(0, 2, 1, 4, 3)[row.label]) for row in stream[at:]]
    values = [
        FeatureState(Plan.compile(HOT_FEATURES, limits=HOT), backed=False).update(columns_of(rows))[0]
        for rows in (stream, turned)
    ]
    assert np.array_equal(values[0][:, :at], values[1][:, :at], equal_nan=True)
    assert not np.array_equal(values[0][:, at:], values[1][:, at:], equal_nan=True)


def test_logs_of_labels_are_their_own_and_old_layouts_are_read() -> None:
    """Age, counts and labels of one `by` share nothing; state from before there were labels stays in use."""
    events_only = [definition for definition in FEATURES if definition.agg not in LABEL_AGGREGATES]
    before = Plan.compile(events_only).layout().replace(b'"labels":false,', b"").replace(b'"version":2', b'"version":1')
    assert b"labels" not in before
    plan = Plan.compile(FEATURES, before)
    assert load(plan.layout()).extends(load(before))
    assert [(group.labels, group.id) for group in plan.groups if group.labels] == [(True, 3), (True, 4), (True, 5)]
    state = FeatureState(plan)
    label = columns_of([Event(BASE, {"customer_id": 5, "device_id": 6}, label=FRAUD, ordinary=1.0)])
    assert sorted(key[1] for key in state.missing(label)) == [3, 4, 5]
    event = columns_of([Event(BASE, {"customer_id": 5, "device_id": 6})])
    assert sorted(key[1] for key in state.missing(event)) == [0, 1, 2, 3, 4, 5]


def test_label_aggregates_take_a_window_and_nothing_else() -> None:
    filtered = FeatureDef("f", "fraud_count", ("card",), None, HOUR_MS, Filter("x", lambda columns: columns.decides))
    for definition, message in (
        (filtered, "takes no where"),
        (FeatureDef("f", "fraud_rate", ("card",), "amount", HOUR_MS), "takes no of"),
        (FeatureDef("f", "since_last_fraud", ("card",)), "needs a window"),
    ):
        with pytest.raises(ValueError, match=message):
            Plan.compile([definition])
