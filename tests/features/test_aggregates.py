"""Every aggregate against the naive oracle, over streams made to be awkward."""

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.features.definition import FeatureDef, FeatureLimits
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, columns_of, field_is

BASE = 1_767_225_600_000
H1, H24, D7 = 3_600_000, 86_400_000, 604_800_000
PAID = field_is("type", 7)


def every_aggregate() -> list[FeatureDef]:
    features = []
    for by in (("customer",), ("card",), ("customer", "card")):
        for where in (None, PAID):
            tag = f"{'_'.join(by)}_{where is None}"
            for window in (H1, H24, D7):
                for agg in ("sum", "mean", "min", "max", "std", "last", "changed"):
                    for of in ("amount", "lat") if agg in ("last", "changed") else ("amount", "amount_base", "lat"):
                        features.append(FeatureDef(f"{agg}_{of}_{tag}_{window}", agg, by, of, window, where))
                features.append(FeatureDef(f"count_{tag}_{window}", "count", by, None, window, where))
                features.append(FeatureDef(f"gap_{tag}_{window}", "since_last", by, None, window, where))
                for of in ("device_id", "merchant_id"):
                    features.append(FeatureDef(f"distinct_{of}_{tag}_{window}", "distinct", by, of, window, where))
                    features.append(FeatureDef(f"new_{of}_{tag}_{window}", "is_new", by, of, window, where))
                    features.append(FeatureDef(f"changed_{of}_{tag}_{window}", "changed", by, of, window, where))
            features.append(FeatureDef(f"gap_{tag}", "since_last", by, None, None, where))
        features.append(FeatureDef(f"age_{'_'.join(by)}", "age", by))
    return features


FEATURES = every_aggregate()
PLAN = Plan.compile(FEATURES)


def hashes(low: int, high: int) -> st.SearchStrategy[int]:
    """A few values, some with the top bit set, sometimes missing."""
    return st.integers(low, high).map(lambda v: v * 0x9E3779B97F4A7C15 % 2**64 if v > 0 else 0)


def events() -> st.SearchStrategy[Event]:
    steps = (0, 0, 1, 1000, 60_000, H1 - 1, H1, H1 + 1, H24, 2 * H24, D7, -1000, -H1, -H24, 400 * H24, -900 * H24)
    money = st.none() | st.tuples(
        st.integers(1, 10**6) | st.integers(1, 10**15 - 1), st.sampled_from((2, 2, 2, 0, 3, 4))
    )
    return st.builds(
        lambda step, kind, decides, amount, base, lat, customer, card, device, merchant: Event(
            time=step,
            strings={
                "type": kind,
                "customer_id": customer,
                "card_id": card,
                "device_id": device,
                "merchant_id": merchant,
            },
            amount=amount,
            base=base,
            numbers={} if lat is None else {"lat": lat},
            decides=decides,
        ),
        st.sampled_from(steps),
        st.sampled_from((7, 8)),
        st.booleans(),
        money,
        money,
        st.none() | st.floats(-90, 90),
        hashes(1, 3),
        hashes(0, 3),
        hashes(0, 4),
        hashes(0, 9),
    )


def on_one_clock(stream: list[Event]) -> list[Event]:
    """Turn steps into times: near steps move the clock, far ones are a single event off it."""
    clock = BASE
    for event in stream:
        step = event.time
        if abs(step) <= D7 and step >= 0:
            clock += step
            event.time = clock
        else:
            event.time = max(0, clock + step)
    return stream


def assert_same(names: list[str], got: np.ndarray, want: np.ndarray) -> None:
    close = np.isclose(got, want, rtol=1e-12, atol=0, equal_nan=True)
    for row, name in enumerate(names):
        if name.startswith(("std", "mean_lat", "sum_lat")):
            close[row] = np.isclose(got[row], want[row], rtol=1e-9, atol=1e-5, equal_nan=True)
    bad = np.argwhere(~close)
    assert not len(bad), [(names[r], int(c), got[r, c], want[r, c]) for r, c in bad[:5]]


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events(), min_size=1, max_size=40), st.data())
def test_every_aggregate_equals_the_oracle(stream: list[Event], data: st.DataObject) -> None:
    stream = on_one_clock(stream)
    oracle = Oracle(FEATURES)
    want = np.array([oracle.add(event) for event in stream]).T
    state = FeatureState(PLAN, backed=False)
    parts, at = [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        parts.append(state.update(columns_of(stream[at : at + size]))[0])
        at += size
    assert_same(PLAN.names, np.concatenate(parts, axis=1), want)


def test_sums_of_cents_are_exact() -> None:
    plan = Plan.compile(
        [FeatureDef("s", "sum", ("customer",), "amount", H1), FeatureDef("m", "mean", ("customer",), "amount", H1)]
    )
    state = FeatureState(plan, backed=False)
    got, ops = state.update(columns_of([Event(BASE, {"customer_id": 5}, (c, 2)) for c in (1999, 1, 7)]))
    assert got[0].tolist() == [19.99, 20.0, 20.07]
    assert got[1].tolist() == [19.99, 10.0, 6.69]
    assert ops == b""


def test_empty_batch_and_missing_entity() -> None:
    state = FeatureState(PLAN, backed=False)
    assert state.update(columns_of([]))[0].shape == (len(FEATURES), 0)
    got, _ = state.update(columns_of([Event(BASE, {"customer_id": 5})]))
    for name, value in zip(PLAN.names, got[:, 0], strict=True):
        if "card" in name:
            assert math.isnan(value), name


@pytest.mark.parametrize("limits", [FeatureLimits(), FeatureLimits(exact_touches=64, compact_touches=16)])
def test_a_late_event_finds_the_match_before_it_without_a_window_too(limits: FeatureLimits) -> None:
    """The filter is no other feature's, so nothing else keeps its touches."""
    gap = FeatureDef("gap", "since_last", ("customer",))
    oracle, state = Oracle([gap]), FeatureState(Plan.compile([gap], limits=limits), backed=False)
    random, clock, stream = np.random.default_rng(4), BASE, []
    for _ in range(600):
        clock += 600_000
        late = int(random.choice((0, 0, random.integers(H1), random.integers(H24), -random.integers(3 * H24))))
        stream.append(Event(clock - late, {"customer_id": 7}))
    want = np.array([oracle.add(event) for event in stream]).T
    assert_same(["gap"], state.update(columns_of(stream))[0], want)
