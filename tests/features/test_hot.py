"""Hot entities: exact as far as the contract says, inside the stated error past it, bounded in memory, and storable."""

import numpy as np
import pytest

from engine.domain.fields import STRING_INDEX
from engine.features.columns import Columns
from engine.features.definition import FeatureDef, FeatureLimits
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, Store, columns_of
from tests.features.test_aggregates import BASE, H1, H24, PAID, assert_same

LATE_MS = 600_000
LIMITS = FeatureLimits(exact_touches=16, compact_touches=8, distinct_sample=16, lateness_ms=LATE_MS)
LIMIT_MS = 3 * H24


def hot_features() -> list[FeatureDef]:
    by, features = ("merchant",), []
    for name, window in (("1m", 60_000), ("1h", H1), ("6h", 6 * H1), ("3d", LIMIT_MS)):
        for agg in ("sum", "mean", "std", "min", "max"):
            features.append(FeatureDef(f"{agg}_{name}", agg, by, "amount", window))
        features.append(FeatureDef(f"count_{name}", "count", by, None, window))
        features.append(FeatureDef(f"paid_{name}", "count", by, None, window, PAID))
        features.append(FeatureDef(f"distinct_{name}", "distinct", by, "card_id", window))
        features.append(FeatureDef(f"new_{name}", "is_new", by, "card_id", window, PAID))
        features.append(FeatureDef(f"gap_{name}", "since_last", by, None, window, PAID))
        features.append(FeatureDef(f"last_{name}", "last", by, "amount", window, PAID))
        features.append(FeatureDef(f"changed_{name}", "changed", by, "card_id", window))
    return features


FEATURES = hot_features()
PLAN = Plan.compile(FEATURES, limits=LIMITS)


def stream_of(random: np.random.Generator, n: int, far: bool) -> list[Event]:
    """One merchant's events, bursty, up to ten minutes out of order, a few from the far past and future."""
    clock, stream = BASE, []
    for _ in range(n):
        clock += int(random.choice((0, 1000, 20_000, 60_000, H1), p=(0.2, 0.3, 0.3, 0.18, 0.02)))
        late = int(random.integers(LATE_MS)) if random.random() < 0.2 else 0
        if far and random.random() < 0.01:
            late = int(random.choice((-4000, 400))) * H24
        strings = {
            "merchant_id": 77,
            "type": int(random.choice((7, 8))),
            "card_id": int(random.integers(1, 60)) * 0x9E3779B97F4A7C15 % 2**64,
        }
        stream.append(Event(clock - late, strings, (int(random.integers(1, 10**5)), 2)))
    return stream


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_exact_while_few_events_match_in_the_window(seed: int, far: bool) -> None:
    """Whatever was folded: a window with at most `exact_touches` matching events is exact."""
    stream = stream_of(np.random.default_rng(seed), 400, far)
    oracle = Oracle(FEATURES)
    want = np.array([oracle.add(event) for event in stream]).T
    got, _ = FeatureState(PLAN, backed=False).update(columns_of(stream))
    names = PLAN.names
    counts = {name.split("_")[1]: want[names.index(name)] for name in names if name.startswith("count_")}
    on_time = np.array([abs(event.time - BASE) < 100 * H24 for event in stream])
    for row, name in enumerate(names):
        few = np.flatnonzero((counts[name.split("_")[1]] <= 8) & on_time)
        assert_same([name], got[row : row + 1, few], want[row : row + 1, few])


@pytest.mark.parametrize("seed", range(6))
def test_tiles_survive_the_store(seed: int) -> None:
    random = np.random.default_rng(seed)
    stream = stream_of(random, 400, True)
    want, _ = FeatureState(PLAN, backed=False).update(columns_of(stream))
    state, store = FeatureState(PLAN), Store()
    parts, at = [], 0
    while at < len(stream):
        batch = columns_of(stream[at : at + int(random.integers(1, 90))])
        store.fill(state, batch)
        part, ops = state.update(batch)
        store.apply(ops)
        parts.append(part)
        at += batch.n
        if random.random() < 0.5:
            state.evict(0)
            assert state.entities() == 0
    assert np.array_equal(np.concatenate(parts, axis=1), want, equal_nan=True)


