"""The label desk: label aggregates and counts against a naive oracle, whatever the batches and restarts."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset import compile
from tests.core.label_world import BY, HORIZON, MATURITY, RULES, Oracle, history, records
from tests.core.stored import Store, step

RULESET = compile({"rules.yaml": RULES})
CORE = CoreSettings(labels=LabelSettings(MATURITY, HORIZON))
SMALL = replace(CORE, entities_max=2, customers_max=1, snapshot_every=7)
EVENTS = 260


def in_memory(values: Sequence[bytes], size: int) -> tuple[list[bytes], Counter[str]]:
    """Feature lines, and what became of labels."""
    partition = Partition(RULESET, CORE, backed=False, features_out=True)
    lines, counts = [], Counter[str]()
    for start in range(0, len(values), size):
        effects = partition.apply(partition.decode(values[start : start + size]), lambda index: {"offset": index})
        lines += effects.features
        counts.update(effects.labels)
    return lines, counts


def stored(values: Sequence[bytes], cuts: Sequence[int], restart_every: int) -> tuple[list[bytes], Counter[str], Store]:
    store, lines, counts = Store(), [], Counter[str]()
    partition = Partition(RULESET, SMALL, features_out=True)
    for number, (start, end) in enumerate(pairwise([0, *cuts, len(values)])):
        if number % restart_every == 0:
            partition = Partition(RULESET, SMALL, features_out=True)
            partition.restore(store.head())
        effects = step(partition, store, values[start:end], start)
        lines += effects.features
        counts.update(effects.labels)
    return lines, counts, store


@pytest.mark.parametrize("seed", range(12))
def test_label_aggregates_and_counts_are_those_of_the_oracle(seed: int) -> None:
    events = history(seed, EVENTS)
    oracle = Oracle()
    expected = [values for event in events if (values := oracle.step(event)) is not None]
    lines, counts = in_memory(records(events), (1, 33, 500)[seed % 3])
    for place, (line, values) in enumerate(zip(lines, expected, strict=True)):
        found = json.loads(line)["features"]
        assert {name: found[name] for name in values} == pytest.approx(values), f"event {place}"
    assert +counts == oracle.counts
    assert any(values[f"fraud_count_{by}"] for values in expected for by in BY)


def test_the_histories_hold_everything_that_can_come() -> None:
    counts, kinds = Counter[str](), set()
    for seed in range(6):
        oracle = Oracle()
        for event in history(seed, EVENTS):
            oracle.step(event)
        counts.update(oracle.counts)
        kinds |= {touch.kind for touch in oracle.touches}
    assert set(counts) == {"matured", "fraud", "legitimate", "repeated", "unknown"}
    assert kinds == {1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(6))
def test_batches_and_restarts_change_nothing(seed: int) -> None:
    values = records(history(seed, EVENTS))
    expected = in_memory(values, 500)
    assert in_memory(values, 1) == in_memory(values, 41) == expected
    for size, restart_every in ((1, 7), (13, 1), (90, 2)):
        lines, counts, _ = stored(values, range(size, len(values), size), restart_every)
        assert (lines, +counts) == (expected[0], +expected[1])
