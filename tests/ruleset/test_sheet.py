"""Conditions, amounts and suspicions of campaigns in halves, over the columns of a batch, against the whole trees."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.ruleset import Frame, RuleErrors, RuleSet, compile
from engine.ruleset.ruleset import ROWS_SCALAR_MAX
from tests.ruleset.expressions import bool_expr, number_expr
from tests.ruleset.helpers import columns_of
from tests.ruleset.test_evaluators import HEAD, base_matrix, rates_in_force, rows

SHAPES = (
    "{event} and customer.payments >= 2",
    "customer.muted or ({event})",
    "not ({event} and customer.muted) and currency != customer.country",
    "({event}) and (customer.payments > 1 or {other}) and not customer.muted",
    "{event} and {other}",
    "customer.payments > 1",
)
AMOUNTS = ("{number}", "({number}) * coalesce(customer.spend_28d, 2)", "customer.spend_28d if {event} else {number}")
customer = st.fixed_dictionaries(
    {
        "payments": st.sampled_from([None, 0.0, 1.0, 2.0, 40.0]),
        "muted": st.sampled_from([None, True, False]),
        "country": st.sampled_from([None, "EUR", "DE", ""]),
        "spend_28d": st.sampled_from([None, 0.0, 12.5, -3.0]),
    }
)


def build(when: str, amount: str) -> RuleSet:
    """A campaign; discards what the compiler refuses, such as what is always missing."""
    text = (
        HEAD
        + f"""
campaigns:
  - id: c
    on: payment.settled
    when: {json.dumps(when)}
    then: {{reward: points, amount: {json.dumps(amount)}}}
    caps: [{{times: 1}}]
    abuse: {{accounts_per_device: 1, refund_cycling: off, new_account: {{days: 7, accounts_per_device: 1}}}}
"""
    )
    try:
        return compile({"t.yaml": text})
    except RuleErrors:
        assume(False)
        raise


@settings(max_examples=150, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    amount=st.sampled_from(AMOUNTS),
    event=bool_expr(2, False),
    other=bool_expr(2, False),
    number=number_expr(2, False),
    batch=rows,
    who=customer,
)
def test_the_halves_of_a_tree_are_the_whole(
    shape: str, amount: str, event: str, other: str, number: str, batch: list[dict[str, Any]], who: dict[str, Any]
) -> None:
    ruleset = build(shape.format(event=event, other=other), amount.format(number=number, event=event))
    conditions, columns = ruleset.conditions, columns_of(batch)
    names = [definition.name for definition in ruleset.features]
    matrix = base_matrix([{**dict.fromkeys(names, 2.0), **row} for row in batch], ruleset)
    seen = Frame(columns, matrix, rates=rates_in_force).batch()
    sheet = conditions.sheet(seen)
    assert sheet is not None
    with np.errstate(all="ignore"):
        may = conditions.may(0, seen).tolist()
    for index in range(columns.n):
        whole, half = seen.row(index), sheet.row(index)
        whole.customer = half.customer = {**who, "tenure_days": 3.0}.get
        assert (may[index] and conditions.holds(0, half)) == conditions.holds(0, whole), (shape, event, other)
        assert conditions.amount(0, half) == conditions.amount(0, whole), (amount, number)
        assert conditions.suspected(0, half) == conditions.suspected(0, whole)


def test_a_part_that_reads_no_event_is_a_column_too() -> None:
    ruleset = build("not (0 in lists.nums) and customer.payments >= 2", "1")
    columns = columns_of([{"amount": 3.0, "currency": "EUR"}] * 3)
    seen = Frame(columns, np.zeros((len(ruleset.rows), columns.n))).batch()
    assert ruleset.conditions.may(0, seen).tolist() == [True] * 3


def test_a_row_of_a_sheet_is_read_when_somebody_asks_for_more_than_columns() -> None:
    ruleset = build("customer.payments >= 1", "1")
    columns = columns_of([{"amount": 3.0, "currency": "EUR"}] * (ROWS_SCALAR_MAX + 1))
    seen = Frame(columns, np.zeros((len(ruleset.rows), columns.n))).batch()
    sheet = ruleset.conditions.sheet(seen)
    assert sheet is not None
    row = sheet.row(1)
    assert row.text("currency") == "EUR"
    assert (row.numbers, row.strings) == (seen.row(1).numbers, seen.row(1).strings)
    with pytest.raises(AttributeError):
        row.nothing_of_the_kind  # noqa: B018
    small = columns.take(np.arange(ROWS_SCALAR_MAX))
    assert ruleset.conditions.sheet(Frame(small, np.zeros((len(ruleset.rows), small.n))).batch()) is None