def merchant_stream(n: int, days: int, cards: int) -> Columns:
    """A merchant's events in one batch of columns, a fifth of them up to an hour late."""
    random = np.random.default_rng(11)
    columns = columns_of([Event(BASE, {"merchant_id": 77, "type": 7}, (1, 2))]).take(np.zeros(n, np.intp))
    times = BASE + np.sort(random.integers(0, days * H24, n))
    columns.time_ms[:] = times - np.where(random.random(n) < 0.2, random.integers(0, H1, n), 0)
    columns.minor[:] = np.exp(random.normal(3.5, 1.0, n)) * 100 + 1
    columns.numbers[0] = columns.minor / 100
    mixed = random.integers(1, cards, n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    columns.strings = np.ascontiguousarray(columns.strings)
    columns.strings[STRING_INDEX["card_id"]] = mixed
    return columns


def test_a_merchant_with_hundreds_of_thousands_of_events() -> None:
    """At the real limits: count, sum, mean and std within 2 %, distinct within 5 %, memory as documented."""
    features = [d for d in hot_features() if d.agg in ("count", "sum", "mean", "std", "distinct") and d.where is None]
    columns = merchant_stream(100_000, 4, 60_000)
    state = FeatureState(Plan.compile(features), backed=False)
    got = np.concatenate(
        [state.update(columns.take(np.arange(at, at + 4000)))[0] for at in range(0, columns.n, 4000)], axis=1
    )
    times, amounts, cards = columns.time_ms, columns.minor / 100, columns.strings[STRING_INDEX["card_id"]]
    for i in range(1999, columns.n, 2200):
        for row, d in enumerate(features):
            assert d.window_ms is not None
            inside = np.flatnonzero((times[: i + 1] > times[i] - d.window_ms) & (times[: i + 1] <= times[i]))
            values = amounts[inside]
            if d.agg == "distinct":
                want, error = float(len(np.unique(cards[inside]))), 0.05
            else:
                exact = {"count": len(values), "sum": values.sum(), "mean": values.mean(), "std": values.std()}
                want, error = float(exact[d.agg]), 0.02
            if len(inside) <= 1024:
                error = 1e-9
            assert abs(got[row, i] - want) <= error * want, (d.name, i, got[row, i], want)
    assert state.memory_bytes() < 8 << 20


@pytest.mark.parametrize("cards", [200, 4000])
def test_values_seen_again_after_a_late_event_count_for_it(cards: int) -> None:
    """Whether their sights before it are in the log or folded: exact while all values are kept, stored or not."""
    columns = merchant_stream(20_000, 1, cards)
    features = [d for d in hot_features() if d.agg == "distinct"]
    state, store, parts = FeatureState(Plan.compile(features)), Store(), []
    for at in range(0, columns.n, 5000):
        state.clear()
        batch = columns.take(np.arange(at, at + 5000))
        store.fill(state, batch)
        part, ops = state.update(batch)
        store.apply(ops)
        parts.append(part)
    got = np.concatenate(parts, axis=1)
    times, seen = columns.time_ms, columns.strings[STRING_INDEX["card_id"]]
    late = np.flatnonzero(times < np.maximum.accumulate(times) - H1 // 2)
    assert len(late) > 1000
    for i in late[::40]:
        for row, d in enumerate(features):
            assert d.window_ms is not None
            inside = (times[: i + 1] > times[i] - d.window_ms) & (times[: i + 1] <= times[i])
            assert got[row, i] == len(np.unique(seen[: i + 1][inside])), (d.name, i)


def test_values_made_up_to_defeat_the_sampling() -> None:
    """Hashes that are all on every level: nothing grows, nothing breaks, the count is at least a sample's."""
    columns = merchant_stream(40_000, 1, 2)
    made_up = np.arange(1, columns.n + 1, dtype=np.uint64)
    columns.strings[STRING_INDEX["card_id"]] = made_up << np.uint64(44) | made_up
    features = [d for d in hot_features() if d.name in ("distinct_3d", "count_3d")]
    state = FeatureState(Plan.compile(features), backed=False)
    got, _ = state.update(columns)
    counts, different = got[[d.agg == "count" for d in features]][0], got[[d.agg == "distinct" for d in features]][0]
    assert np.array_equal(different[:8192], counts[:8192])
    assert 8192 <= different[-1] <= 12_288
    assert state.memory_bytes() < 12 << 20


def test_tiles_of_a_quiet_entity_go() -> None:
    """Once no window reaches them, tiles are handed back and values are exact again."""
    stream = stream_of(np.random.default_rng(1), 300, False)
    start = BASE + 40 * H24
    stream += [Event(start + k * 10 * H1, {"merchant_id": 77, "type": 7}, (100, 2)) for k in range(60)]
    oracle = Oracle(FEATURES)
    want = np.array([oracle.add(event) for event in stream]).T
    state, store = FeatureState(PLAN), Store()
    store.fill(state, columns_of(stream))
    got, ops = state.update(columns_of(stream))
    store.apply(ops)
    assert_same(PLAN.names, got[:, 340:], want[:, 340:])
    (value,) = store.data.values()
    assert len(value) < 600
