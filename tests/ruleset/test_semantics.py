"""The operators and null semantics of contract section 4, one by one, over every pair of telling values."""

import math
from typing import Any

import numpy as np
import pytest

from engine.ruleset import Frame, compile
from engine.ruleset.ruleset import RuleSet
from tests.ruleset.expressions import Oracle
from tests.ruleset.helpers import columns_of, rule_file, ruleset_of
from tests.ruleset.test_evaluators import HEAD, both, build

NUMBERS = [None, 0.0, 1.0, -1.0, 2.5, -7.25, 40.0, 1e300]
TEXTS = [None, "", "a", "b", "ab"]


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "//", "%"])
def test_arithmetic(op: str) -> None:
    batch: list[dict[str, Any]] = [{"amount": a, "lat": b} for a in NUMBERS for b in NUMBERS]
    values, _ = both(build("true", f"amount {op} lat"), batch)
    for value, event in zip(values, batch, strict=True):
        wanted = Oracle(event).run(f"amount {op} lat")
        assert math.isnan(value) if wanted is None else value == wanted, event


@pytest.mark.parametrize("op", ["<", "<=", ">", ">=", "==", "!="])
def test_comparisons(op: str) -> None:
    batch: list[dict[str, Any]] = [{"amount": a, "lat": b} for a in NUMBERS for b in NUMBERS]
    _, hits = both(build(f"amount {op} lat", "1"), batch)
    assert hits == [Oracle(event).run(f"amount {op} lat") for event in batch]
    batch = [{"ip": a, "merchant_id": b} for a in TEXTS for b in TEXTS]
    _, hits = both(build(f"ip {op} merchant_id", "1"), batch)
    assert hits == [Oracle(event).run(f"ip {op} merchant_id") for event in batch]


@pytest.mark.parametrize(
    ("when", "hit"),
    [
        ("ip == 'x'", False),
        ("not (ip == 'x')", True),
        ("ip != 'x'", False),
        ("ip in ['x']", False),
        ("ip not in ['x']", False),
        ("ip in lists.nets", False),
        ("ip not in lists.nets", False),
        ("amount != 1", False),
        ("amount not in [1]", False),
        ("amount - amount == 0", False),
        ("not amount > 1", True),
        ("three_ds", False),
        ("not three_ds", True),
        ("three_ds == false", False),
        ("three_ds == three_ds", False),
        ("1 < amount < 3", False),
        ("missing(amount)", True),
        ("missing(amount + 1)", True),
        ("missing(lower(ip))", True),
        ("missing(three_ds)", True),
        ("missing(f_number)", True),
        ("not missing(amount)", False),
        ("coalesce(amount, 5) == 5", True),
        ("coalesce(ip, 'none') == 'none'", True),
        ("number(three_ds) == 0", False),
        ("number(amount > 1) == 0", True),
        ("startswith(ip, '1')", False),
        ("not startswith(ip, '1')", True),
        ("matches(ip, '.')", False),
        ("min(amount, 1) == 1", False),
        ("(1 if amount > 1 else 2) == 2", True),
        ("score.anomaly < 2", False),
        ("score.fraud >= 0", False),
        ("score.fraud_top <= 1", False),
        ("score.anomaly_top <= 1", False),
        ("hour(timezone) >= 0", False),
        ("hour() == 12 and weekday() == 3", True),
        ("hour('Asia/Tokyo') == 21", True),
        ("hour(event_time) == 12 and hour(event_time, 'Asia/Tokyo') == 21", True),
        ("event_time == 1767268800000", True),
        ("type == 'payment.requested'", True),
    ],
)
def test_missing_values(when: str, hit: bool) -> None:
    for size in (1, 12):
        ruleset = ruleset_of(HEAD + rule_file(when, rule="then: {score: 1}"))
        columns = columns_of([{}] * size)
        matrix = ruleset.derive(columns, _nan(len(ruleset.features), size))
        assert ruleset.evaluate(Frame(columns, matrix)).matrix[0].tolist() == [hit] * size, when


def _nan(rows: int, n: int) -> Any:
    return np.full((rows, n), np.nan)


