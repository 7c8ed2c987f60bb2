"""The partition as a whole: batches, restarts, evictions and the hash seed change nothing."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.generator import Settings, generate
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
from engine.ruleset.ruleset import RuleSet
from tests.core.stored import Store, step

EVENTS = 4_000
STREAM = Settings(seed=11, customers=80, rate=4_000.0, fraud_rate=0.05, late_share=0.02, duplicate_share=0.02)


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return compile_rules(read(rules_directory()))


@pytest.fixture(scope="module")
def records() -> list[bytes | None]:
    lines: list[bytes | None] = list(generate(EVENTS, STREAM))
    lines[100] = b"{not json"
    lines[200] = None
    return lines


def source(position: int) -> dict[str, int]:
    return {"offset": position}


def digest(outputs: Sequence[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(outputs)).hexdigest()


def run(ruleset: RuleSet, records: list[bytes | None], size: int) -> list[object]:
    """In memory, without a store."""
    partition = Partition(ruleset, CoreSettings(), backed=False)
    outputs: list[object] = []
    for start in range(0, len(records), size):
        decoded = partition.decode(records[start : start + size])
        assert partition.missing(decoded) == []
        effects = partition.apply(decoded, lambda i, start=start: source(start + i))
        assert effects.ops == b""
        outputs += effects.outputs
    return outputs


def run_backed(ruleset: RuleSet, records: list[bytes | None], size: int, restart_every: int) -> list[object]:
    """Against a store, with a cold restart every so many batches and a small cache."""
    store, outputs = Store(), []
    partition = Partition(ruleset, CoreSettings(entities_max=50, customers_max=50))
    for batch, start in enumerate(range(0, len(records), size)):
        if batch % restart_every == 0:
            partition = Partition(ruleset, CoreSettings(entities_max=50, customers_max=50))
            partition.restore(store.head())
        outputs += step(partition, store, records[start : start + size], start).outputs
    return outputs


@pytest.mark.parametrize("size", [7, 500])
def test_batch_size_changes_nothing(ruleset: RuleSet, records: list[bytes | None], size: int) -> None:
    few = records[:1_500]
    assert digest(run(ruleset, few, size)) == digest(run(ruleset, few, 1))


def test_restarts_and_evictions_change_nothing(ruleset: RuleSet, records: list[bytes | None]) -> None:
    expected = run(ruleset, records, 1_000)
    assert run_backed(ruleset, records, 97, restart_every=5) == expected
    kinds = {output.kind for output in expected}  # type: ignore[attr-defined]
    assert {"decision", "alert", "reward", "dead_letter"} <= kinds


def test_output_ids_are_unique(ruleset: RuleSet, records: list[bytes | None]) -> None:
    outputs = run(ruleset, records, 500)
    ids = [output.id for output in outputs]  # type: ignore[attr-defined]
    assert len(set(ids)) == len(ids) > EVENTS / 4


def test_the_hash_seed_changes_nothing() -> None:
    code = (
        "from tests.core.test_partition import *\n"
        "rs = compile_rules(read(rules_directory()))\n"
        "print(digest(run(rs, list(generate(800, STREAM)), 100)))"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(digests) == 1
