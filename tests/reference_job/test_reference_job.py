"""The reference job as a rules directory gives the plain job's features, value for value."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import orjson
import pytest

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset import compile as compile_rules
from engine.ruleset.files import read
from engine.ruleset.report import run_tests
from engine.ruleset.ruleset import RuleSet

HERE = Path(__file__).parents[2] / "load_tests" / "reference_job"
ROWS = 6000


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The scripts of the load test, which are no package."""
    sys.path.insert(0, str(HERE))
    try:
        yield {name: importlib.import_module(name) for name in ("gen", "job", "run")}
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return compile_rules(read(HERE / "rules"))


def test_features_and_the_rules_over_them_are_equal(modules: dict[str, ModuleType], ruleset: RuleSet) -> None:
    job = modules["job"]
    events = list(modules["gen"].events(ROWS))
    partition = Partition(ruleset, CoreSettings(), backed=False, features_out=True)
    records = [orjson.dumps(event) for event in events]
    found, decisions = [], []
    for start in range(0, ROWS, 700):
        effects = partition.apply(partition.decode(records[start : start + 700]), lambda i: {"line": i})
        found += effects.features
        decisions += [orjson.loads(decision) for _, decision in effects.decisions]
    assert len(found) == len(decisions) == ROWS
    states: dict[str, dict[str, object]] = {}
    trained = {"ANOMALY", "NEW_DEVICE_HIGH", "AMOUNT_OUTLIER"}  # these read what differs by design
    fired = set()
    for event, line, decision in zip(events, found, decisions, strict=True):
        expected = job.features(states.setdefault(event["customer_id"], job.new_state()), event)
        row = orjson.loads(line)
        assert row["event_id"] == event["event_id"]
        values = {**row["features"]}
        values["gap"] = -1.0 if values["gap"] is None else values["gap"]
        for name in modules["run"].COMPARED:
            assert values[name] == expected[name], f"{name} of {event['event_id']}"
        hits = {code for code, _, rule in job.RULES if code not in trained and rule(expected, 0.0)}
        reasons = {reason["code"] for reason in decision["reasons"]}
        assert reasons - trained == hits, event["event_id"]
        fired |= reasons
    assert len(fired) >= 6


def test_the_data_is_that_of_the_published_figures(modules: dict[str, ModuleType]) -> None:
    first, *_, last = modules["gen"].events(1000)
    assert (first["event_id"], first["event_time"], first["amount"]) == FIRST
    assert (last["event_id"], last["event_time"], last["amount"]) == LAST


FIRST = ("e000000000", 1767225614656, 79.91)
LAST = ("e000000999", 1767232452212, 9.17)


def test_the_rules_pass_their_own_tests(ruleset: RuleSet) -> None:
    assert len(ruleset.rules) == 10
    report = run_tests(HERE / "rules")
    assert report.ok, str(report)