def _hits(ruleset: RuleSet, rows: list[dict[str, Any]]) -> list[bool]:
    wide = rows + [{}] * 12
    columns = columns_of(wide)
    found = ruleset.evaluate(Frame(columns, _nan(len(ruleset.rows), len(wide)))).matrix[0].tolist()[: len(rows)]
    for index in range(len(rows)):
        one = columns.take(np.array([index]))
        assert ruleset.evaluate(Frame(one, _nan(len(ruleset.rows), 1))).matrix[0, 0] == found[index]
    return list(found)


def test_networks_are_found_however_the_address_is_written() -> None:
    head = "lists: {nets: {values: ['203.0.113.0/24', '2001:db8::/32', '198.51.100.7']}}"
    ruleset = ruleset_of(rule_file("ip in lists.nets", head))
    addresses = ["203.0.113.255", "203.0.114.0", "::ffff:203.0.113.9", "2001:DB8:0::5", "198.51.100.7", "x", "", None]
    hits = _hits(ruleset, [{"ip": address} for address in addresses])
    assert hits == [True, False, True, True, True, False, False, False]
    negated = _hits(ruleset_of(rule_file("ip not in lists.nets", head)), [{"ip": address} for address in addresses])
    assert negated == [False, True, False, False, False, True, True, False]


def test_an_empty_list_holds_nothing() -> None:
    head = "lists: {empty: {values: []}}"
    rows: list[dict[str, Any]] = [{"ip": "1.1.1.1", "amount": 5.0}, {}]
    assert _hits(ruleset_of(rule_file("ip in lists.empty", head)), rows) == [False, False]
    assert _hits(ruleset_of(rule_file("amount not in lists.empty", head)), rows) == [True, False]


def test_distance_between_paris_and_berlin() -> None:
    ruleset = ruleset_of(rule_file("877 < distance_km(lat, lon, 52.52, 13.405) < 879"))
    assert _hits(ruleset, [{"lat": 48.8566, "lon": 2.3522}, {"lat": 52.52, "lon": 13.405}]) == [True, False]


def test_regular_expressions_take_linear_time() -> None:
    ruleset = ruleset_of(rule_file("matches(merchant_id, '^(a+)+$')"))
    assert _hits(ruleset, [{"merchant_id": "a" * 5_000 + "b"}, {"merchant_id": "aaa"}]) == [False, True]


def test_half_a_character_in_an_event_is_no_fault() -> None:
    ruleset = ruleset_of(rule_file("matches(lower(merchant_id), '^a.b$')"))
    columns = columns_of([{"merchant_id": "x"}] * 12)
    for event in columns.events:
        event.merchant_id = "A\ud800B"
    assert ruleset.evaluate(Frame(columns, _nan(len(ruleset.rows), 12))).matrix[0].all()


def test_a_negative_zero_never_leaves_a_derived_feature() -> None:
    ruleset = compile({"t.yaml": "features: [{name: d, expr: '-amount * 0'}]"})
    columns = columns_of([{"amount": 5.0}] * 12)
    matrix = ruleset.derive(columns, _nan(len(ruleset.features), 12))
    assert [math.copysign(1, value) for value in matrix[ruleset.rows["d"]]] == [1.0] * 12


def test_scores_are_read_by_name_one_by_one_and_together() -> None:
    names = ("score_anomaly", "score_fraud", "top_anomaly", "top_fraud")
    for place, name in enumerate(("anomaly", "fraud", "anomaly_top", "fraud_top")):
        ruleset = ruleset_of(rule_file(f"score.{name} <= 0.3", rule="then: {score: 1}"))
        for size in (1, 40):
            values = {of: np.full(size, 0.9) for of in names}
            values[names[place]] = np.linspace(0.2, 0.5, size)
            values[names[place]][-1] = np.nan if size > 1 else 0.2
            frame = Frame(columns_of([{}] * size), _nan(len(ruleset.rows), size), **values)
            expected = (values[names[place]] <= 0.3).tolist()
            assert ruleset.evaluate(frame).matrix[0].tolist() == expected
            assert True in expected
