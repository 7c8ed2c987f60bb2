"""The stored state of a detector: small commits, and exactly the detector of an undisturbed run."""

import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.learning import HEAD_ANOMALY, HEAD_LEARNED, RANK_MEMORY, Learner
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import unpack
from engine.generator.stream import generate
from engine.ruleset import RuleSet, compile
from engine.scoring.half_space_trees import HalfSpaceTrees
from engine.scoring.rank import Rank
from tests.core.cutting import bodies, cut, switched
from tests.core.stored import Store

INPUTS = 3
EVERY = 7

MODEL = "models: {anomaly: {detector: half_space_trees, trees: 5, height: 4, window: %d, seed: 1, inputs: [%s]}}\n"
RULES = """
features:
  - {name: many, agg: count, by: customer, window: 1h}
  - {name: spent, agg: sum, of: amount, by: customer, window: 24h}
  - {name: part, expr: "clamp(many / 10, 0, 1)"}
  - {name: share, expr: "clamp(spent / 1000, 0, 1)"}
rules:
  - {id: odd, description: d, when: score.anomaly > 0.5, then: {decision: review, reason: ODD}}
"""
ONE = compile({"a.yaml": MODEL % (8, "part, share") + RULES})
TWO = compile({"a.yaml": MODEL % (6, "share") + RULES})
NONE = compile({"a.yaml": RULES.replace("score.anomaly > 0.5", "amount > 5")})
SETS: dict[str, RuleSet] = {ruleset.hash: ruleset for ruleset in (ONE, TWO, NONE)}


def detector() -> HalfSpaceTrees:
    return HalfSpaceTrees(INPUTS, trees=4, height=3, window=5, seed=3)


def learner(store: Store, every: int = EVERY) -> Learner:
    made = Learner(detector(), every, backed=True)
    made.restore(store.head())
    return made


@given(
    values=st.lists(st.tuples(*[st.one_of(st.floats(0, 1), st.just(float("nan")))] * INPUTS), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    restarts=st.sets(st.integers(0, 8)),
    every=st.integers(1, 20),
)
@settings(max_examples=200, deadline=None)
def test_any_batches_and_restarts_give_the_detector_and_the_stored_bytes_of_one_run(
    values: list[tuple[float, ...]], cuts: list[int], restarts: set[int], every: int
) -> None:
    x = np.array(values, np.float64).reshape(-1, INPUTS).T
    plain = detector()
    expected = plain.score_then_learn(x)
    store, whole = Store(), Store()
    calm = learner(whole, every)
    calm.score(x)
    whole.take(b"".join(calm.ops()))
    running = learner(store, every)
    found = []
    edges = [0, *sorted(min(cut, x.shape[1]) for cut in cuts), x.shape[1]]
    for batch, (start, end) in enumerate(pairwise(edges)):
        found.append(running.score(x[:, start:end])[0])
        store.take(b"".join(running.ops()))
        if batch in restarts:
            running = learner(store, every)
    assert np.array_equal(np.concatenate(found), expected, equal_nan=True)
    assert running.detector.dump() == plain.dump() == learner(store, every).detector.dump()
    assert store == whole
    assert len(store.get(HEAD_LEARNED, b"")) == x.shape[1] % every * INPUTS * 8


def test_where_scores_stand_is_restored_too() -> None:
    x = np.random.default_rng(1).random((INPUTS, 900))
    scores = detector().score_then_learn(x)
    expected = Rank(RANK_MEMORY).tops(scores)
    assert np.isnan(expected).sum() < 300
    store = Store()
    found = []
    for start, end in pairwise([0, 3, 250, 256, 300, 301, 700, 900]):
        running = learner(store, 100)
        part, tops = running.score(x[:, start:end])
        store.take(b"".join(running.ops()))
        np.testing.assert_array_equal(part, scores[start:end])
        found.append(tops)
    np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("damaged", [b"", b"\0\0", b"\xff\0\0\0abc"])
def test_a_damaged_snapshot_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        learner(Store({HEAD_ANOMALY: damaged}))


def test_a_commit_carries_what_was_learned_and_not_the_detector() -> None:
    running = learner(Store(), every=100)
    running.score(np.full((INPUTS, 10), 0.5))
    (op,) = unpack(b"".join(running.ops()))
    assert (op.key, len(op.value)) == (HEAD_LEARNED, 10 * INPUTS * 8)
    assert running.ops() == []


def test_another_distance_takes_effect_after_what_was_stored_under_the_old_one() -> None:
    store, x = Store(), np.linspace(0, 1, INPUTS * 20).reshape(INPUTS, 20)
    first = learner(store, every=50)
    first.score(x)
    store.take(b"".join(first.ops()))
    second = learner(store, every=4)
    second.score(x)
    store.take(b"".join(second.ops()))
    plain = detector()
    plain.score_then_learn(np.concatenate((x, x), axis=1))
    assert learner(store).detector.dump() == plain.dump()
    assert len(store.get(HEAD_LEARNED, b"")) < 4 * INPUTS * 8


def test_damaged_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        learner(Store({HEAD_LEARNED: b"\0" * 8 * (INPUTS + 1)}))


def run(records: Sequence[bytes], batch: int, drop: int) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Decisions of a run and what its head holds of the detector; see `cut`."""
    store = Store()
    partition = Partition(ONE, CoreSettings(snapshot_every=EVERY), rulesets=SETS.get)
    decisions = bodies(cut(partition, store, records, batch, drop), "decision")
    return decisions, {key: store[key] for key in (HEAD_ANOMALY, HEAD_LEARNED) if key in store}


@pytest.mark.parametrize(
    "switches", [(), ((60, TWO), (61, ONE)), ((50, NONE), (120, TWO)), ((90, TWO), (100, NONE), (200, ONE))]
)
def test_a_shard_scores_and_stores_the_same_however_it_is_cut_and_restarted(
    switches: tuple[tuple[int, RuleSet], ...],
) -> None:
    records = switched(list(generate(240)), switches)
    expected = run(records, len(records), 1_000)
    assert any(json.loads(output)["scores"]["anomaly"] is not None for output in expected[0])
    for batch, drop in ((1, 1), (7, 2), (50, 1), (33, 3)):
        assert run(records, batch, drop) == expected
