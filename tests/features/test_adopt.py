"""Going over to another plan: what was recorded is there at once, and a store or none, any batch, change no value."""

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.core.warming import Warming
from engine.features.definition import FeatureDef, FeatureLimits
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, Store, columns_of
from tests.features.test_aggregates import BASE, H1, H24, PAID, assert_same
from tests.features.test_hot import LIMITS as HOT
from tests.features.test_hot import stream_of

LIMITS = FeatureLimits(compact_touches=8, lateness_ms=H1, slack_ms=0)


def pool_of(by: tuple[str, ...]) -> list[FeatureDef]:
    """Features that share filters and fields in every way."""
    found = [FeatureDef(f"age_{by[0]}", "age", by), FeatureDef(f"gap_{by[0]}", "since_last", by)]
    for where in (None, PAID):
        for name, window in (("1h", H1), ("1d", H24), ("9d", 9 * H24), ("40d", 40 * H24)):
            tag = f"{by[0]}_{where is None}_{name}"
            for agg, of in (
                ("count", None), ("sum", "amount"), ("max", "lat"), ("distinct", "card_id"), ("is_new", "device_id"),
                ("since_last", None), ("distinct", "device_id"), ("last", "lat"), ("changed", "amount"),
                ("changed", "card_id"),
            ):  # fmt: skip
                found.append(FeatureDef(f"{agg}_{of}_{tag}", agg, by, of, window, where))
    return found


POOL = [d for by in (("customer",), ("merchant", "customer")) for d in pool_of(by)]


def calm_stream(random: np.random.Generator, n: int) -> list[Event]:
    """Events of two customers at two merchants, up to an hour late."""
    clock, stream = BASE, []
    for _ in range(n):
        clock += int(random.choice((0, 1000, H1, H24)))
        strings = {
            "customer_id": int(random.integers(1, 3)) * 0x9E3779B97F4A7C15 % 2**64,
            "merchant_id": int(random.integers(1, 3)),
            "type": int(random.choice((7, 8))),
            "card_id": int(random.integers(0, 4)),
            "device_id": int(random.integers(0, 4)),
        }
        numbers = {"lat": float(random.integers(-90, 90))} if random.random() < 0.8 else {}
        amount = (int(random.integers(1, 10**5)), 2) if random.random() < 0.8 else None
        stream.append(
            Event(clock - int(random.choice((0, 0, H1))), strings, amount, None, numbers, random.random() < 0.7)
        )
    return stream


def played(
    stream: list[Event], plans: dict[int, list[FeatureDef]], limits: FeatureLimits, cuts: set[int], store: Store | None,
    evict: set[int],
) -> list[dict[str, tuple[float, bool]]]:  # fmt: skip
    """Value and warmth of each feature in force at each event; the plan of `plans` is adopted before the event."""
    plan = Plan.compile(plans[0], None, limits)
    state, warming = FeatureState(plan, backed=store is not None), Warming(plan.needs())
    edges = sorted({*plans, *cuts, len(stream)} - {0})
    rows: list[dict[str, tuple[float, bool]]] = []
    start = 0
    for end in edges:
        if start in plans and start > 0:
            plan = Plan.compile(plans[start], plan.layout(), limits)
            state.adopt(plan)
            warming.adopt(plan.needs())
        if start in evict:
            state.evict(0)
            warming = Warming(plan.needs(), warming.dump())
        batch = columns_of(stream[start:end])
        if store is not None:
            store.fill(state, batch)
        warming.observe(batch.time_ms)
        values, ops = state.update(batch)
        if store is not None:
            store.apply(ops)
        else:
            assert ops == b""
        rows += [
            {
                name: (values[f, row], warming.is_warming(f, row, int(batch.time_ms[row])))
                for f, name in enumerate(plan.names)
            }
            for row in range(batch.n)
        ]
        start = end
    return rows


def same(got: list[dict[str, tuple[float, bool]]], want: list[dict[str, tuple[float, bool]]]) -> None:
    for row, (left, right) in enumerate(zip(got, want, strict=True)):
        assert left.keys() == right.keys()
        for name, (value, warm) in left.items():
            expected = right[name]
            assert (value == expected[0] or (value != value and expected[0] != expected[0])) and warm == expected[1], (
                row, name, value, warm, expected,
            )  # fmt: skip


