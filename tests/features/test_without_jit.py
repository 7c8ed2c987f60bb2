"""The kernels as the plain Python they are written in: the same values, bit for bit, as compiled."""

import numpy as np

from engine.features.hashing import hash_words
from engine.features.plan import Plan
from engine.features.state import FeatureState
from tests.features.oracle import Event, Store, columns_of
from tests.features.test_hot import PLAN, stream_of
from tests.features.test_labels import HOT, HOT_FEATURES, hot_stream
from tests.support.plain import in_plain_python

EVENTS = 110


def values_and_state() -> bytes:
    """Feature values and stored bytes of a hot stream, of events and of labels, with a reload half way."""
    events = through_a_store(PLAN, stream_of(np.random.default_rng(5), EVENTS, True))
    return events + through_a_store(Plan.compile(HOT_FEATURES, limits=HOT), hot_stream(5, EVENTS))


def through_a_store(plan: Plan, stream: list[Event]) -> bytes:
    state, store, parts = FeatureState(plan), Store(), []
    for batch in (columns_of(stream[: EVENTS // 2]), columns_of(stream[EVENTS // 2 :])):
        state.clear()
        store.fill(state, batch)
        part, ops = state.update(batch)
        store.apply(ops)
        parts.append(part)
    words = hash_words(np.array([2**64 - 1, 7, 2**63], np.uint64))
    stored = repr((sorted(store.data.items()), int(words)))
    return np.concatenate(parts, axis=1).tobytes() + stored.encode()


def test_plain_python_gives_the_same_bytes() -> None:
    assert in_plain_python("tests.features.test_without_jit", "values_and_state") == values_and_state()
