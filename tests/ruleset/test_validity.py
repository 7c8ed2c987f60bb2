"""A rule is evaluated from `valid_from` to just before `valid_to`, in event time."""

import numpy as np
import pytest

from engine.ruleset import Frame, testing
from engine.ruleset.explain import explain_hit
from engine.ruleset.types import parse_moment
from tests.ruleset.helpers import columns_of, faults, rule_file, ruleset_of

FROM, TO = "2026-03-01T00:00:00+01:00", "2026-03-02T00:00:00.500Z"
FROM_MS, TO_MS = 1_772_319_600_000, 1_772_409_600_500
BOTH = f"valid_from: {FROM}\n    valid_to: {TO}\n    then: {{decision: review}}"


def test_times_are_read_with_their_offset() -> None:
    assert (parse_moment(FROM), parse_moment(TO)) == (FROM_MS, TO_MS)


@pytest.mark.parametrize("copies", [1, 20])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (BOTH, [False, True, True, False]),
        (f"valid_from: {FROM}\n    then: {{score: 1}}", [False, True, True, True]),
        (f"valid_to: '{TO}'\n    then: {{score: 1}}", [True, True, True, False]),
    ],
)
def test_the_first_moment_is_in_and_the_last_is_out(rule: str, expected: list[bool], copies: int) -> None:
    ruleset = ruleset_of(rule_file("amount > 1", rule=rule))
    times = [FROM_MS - 1, FROM_MS, TO_MS - 1, TO_MS]
    columns = columns_of([{"amount": 5, "event_time": time} for time in times] * copies)
    hits = ruleset.evaluate(Frame(columns, np.empty((len(ruleset.rows), columns.n)))).matrix[0].tolist()
    assert hits == expected * copies


def test_tests_beside_a_rule_are_held_to_it_too() -> None:
    inside = "{given: {amount: 5, event_time: 2026-03-01T12:00:00Z}, expect: hit}"
    tests = f"\n    tests: [{{given: {{amount: 5}}, expect: miss}}, {inside}]"
    assert all(outcome.ok for outcome in testing.run(ruleset_of(rule_file("amount > 1", rule=BOTH + tests))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valid_from: 2026-03-01", "t.yaml:5:17: '2026-03-01' is not a time (write it with its offset"),
        ("valid_from: 2026-03-01T00:00:00", "is not a time"),
        ("valid_from: 2026-02-30T00:00:00Z", "is not a time"),
        ("valid_from: 1772319600000", "t.yaml:5:17: 'valid_from' must be text"),
        (f"valid_from: {TO}\n    valid_to: {FROM}", "t.yaml:6:15: 'valid_to' must be after 'valid_from'"),
    ],
)
def test_faults_have_their_place(text: str, message: str) -> None:
    [found] = faults(rule_file("amount > 1", rule=f"{text}\n    then: {{score: 1}}"))
    assert message in found


def test_an_explanation_shows_times() -> None:
    ruleset = ruleset_of(rule_file("amount > 1 and event_time > 1000", rule=BOTH))
    columns = columns_of([{"amount": 5, "event_time": FROM_MS}])
    lines = explain_hit(ruleset, Frame(columns, np.empty((len(ruleset.rows), 1))), ruleset.rules[0], 0).lines()
    assert [line.strip() for line in lines[1:]] == [
        "event_time >= 2026-02-28T23:00:00.000Z: True",
        "event_time: 2026-02-28T23:00:00.000Z",
        "event_time < 2026-03-02T00:00:00.500Z: True",
        "event_time: 2026-02-28T23:00:00.000Z",
        "amount > 1: True",
        "amount: 5.0",
        "event_time > 1000: True",
        "event_time: 2026-02-28T23:00:00.000Z",
    ]