subsets = st.lists(st.sampled_from(POOL), min_size=1, max_size=8, unique_by=lambda d: d.name)


@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 2**32), st.lists(subsets, min_size=2, max_size=4), st.data())
def test_what_is_not_warming_equals_the_oracle(seed: int, sets: list[list[FeatureDef]], data: st.DataObject) -> None:
    n = 90
    stream = calm_stream(np.random.default_rng(seed), n)
    places = sorted(data.draw(st.sets(st.integers(1, n - 1), min_size=len(sets) - 1, max_size=len(sets) - 1)))
    plans = dict(zip([0, *places], sets, strict=True))
    cuts = data.draw(st.sets(st.integers(1, n - 1), max_size=20))
    alone = played(stream, plans, LIMITS, set(), None, set())
    same(played(stream, plans, LIMITS, cuts, Store(), set(list(cuts)[:6])), alone)
    same(played(stream, plans, LIMITS, cuts, None, set()), alone)
    oracle = Oracle(POOL)
    names = [d.name for d in POOL]
    for event, values in zip(stream, alone, strict=True):
        want = dict(zip(names, oracle.add(event), strict=True))
        for name, (value, warm) in values.items():
            if not warm and not name.startswith(("age", "gap")):
                assert_same([name], np.array([[value]]), np.array([[want[name]]]))


def test_a_feature_of_what_was_recorded_is_warm_and_right_at_once() -> None:
    """The sum of a day beside a count of nine days and a sum of another filter: all of it was in the log."""
    by = ("customer",)
    count = FeatureDef("n", "count", by, None, 9 * H24)
    other = FeatureDef("m", "sum", by, "amount", H1, PAID)
    total = FeatureDef("s", "sum", by, "amount", H24)
    stream = calm_stream(np.random.default_rng(1), 120)
    oracle = Oracle([total])
    want = [oracle.add(event)[0] for event in stream]
    rows = played(stream, {0: [count, other], 100: [count, other, total]}, LIMITS, set(), None, set())
    assert [row["s"] for row in rows[100:]] == [(value, False) for value in want[100:]]


def test_hot_entities_go_over_alike_with_a_store_and_without() -> None:
    """Tiles written under one plan, read under another, dropped and asked for again."""
    by = ("merchant",)
    count = FeatureDef("n", "count", by, None, 3 * H24)
    paid = FeatureDef("p", "sum", by, "amount", 3 * H24, PAID)
    cards = FeatureDef("d", "distinct", by, "card_id", 6 * H1)
    new = FeatureDef("w", "is_new", by, "card_id", 6 * H1, PAID)
    age = FeatureDef("a", "age", by)
    stream = stream_of(np.random.default_rng(4), 500, True)
    plans = {0: [count, paid, cards], 150: [count], 157: [paid, cards, count, new], 300: [new, age], 420: [cards, paid]}
    alone = played(stream, plans, HOT, set(), None, set())
    cuts = set(range(0, 500, 13))
    same(played(stream, plans, HOT, cuts, Store(), set(range(0, 500, 26))), alone)
    same(played(stream, plans, HOT, cuts, None, set()), alone)


def test_groups_that_stay_as_they_are_stay_in_memory() -> None:
    """A change of thresholds or windows drops nothing; the next touch writes the new expiry."""
    a = FeatureDef("a", "sum", ("card",), "amount", H1)
    longer = FeatureDef("b", "sum", ("card",), "amount", 40 * H24)
    state, store = FeatureState(Plan.compile([a])), Store()
    batch = columns_of([Event(BASE, {"card_id": 5}, (100, 2))])
    store.fill(state, batch)
    store.apply(state.update(batch)[1])
    assert list(store.ttl_hours.values()) == [1 + 1 + 7 * 24]
    state.adopt(Plan.compile([longer, a], state.plan.layout()))
    assert state.missing(batch) == []
    got, ops = state.update(batch)
    store.apply(ops)
    assert got[:, 0].tolist() == [2.0, 2.0]
    assert list(store.ttl_hours.values()) == [40 * 24 + 1 + 7 * 24]
