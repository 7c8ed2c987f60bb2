"""Whose rows those of a batch are: all groups at once against one group at a time."""

import numpy as np
import pytest

from engine.domain.fields import STRING_FIELDS
from engine.features.definition import FeatureDef
from engine.features.entities import entities, tables
from engine.features.hashing import entity_keys
from engine.features.plan import Plan

DAY_MS = 86_400_000
FEATURES = (
    FeatureDef("a", "count", by=("customer",), window_ms=DAY_MS),
    FeatureDef("b", "count", by=("customer", "device"), window_ms=DAY_MS),
    FeatureDef("c", "fraud_count", by=("device",), window_ms=DAY_MS),
    FeatureDef("d", "fraud_count", by=("card",), window_ms=DAY_MS),
)


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_keys_of_all_groups_are_those_of_each(rows: int) -> None:
    rng = np.random.default_rng(rows)
    groups = Plan.compile(FEATURES).groups
    strings = rng.integers(0, 3, (len(STRING_FIELDS), rows), np.uint64)
    labels = rng.integers(0, 3, rows).astype(np.int8)
    wanted = rng.random((len(groups), rows)) < 0.5
    strings[groups[3].by_rows] = 0  # nobody
    keys, some = entities(strings, labels, *tables(groups), wanted)
    for group, got, anybody, read in zip(groups, keys, some, wanted, strict=True):
        want = entity_keys(strings, group.by_rows)
        want[(labels == 0) & ~read if group.labels else labels != 0] = 0
        assert got.tolist() == want.tolist()
        assert anybody == want.any()
    assert not some[3]
