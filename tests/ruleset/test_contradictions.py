"""What is called a contradiction holds for no value, found by trying them; of literals on a value none is missed."""

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ruleset import ir
from engine.ruleset.campaigns.contradictions import contradiction
from engine.ruleset.semantics import COMPARISONS
from engine.ruleset.types import Kind

NAMES = ("amount", "lat")
LITERALS = [0.0, 1.0, 2.0]
TRIED = [math.nan, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0]

name = st.sampled_from([ir.Field(Kind.NUMBER, one) for one in NAMES])
literal = st.sampled_from([ir.Const(Kind.NUMBER, one) for one in LITERALS])
op = st.sampled_from(ir.COMPARISONS)
compared = st.one_of(
    st.builds(lambda a, o, b: ir.Compare(Kind.COND, o, a, b), name, op, literal),
    st.builds(lambda a, o, b: ir.Compare(Kind.COND, o, b, a), name, op, literal),
    st.builds(
        lambda a, members, negated: ir.In(Kind.COND, a, tuple(members), negated),
        name, st.lists(st.sampled_from(LITERALS), min_size=1, max_size=2), st.booleans(),
    ),
)  # fmt: skip


def together(kind: type, parts: st.SearchStrategy[ir.Node]) -> st.SearchStrategy[ir.Node]:
    return st.lists(parts, min_size=2, max_size=5).map(lambda found: kind(Kind.COND, tuple(found)))


anything = st.recursive(
    compared,
    lambda inner: st.one_of(
        together(ir.And, inner), together(ir.Or, inner), inner.map(lambda one: ir.Not(Kind.COND, one))
    ),
    max_leaves=12,
)


def value(node: ir.Node, row: dict[str, float]) -> float | str:
    return node.value if isinstance(node, ir.Const) else row[node.text]


def holds(node: ir.Node, row: dict[str, float]) -> bool:
    if isinstance(node, ir.Compare):
        return COMPARISONS[node.op](value(node.left, row), value(node.right, row))
    if isinstance(node, ir.In):
        found = value(node.value, row)
        return found == found and (found in node.members) != node.negated
    if isinstance(node, ir.Not):
        return not holds(node.arg, row)
    parts = [holds(one, row) for one in node.children()]
    return all(parts) if isinstance(node, ir.And) else any(parts)


def possible(node: ir.Node) -> bool:
    return any(holds(node, dict(zip(NAMES, row, strict=True))) for row in product(TRIED, repeat=len(NAMES)))


@settings(max_examples=600, deadline=None)
@given(anything)
def test_no_condition_that_could_hold_is_called_a_contradiction(node: ir.Node) -> None:
    if contradiction(node) is not None:
        assert not possible(node), node.text


@settings(max_examples=600, deadline=None)
@given(together(ir.And, compared))
def test_what_literals_ask_of_one_value_is_missed_by_none(node: ir.Node) -> None:
    assert (contradiction(node) is None) == possible(node), node.text


@pytest.mark.parametrize("times", [2, 3])
def test_texts_are_compared_as_texts(times: int) -> None:
    field = ir.Field(Kind.STRING, "currency")
    parts = tuple(ir.Compare(Kind.COND, "==", field, ir.Const(Kind.STRING, f"C{i % 2}")) for i in range(times))
    assert contradiction(ir.And(Kind.COND, parts)) == "currency"
    assert contradiction(ir.And(Kind.COND, parts[::2])) is None
