"""The short version of the fault campaign: a few of its items with small counts, on real servers and processes.

`python -m load_tests.faults` runs all of them, for longer (docs/faults.md).
"""

import json
from collections.abc import Iterator

import pytest

from load_tests.faults import table
from load_tests.faults.mortal import STEPS
from load_tests.faults.oracle import Found, OutputKey, Record, judge, replay
from load_tests.faults.registry import ITEMS, Result, item
from load_tests.faults.stage import Bench, stream

SHORT = (2, 4, 22, 34)
"""Kills at every step, a zombie, hostile input, calls while workers come and go; other tests do the rest."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    table.load_items()
    with Bench(tmp_path_factory.mktemp("faults"), quick=True) as bench:
        yield bench


@pytest.mark.parametrize("number", SHORT)
async def test_a_promise_is_kept(bench: Bench, number: int) -> None:
    table.load_items()
    result: Result = await ITEMS[number].run(bench)
    assert result.runs
    assert (result.lost, result.doubled, result.wrong) == (0, 0, [])


def test_every_step_of_a_commit_can_be_died_at() -> None:
    assert {name[0] for name in STEPS} >= set("1234567")


def test_the_oracle_tells_what_differs() -> None:
    from engine.config import load

    settings = load({})
    records = [Record(n, line) for n, line in enumerate(stream(400, customers=20))]
    shard = replay(settings, 0, records)
    outputs = list(shard.outputs.items())

    def verdict(offset: int, state: dict[bytes, bytes], seen: list[tuple[OutputKey, bytes]]) -> tuple[int, int, int]:
        found = judge({0: shard}, Found({0: offset}, {0: state}, seen))
        return found.lost, found.doubled, len(found.wrong)

    assert verdict(400, shard.state, outputs) == (0, 0, 0)
    assert verdict(399, shard.state, outputs) == (0, 0, 1)
    assert verdict(400, shard.state, outputs[1:]) == (1, 0, 0)
    assert verdict(400, shard.state, [*outputs, outputs[0]]) == (0, 1, 0)
    assert verdict(400, shard.state, [*outputs[1:], (outputs[0][0], b"other")]) == (0, 0, 1)
    assert verdict(400, shard.state, [*outputs, (OutputKey("decision", "foreign"), b"")]) == (0, 0, 1)
    key = next(key for key in shard.state if key.startswith(b"a"))
    assert verdict(400, {**shard.state, key: b""}, outputs) == (0, 0, 1)
    again = replay(settings, 0, records, restart_every=1)
    assert (again.outputs, again.order, again.offset) == (shard.outputs, shard.order, 400)


def test_the_published_table_is_what_the_figures_say() -> None:
    rows = {int(number): row for number, row in json.loads(table.RESULTS.read_text()).items()}
    assert table.DOCUMENT.read_text() == table.document(rows)
    table.load_items()
    assert set(ITEMS) == {*range(1, 25), 28, 29, 30, 34}
    assert set(rows) == set(ITEMS)


def test_a_number_is_given_once() -> None:
    table.load_items()
    with pytest.raises(ValueError, match="item 1 is there twice"):
        item(1, "", "")(ITEMS[1].run)
