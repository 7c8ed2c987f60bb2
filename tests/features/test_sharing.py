"""Logs that several shards write to: what each reads is what one would, and nothing is lost where they meet."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.domain.ops import APPEND, REWRITE, Op, rewritten, unpack
from engine.features import layout as layouts
from engine.features.columns import Columns
from engine.features.definition import FeatureDef, FeatureLimits, is_shared
from engine.features.plan import Plan
from engine.features.sharing import UnknownTouches
from engine.features.state import FeatureState
from tests.features.oracle import Event, Oracle, Store, columns_of
from tests.features.test_aggregates import BASE, FEATURES, H1, H24, assert_same, events, on_one_clock
from tests.features.test_hot import FEATURES as HOT
from tests.features.test_hot import LIMITS as HOT_LIMITS
from tests.features.test_hot import stream_of

SHARED = [definition for definition in FEATURES if is_shared(definition.by)]
LIMITS = FeatureLimits(compact_touches=8)


class Shards:
    """Some feature states over a store a shard."""

    def __init__(self, plan: Plan, shards: int) -> None:
        self.states = [FeatureState(plan, shard=shard, shards=shards) for shard in range(shards)]
        self.stores: list[dict[bytes, bytes]] = [{} for _ in range(shards)]
        self.rewrites = [0, 0]  # that took effect, that did not

    def load(self, shard: int, batch: Columns) -> None:
        """What the batch needs, from its homes."""
        state = self.states[shard]
        keys = state.missing(batch)
        homes = [state.home(key) for key in keys]
        state.load(
            keys, [self.stores[shard if home is None else home].get(key) for home, key in zip(homes, keys, strict=True)]
        )

    def update(self, shard: int, batch: Columns) -> np.ndarray:
        """Take the batch in, and bring every home what is for it."""
        matrix, ops = self.states[shard].update(batch)
        self.apply(shard, list(unpack(ops)))
        for home, touches in self.states[shard].touches.items():
            assert home != shard
            assert all(0 <= row < batch.n for row in touches.rows)
            assert len(touches.rows) == len(touches.ops)
            self.apply(home, [op for packed in touches.ops for op in unpack(packed)])
        return matrix

    def apply(self, shard: int, ops: Sequence[Op]) -> None:
        store = self.stores[shard]
        for op in ops:
            if op.kind == APPEND:
                store[op.key] = store.get(op.key, b"") + op.value
            else:
                assert op.kind == REWRITE
                changed = rewritten(store.get(op.key, b""), op.value)
                self.rewrites[changed is None] += 1
                store[op.key] = store.get(op.key, b"") if changed is None else changed


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events(), min_size=1, max_size=80), st.integers(2, 5), st.data())
def test_every_shard_reads_what_one_would(stream: list[Event], shards: int, data: st.DataObject) -> None:
    stream = on_one_clock(stream)
    oracle = Oracle(SHARED)
    want = np.array([oracle.add(event) for event in stream]).T
    deployment = Shards(Plan.compile(SHARED, limits=LIMITS), shards)
    parts, at = [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, min(12, len(stream) - at)))
        shard = data.draw(st.integers(0, shards - 1))
        batch = columns_of(stream[at : at + size])
        deployment.load(shard, batch)
        parts.append(deployment.update(shard, batch))
        at += size
    assert_same([definition.name for definition in SHARED], np.concatenate(parts, axis=1), want)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_where_shards_meet_at_a_hot_entity(seed: int) -> None:
    """All load, then all write: of several rewrites of one log the first takes effect, and every touch stays."""
    draw = np.random.default_rng(seed)
    stream = stream_of(draw, 3_000, far=False)
    shards = 4
    deployment = Shards(Plan.compile(HOT, limits=HOT_LIMITS), shards)
    longest = at = 0
    while at < len(stream) - 60:
        batches = []
        for shard in range(shards):
            size = int(draw.integers(1, 12))
            batches.append((shard, columns_of(stream[at : at + size])))
            at += size
        for shard, batch in batches:
            deployment.load(shard, batch)
        for place in draw.permutation(len(batches)):
            deployment.update(*batches[place])
        longest = max(longest, *(len(log) for store in deployment.stores for log in store.values()))
    assert sum(len(store) for store in deployment.stores) == 1
    took, failed = deployment.rewrites
    assert took > 30
    assert failed > 30
    assert longest < 1.3 * longest_alone(stream[:at])
    last = stream[at - 1]
    probe = Event(last.time, dict(last.strings), last.amount)
    deployment.load(0, columns_of([probe]))
    got = deployment.update(0, columns_of([probe]))[:, 0]
    oracle = Oracle(HOT)
    for event in stream[:at]:
        oracle.add(event)
    want = oracle.add(probe)
    for definition, value, wanted in zip(HOT, got, want, strict=True):
        if definition.agg == "count":
            assert abs(value - wanted) <= 0.02 * wanted


def longest_alone(stream: Sequence[Event]) -> int:
    """The greatest length that one shard lets the log of one entity grow to."""
    state, store, longest = FeatureState(Plan.compile(HOT, limits=HOT_LIMITS)), Store(), 0
    for start in range(0, len(stream), 24):
        batch = columns_of(stream[start : start + 24])
        store.fill(state, batch)
        store.apply(state.update(batch)[1])
        longest = max(longest, *map(len, store.data.values()))
    return longest


def test_a_shared_touch_is_read_wherever_it_stands() -> None:
    """Two shards append what they know nothing of each other: times and values come out all the same."""
    plan = Plan.compile([FeatureDef("n", "distinct", ("device",), "card_id", H24)])
    deployment = Shards(plan, 2)
    strings = {"device_id": 5, "merchant_id": 9}
    cards = [2**63 + 11, 12, 2**63 + 11, 13]
    batches = [columns_of([Event(BASE + i * 1000, {**strings, "card_id": card})]) for i, card in enumerate(cards)]
    for i in (0, 1):
        deployment.load(i, batches[i])
    for i in (1, 0):
        deployment.update(i, batches[i])
    found = []
    for i in (2, 3):
        deployment.load(i % 2, batches[i])
        found.append(deployment.update(i % 2, batches[i])[0, 0])
    assert found == [2.0, 3.0]


def test_touches_of_a_later_layout_are_told_from_damage() -> None:
    early = Plan.compile([FeatureDef("n", "count", ("device",), None, H24)])
    late = Plan.compile([*early.features, FeatureDef("s", "sum", ("device",), "amount", H1)], early.layout())
    key = b"f\x00\x00" + (5).to_bytes(8, "little")
    batch = columns_of([Event(BASE, {"device_id": 5}, (100, 2))])
    writer = FeatureState(late, shard=0, shards=2)
    writer.load(writer.missing(batch), [None])
    writer.update(batch)
    [touch] = [op for packed in writer.touches[1].ops for op in unpack(packed)]
    assert touch.key == key
    reader = FeatureState(early, shard=0, shards=2)
    assert reader.missing(batch) == [key]
    with pytest.raises(UnknownTouches):
        reader.load([key], [touch.value])
    reader.adopt(late)
    assert reader.missing(batch) == [key]
    reader.load([key], [touch.value])
    assert reader.update(batch)[0][:, 0].tolist() == [2.0, 2.0]


def test_layouts_extend_each_other_or_contradict() -> None:
    one = Plan.compile([FeatureDef("n", "count", ("device",), None, H24)])
    two = Plan.compile(
        [FeatureDef("s", "sum", ("device",), "amount", H1), FeatureDef("n", "count", ("ip",), None, H1)], one.layout()
    )
    other = Plan.compile([FeatureDef("n", "count", ("ip",), None, H24)])
    first, second, third = (layouts.load(plan.layout()) for plan in (one, two, other))
    assert second.extends(first)
    assert first.extends(first)
    assert first.extends(layouts.load(None))
    assert not first.extends(second)
    assert not third.extends(first)
    assert not first.extends(third)


def test_which_entities_are_shared() -> None:
    alone = [("customer",), ("payment",), ("customer", "card"), ("device", "payment")]
    assert not any(map(is_shared, alone))
    assert all(map(is_shared, [("card",), ("ip",), ("device", "card"), ("merchant",), ("acquirer",)]))


def test_one_shard_shares_nothing() -> None:
    state = FeatureState(Plan.compile(SHARED, limits=LIMITS))
    batch = columns_of([Event(BASE, {"device_id": 5, "card_id": 6}, (100, 2))])
    keys = state.missing(batch)
    assert {state.home(key) for key in keys} == {None}
    state.load(keys, [None] * len(keys))
    _, ops = state.update(batch)
    assert not state.touches
    assert state.shared_rows() == []
    assert state.missing(batch) == []  # it stays in memory
    assert all(op.value[:1] != b"\x01" for op in unpack(ops))  # touches that refer to those before


def test_shards_without_a_store_are_refused() -> None:
    with pytest.raises(ValueError, match="through a store"):
        FeatureState(Plan.compile(SHARED), backed=False, shards=2)
