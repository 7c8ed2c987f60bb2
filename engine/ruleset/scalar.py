"""The evaluator of one event: checked trees become Python closures over a `Row`.

Used where a batch is too small for columns to pay, for the few rows that reach a rule's slow conditions, for in-file
tests and for explanations. Equal to `engine.ruleset.vector` value by value.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.ruleset import ir
from engine.ruleset import row as row_ops
from engine.ruleset.functions import find
from engine.ruleset.lists import ListState, ValueList
from engine.ruleset.row import NAN, HashOf, Holds, NumberOf, Row, TextOf
from engine.ruleset.semantics import ARITHMETIC, COMPARISONS
from engine.ruleset.types import SCORE_INDEX, Kind


class Scalar:
    """Compiles nodes for one rule set.

    Args:
        rows: feature name to its row of the matrix.
        lists: the value lists.
    """

    def __init__(self, rows: Mapping[str, int], lists: Mapping[str, ValueList]) -> None:
        self.rows = rows
        self.lists = lists

    def number(self, node: ir.Node) -> NumberOf:
        """A number or boolean: a float, NaN where missing."""
        match node:
            case ir.Const():
                constant = float(node.value)
                return lambda row: constant
            case ir.Field():
                return row_ops.number_field(node.name)
            case ir.Feature():
                index = self.rows[node.name]
                return lambda row: row.features[index]
            case ir.Score():
                place = SCORE_INDEX[node.name]
                return lambda row: row.scores[place]
            case ir.Customer():
                known = node.name
                return lambda row: NAN if (value := row.customer(known)) is None else float(value)
            case ir.Negate():
                arg = self.number(node.arg)
                return lambda row: -arg(row)
            case ir.AsNumber():
                holds = self.condition(node.arg)
                return lambda row: 1.0 if holds(row) else 0.0
            case ir.Arith():
                return row_ops.binary(ARITHMETIC[node.op], self.number(node.left), self.number(node.right))
            case ir.If():
                test, then, other = self.condition(node.test), self.number(node.then), self.number(node.other)
                return lambda row: then(row) if test(row) else other(row)
            case ir.Coalesce():
                return row_ops.first_number([self.number(arg) for arg in node.args])
            case ir.Call():
                call = self.call(node)
                return lambda row: NAN if (value := call(row)) is None else value
        raise TypeError(f"not a number: {node.text}")

    def condition(self, node: ir.Node) -> Holds:
        """A condition: true or false."""
        match node:
            case ir.Const():
                constant = bool(node.value)
                return lambda row: constant
            case ir.Truth():
                arg = self.number(node.arg)
                return lambda row: arg(row) == 1.0
            case ir.Not():
                holds = self.condition(node.arg)
                return lambda row: not holds(row)
            case ir.And():
                return row_ops.every([self.condition(arg) for arg in node.args])
            case ir.Or():
                return row_ops.either([self.condition(arg) for arg in node.args])
            case ir.Compare():
                return self.compare(node)
            case ir.In():
                return self.member(node)
            case ir.InList():
                return self.listed(node)
            case ir.Missing():
                return self.missing(node.arg)
            case ir.Call():
                call = self.call(node)
                return lambda row: bool(call(row))
        raise TypeError(f"not a condition: {node.text}")

    def hash(self, node: ir.Node) -> HashOf:
        """A string that is read, not computed: its hash, 0 where missing."""
        match node:
            case ir.Const():
                constant = hash64(str(node.value))
                return lambda row: constant
            case ir.Field():
                index = STRING_INDEX[node.name]
                return lambda row: row.strings[index]
            case ir.If():
                test, then, other = self.condition(node.test), self.hash(node.then), self.hash(node.other)
                return lambda row: then(row) if test(row) else other(row)
            case ir.Coalesce():
                return row_ops.first_hash([self.hash(arg) for arg in node.args])
        raise TypeError(f"no hash of {node.text}")

    def text(self, node: ir.Node) -> TextOf:
        """Any string: its text, None where missing."""
        match node:
            case ir.Const():
                constant = str(node.value)
                return lambda row: constant
            case ir.Field() | ir.Metadata():
                name = node.name
                return lambda row: row.text(name)
            case ir.Customer():
                known = node.name
                return lambda row: None if (value := row.customer(known)) is None else str(value)
            case ir.Lookup():
                content, key = node.content, self.text(node.key)
                return lambda row: None if (x := key(row)) is None else content.get(x)
            case ir.If():
                test, then, other = self.condition(node.test), self.text(node.then), self.text(node.other)
                return lambda row: then(row) if test(row) else other(row)
            case ir.Coalesce():
                return row_ops.first_text([self.text(arg) for arg in node.args])
            case ir.Call():
                return self.call(node)
        raise TypeError(f"not text: {node.text}")

    def compare(self, node: ir.Compare) -> Holds:
        """A comparison, false where an operand is missing."""
        op = COMPARISONS[node.op]
        if node.left.kind is not Kind.STRING:
            left = self.number(node.left)
            if isinstance(node.right, ir.Const):
                constant = float(node.right.value)
                return lambda row: op(left(row), constant)
            right = self.number(node.right)
            return lambda row: op(left(row), right(row))
        if node.as_text:
            a, b = self.text(node.left), self.text(node.right)
            return lambda row: (x := a(row)) is not None and (y := b(row)) is not None and op(x, y)
        one, two = self.hash(node.left), self.hash(node.right)
        if node.op == "==":
            return lambda row: (x := one(row)) == two(row) and x != 0
        return lambda row: (x := one(row)) != (y := two(row)) and x != 0 and y != 0

    def member(self, node: ir.In) -> Holds:
        """Membership of a literal list."""
        negated = node.negated
        if node.value.kind is not Kind.STRING:
            numbers, number = frozenset(node.members), self.number(node.value)
            return lambda row: (x := number(row)) == x and (x in numbers) != negated
        if node.value.by_text:
            texts, text = frozenset(node.members), self.text(node.value)
            return lambda row: (x := text(row)) is not None and (x in texts) != negated
        hashes, hashed = frozenset(hash64(str(m)) for m in node.members), self.hash(node.value)
        return lambda row: (x := hashed(row)) != 0 and (x in hashes) != negated

    def listed(self, node: ir.InList) -> Holds:
        """Membership of a named list, as declared or as control events left it."""
        declared, changed, name = self._declared(node), self._changed(node), node.name

        def run(row: Row) -> bool:
            state = row.lists.get(name) if row.lists else None
            return declared(row) if state is None else changed(row, state)

        return run

    def _declared(self, node: ir.InList) -> Holds:
        found, negated = self.lists[node.name], node.negated
        if node.value.kind is not Kind.STRING:
            numbers, number = frozenset(found.numbers), self.number(node.value)
            return lambda row: (x := number(row)) == x and (x in numbers) != negated
        if node.networks or node.value.by_text:
            has, text = found.has_text, self.text(node.value)
            return lambda row: (x := text(row)) is not None and has(x) != negated
        hashes, hashed = found.hashes, self.hash(node.value)
        return lambda row: (x := hashed(row)) != 0 and (x in hashes) != negated

    def _changed(self, node: ir.InList) -> Callable[[Row, ListState], bool]:
        negated = node.negated
        if node.value.kind is not Kind.STRING:
            number = self.number(node.value)
            return lambda row, state: (x := number(row)) == x and (
                row.time_ms < state.numbers.get(x, -math.inf)) != negated  # fmt: skip
        text = self.text(node.value)
        return lambda row, state: (x := text(row)) is not None and state.has_text(x, row.time_ms) != negated

    def missing(self, node: ir.Node) -> Holds:
        """`missing(x)`."""
        if node.kind is not Kind.STRING:
            number = self.number(node)
            return lambda row: (x := number(row)) != x
        if node.by_text:
            text = self.text(node)
            return lambda row: text(row) is None
        hashed = self.hash(node)
        return lambda row: hashed(row) == 0

    def call(self, node: ir.Call) -> Callable[[Row], Any]:
        """A function over present arguments; None where one is missing."""
        function, args = implementation(node)
        getters: list[Callable[[Row], Any]] = [
            self.text(arg) if arg.kind is Kind.STRING else self.number(arg) for arg in args
        ]
        if find(node.name).rated:
            return self._rated(function, getters)
        if len(getters) == 1:
            only = getters[0]
            return lambda row: None if (x := only(row)) is None or x != x else function(x)

        def call(row: Row) -> Any:
            values = [getter(row) for getter in getters]
            for value in values:
                if value is None or value != value:
                    return None
            return function(*values)

        return call

    @staticmethod
    def _rated(function: Callable[..., Any], getters: list[Callable[[Row], Any]]) -> Callable[[Row], Any]:
        """A function of the exchange rates and present arguments."""

        def call(row: Row) -> Any:
            values = [getter(row) for getter in getters]
            return None if any(x is None or x != x for x in values) else function(row.rates, *values)

        return call


def implementation(node: ir.Call) -> tuple[Callable[..., Any], tuple[ir.Node, ...]]:
    """The function of a call over the arguments that are evaluated; prepared literals are bound already."""
    function = find(node.name)
    if function.prepare is None:
        return function.scalar, node.args
    bound, free = [], []
    for param, arg in zip(function.params, node.args, strict=True):
        if param.constant and isinstance(arg, ir.Const):
            bound.append(arg.value)
        else:
            free.append(arg)
    return function.prepare(*bound), tuple(free)
