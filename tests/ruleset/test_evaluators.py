"""Both evaluators against each other and against the naive oracle, over random expressions and columns with holes."""

import json
import math
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.domain.rates import Rates
from engine.ruleset import Frame, RuleErrors, RuleSet, compile
from engine.ruleset.ruleset import ROWS_SCALAR_MAX
from tests.ruleset.expressions import (
    BOOLS,
    CURRENCIES,
    LISTS,
    METADATA,
    NUMBERS,
    RATES,
    STRINGS,
    TABLES,
    TEXTS,
    Oracle,
    bool_expr,
    number_expr,
)  # fmt: skip
from tests.ruleset.helpers import columns_of

HEAD = f"""
tables: {json.dumps(TABLES)}
lists: {json.dumps({name: {"values": values} for name, values in LISTS.items()})}
features:
  - {{name: f_number, agg: sum, of: amount, by: customer, window: 1d}}
  - {{name: g_number, agg: count, by: customer, window: 1d}}
  - {{name: f_bool, agg: is_new, of: device_id, by: customer, window: 1d}}
"""
REFUSED = ("always missing", "has nothing for", "not a currency in use", "is not a date", "parts", "deeper")
rates_in_force = Rates("EUR", RATES)
number = st.none() | st.sampled_from([0.0, 1.0, -1.0, 2.5, 40.0, 0.1, 1e300, -7.25])
row = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS, number)
    | {name: st.none() | st.sampled_from(TEXTS) for name in STRINGS}
    | {name: st.none() | st.booleans() for name in BOOLS}
    | {"metadata": METADATA, "currency": st.none() | st.sampled_from(list(CURRENCIES))}
    | {"timezone": st.sampled_from([None, "Europe/Berlin", "Nowhere/At_All"])}
)
rows = st.lists(row, min_size=ROWS_SCALAR_MAX + 1, max_size=ROWS_SCALAR_MAX + 6)


def build(when: str, derived: str) -> RuleSet:
    """A rule and a derived feature; discards what is always missing, which the compiler refuses."""
    text = HEAD + f"  - {{name: d, expr: {json.dumps(derived)}}}\n"
    text += f"rules: [{{id: r, when: {json.dumps(when)}, then: {{decision: review}}}}]\n"
    try:
        return compile({"t.yaml": text})
    except RuleErrors as errors:
        lines = errors.lines()
        assert all(any(words in line for words in REFUSED) for line in lines), lines
        assume(False)
        raise


def base_matrix(batch: list[dict[str, Any]], ruleset: RuleSet) -> np.ndarray:
    """The aggregates' values as given in the rows."""
    names = [definition.name for definition in ruleset.features]
    values = [[math.nan if row.get(name) is None else float(row[name]) for row in batch] for name in names]
    return np.array(values, np.float64)


def both(ruleset: RuleSet, batch: list[dict[str, Any]]) -> tuple[list[float], list[bool]]:
    """Derived value and hit of every row; asserts that columns and single rows say the same, bit for bit."""
    columns, base = columns_of(batch), base_matrix(batch, ruleset)
    matrix = ruleset.derive(columns, base, rates=rates_in_force)
    hits = ruleset.evaluate(Frame(columns, matrix, rates=rates_in_force)).matrix[0]
    place = ruleset.rows["d"]
    for index in range(len(batch)):
        one = columns.take(np.array([index]))
        single = ruleset.derive(one, base[:, [index]], rates=rates_in_force)
        assert single[place].tobytes() == matrix[place, [index]].tobytes() or (
            np.isnan(single[place, 0]) and np.isnan(matrix[place, index])
        ), (index, single[place, 0], matrix[place, index])
        assert ruleset.evaluate(Frame(one, single, rates=rates_in_force)).matrix[0, 0] == hits[index], index
    return matrix[place].tolist(), hits.tolist()


@settings(max_examples=150, deadline=None)
@given(when=bool_expr(3, True), derived=number_expr(3, True), batch=rows)
def test_evaluators_agree_with_each_other_and_with_the_oracle(
    when: str, derived: str, batch: list[dict[str, Any]]
) -> None:
    ruleset = build(when, derived)
    values, hits = both(ruleset, batch)
    for index, event in enumerate(batch):
        oracle = Oracle(event)
        wanted = oracle.run(derived)
        assert math.isnan(values[index]) if wanted is None else values[index] == float(wanted), (derived, event)
        assert hits[index] == oracle.run(f"True and ({when})"), (when, event)


@settings(max_examples=150, deadline=None)
@given(when=bool_expr(3, False), derived=number_expr(3, False), batch=rows)
def test_evaluators_agree_on_transcendental_functions(when: str, derived: str, batch: list[dict[str, Any]]) -> None:
    values, hits = both(build(when, derived), batch)
    assert all(math.isfinite(value) or math.isnan(value) for value in values)
    assert len(hits) == len(batch)


@settings(max_examples=60, deadline=None)
@given(when=bool_expr(2, True), unless=bool_expr(2, True), batch=rows, decides=st.integers(0, 2**14))
def test_unless_sets_a_hit_aside_and_only_decisions_are_hit(
    when: str, unless: str, batch: list[dict[str, Any]], decides: int
) -> None:
    text = HEAD + f"rules: [{{id: r, when: {json.dumps(when)}, unless: {json.dumps(unless)}, then: {{score: 1}}}}]\n"
    try:
        ruleset = compile({"t.yaml": text})
    except RuleErrors:
        assume(False)
        raise
    columns = columns_of(batch)
    columns.decides[:] = [decides >> index & 1 for index in range(len(batch))]
    matrix = ruleset.derive(columns, base_matrix(batch, ruleset), rates=rates_in_force)
    hits = ruleset.evaluate(Frame(columns, matrix, rates=rates_in_force)).matrix[0]
    for index, event in enumerate(batch):
        oracle = Oracle(event)
        wanted = oracle.run(f"True and ({when})") and not oracle.run(f"True and ({unless})")
        assert hits[index] == (wanted and bool(columns.decides[index])), (when, unless, event)


def test_rules_that_share_parts_do_not_disturb_each_other() -> None:
    text = (
        HEAD
        + """
rules:
  - {id: a, when: "amount / lat > 2 and amount > 1", then: {score: 1}}
  - {id: b, when: "amount / lat > 2 and amount > 30", then: {score: 1}}
  - {id: c, when: "amount / lat > 2", then: {score: 1}}
  - {id: d, when: "lower(ip) == 'a' and amount / lat > 2", then: {score: 1}}
  - {id: e, when: "lower(ip) == 'a'", then: {score: 1}}
"""
    )
    ruleset = compile({"t.yaml": text})
    batch = [{"amount": float(i * 10), "lat": 4.0, "ip": "A" if i % 2 else "b"} for i in range(12)]
    matrix = np.zeros((3, 12))
    hits = ruleset.evaluate(Frame(columns_of(batch), matrix)).matrix
    ratio = [i * 10 / 4 > 2 for i in range(12)]
    assert hits[0].tolist() == ratio
    assert hits[1].tolist() == [r and i * 10 > 30 for i, r in enumerate(ratio)]
    assert hits[2].tolist() == ratio
    assert hits[3].tolist() == [r and i % 2 == 1 for i, r in enumerate(ratio)]
    assert hits[4].tolist() == [i % 2 == 1 for i in range(12)]
