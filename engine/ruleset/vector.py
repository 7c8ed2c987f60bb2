"""The evaluator of a micro-batch: checked trees become closures over columns.

Numbers and booleans are float64 with NaN for missing, strings are 64-bit hashes with 0 for missing, conditions are
bool. Work that several rules share is done once a batch. Parts that read characters run last, row by row, and only
for the rows that are still in question.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.ruleset import ir, vector_ops
from engine.ruleset.batch import Batch
from engine.ruleset.functions import find
from engine.ruleset.lists import ListState, ValueList
from engine.ruleset.scalar import Scalar, implementation
from engine.ruleset.semantics import COMPARISONS
from engine.ruleset.types import Kind
from engine.ruleset.vector_ops import HashesOf, Mask, MaskOf, NumbersOf, TextsOf

ROWS_SHARE: Final = 6  # rows in question, at most 1 of so many: then one by one is faster than columns


class Vector:
    """Compiles nodes for one rule set.

    Args:
        rows: feature name to its row of the matrix.
        lists: the value lists.
        roots: every tree that will be compiled; parts that occur more than once among them are shared.
    """

    def __init__(self, rows: Mapping[str, int], lists: Mapping[str, ValueList], roots: Iterable[ir.Node] = ()) -> None:
        self.rows = rows
        self.lists = lists
        self.scalar = Scalar(rows, lists)
        self._uses: dict[str, int] = {}
        for root in roots:
            self._count(root)

    def _count(self, node: ir.Node) -> None:
        key = f"{node.kind.name} {node.text}"
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] == 1:
            for child in node.children():
                self._count(child)

    def _shared(self, node: ir.Node, run: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
        key = f"{node.kind.name} {node.text}"
        if self._uses.get(key, 0) < 2 or isinstance(node, (ir.Const, ir.Field, ir.Feature, ir.Score)):
            return run

        def remembered(batch: Batch) -> Any:
            memo = batch.memo
            found = memo.get(key)
            if found is None:
                found = memo[key] = run(batch)
            return found

        return remembered

    def number(self, node: ir.Node) -> NumbersOf:
        """A number or boolean: float64 `(n,)`, or a float of a literal."""
        return self._shared(node, self._number(node))

    def _number(self, node: ir.Node) -> NumbersOf:
        match node:
            case ir.Const():
                constant = float(node.value)
                return lambda batch: constant
            case ir.Field():
                return vector_ops.number_field(node.name)
            case ir.Feature():
                index = self.rows[node.name]
                return lambda batch: batch.matrix[index]
            case ir.Score():
                score = node.name
                return lambda batch: batch.score(score)
            case ir.Negate():
                arg = self.number(node.arg)
                return lambda batch: np.negative(arg(batch))
            case ir.AsNumber():
                holds = self.condition(node.arg)
                return lambda batch: holds(batch).astype(np.float64)
            case ir.Arith():
                return vector_ops.arithmetic(
                    vector_ops.ARITHMETIC[node.op], self.number(node.left), self.number(node.right)
                )
            case ir.If():
                test, then, other = self.condition(node.test), self.number(node.then), self.number(node.other)
                return lambda batch: np.where(test(batch), then(batch), other(batch))
            case ir.Coalesce():
                return vector_ops.first([self.number(arg) for arg in node.args], np.isnan)
            case ir.Call() if node.vectorised:
                function, args = find(node.name).vector, [self.number(arg) for arg in node.args]
                if function is not None:
                    return vector_ops.call(function, args)
            case ir.Call():
                values = self.values(node)
                return lambda batch: np.array([math.nan if v is None else v for v in values(batch)], np.float64)
        raise TypeError(f"not a number: {node.text}")

    def condition(self, node: ir.Node) -> MaskOf:
        """A condition: bool `(n,)`. The array may be shared: it must not be written to."""
        return self._shared(node, self._condition(node))

    def _condition(self, node: ir.Node) -> MaskOf:
        match node:
            case ir.Const():
                constant = bool(node.value)
                return lambda batch: np.full(batch.n, constant)
            case ir.Truth():
                arg = self.number(node.arg)
                return lambda batch: arg(batch) == 1.0
            case ir.Not():
                holds = self.condition(node.arg)
                return lambda batch: ~holds(batch)
            case ir.And():
                return self.every(node.args)
            case ir.Or():
                return self.any(node.args)
            case ir.Compare():
                return self.compare(node)
            case ir.In():
                return self.member(node)
            case ir.InList():
                return self.listed(node)
            case ir.Missing():
                return self.missing(node.arg)
            case ir.Call():
                values = self.values(node)
                return lambda batch: np.array([bool(v) for v in values(batch)], np.bool_)
        raise TypeError(f"not a condition: {node.text}")

    def every(self, args: Iterable[ir.Node]) -> MaskOf:
        """`and`: stops where no row is left; what reads characters comes last, for the rows that are left."""
        parts = list(args)
        fast = [self.condition(arg) for arg in parts if not arg.slow]
        slow = [(self.condition(arg), self.scalar.condition(arg)) for arg in parts if arg.slow]
        count = np.count_nonzero

        def run(batch: Batch) -> Mask:
            """Where all hold: parts that read characters are asked row by row once few rows are left."""
            if fast:
                mask = fast[0](batch)
                for part in fast[1:]:
                    if not count(mask):
                        return mask
                    mask = mask & part(batch)
            else:
                mask = np.ones(batch.n, np.bool_)
            for columns, single in slow:
                left = np.flatnonzero(mask)
                if len(left) * ROWS_SHARE > batch.n:
                    mask = mask & columns(batch)
                elif len(left):
                    mask = mask.copy()
                    for row in left.tolist():
                        mask[row] = single(batch.row(row))
            return mask

        return run

    def any(self, args: Iterable[ir.Node]) -> MaskOf:
        """`or`."""
        parts = [self.condition(arg) for arg in sorted(args, key=lambda arg: arg.slow)]

        def run(batch: Batch) -> Mask:
            mask = parts[0](batch)
            for part in parts[1:]:
                mask = mask | part(batch)
            return mask

        return run

    def hash(self, node: ir.Node) -> HashesOf:
        """A string that is read, not computed: uint64 `(n,)`, 0 where missing; or the hash of a literal."""
        match node:
            case ir.Const():
                constant = np.uint64(hash64(str(node.value)))
                return lambda batch: constant
            case ir.Field():
                index = STRING_INDEX[node.name]
                return lambda batch: batch.strings[index]
            case ir.If():
                test, then, other = self.condition(node.test), self.hash(node.then), self.hash(node.other)
                return lambda batch: np.where(test(batch), then(batch), other(batch))
            case ir.Coalesce():
                return vector_ops.first([self.hash(arg) for arg in node.args], lambda hashes: hashes == 0)
        raise TypeError(f"no hash of {node.text}")

    def texts(self, node: ir.Node) -> TextsOf:
        """Any string: its text row by row, None where missing."""
        if isinstance(node, (ir.Field, ir.Metadata)):
            name = node.name
            return lambda batch: batch.texts(name)
        if isinstance(node, ir.Lookup):
            content, keys = node.content, self.texts(node.key)
            return lambda batch: [None if key is None else content.get(key) for key in keys(batch)]
        if isinstance(node, ir.Const):
            constant = str(node.value)
            return lambda batch: [constant] * batch.n
        if isinstance(node, ir.Call):
            return self._shared(node, self.values(node))
        single = self.scalar.text(node)
        return lambda batch: [single(batch.row(row)) for row in range(batch.n)]

    def values(self, node: ir.Call) -> Callable[[Batch], list[Any]]:
        """A function of characters, row by row: None where an argument is missing."""
        function, args = implementation(node)
        columns: list[Callable[[Batch], list[Any]]] = [
            self.texts(arg) if arg.kind is Kind.STRING else vector_ops.listed(self.number(arg)) for arg in args
        ]
        if find(node.name).rated:
            return lambda batch: vector_ops.each(partial(function, batch.rates), [column(batch) for column in columns])
        if len(columns) == 1:
            only = columns[0]
            return lambda batch: [None if x is None or x != x else function(x) for x in only(batch)]
        return lambda batch: vector_ops.each(function, [column(batch) for column in columns])

    def compare(self, node: ir.Compare) -> MaskOf:
        """A comparison, false where an operand is missing."""
        if node.left.kind is not Kind.STRING:
            if isinstance(node.right, ir.Const):
                return vector_ops.compare_with(node.op, self.number(node.left), float(node.right.value))
            return vector_ops.compare_numbers(node.op, self.number(node.left), self.number(node.right))
        if node.as_text:
            op, a, b = COMPARISONS[node.op], self.texts(node.left), self.texts(node.right)
            return lambda batch: np.array(
                [x is not None and y is not None and op(x, y) for x, y in zip(a(batch), b(batch), strict=True)],
                np.bool_,
            )
        one, two = self.hash(node.left), self.hash(node.right)
        if node.op == "==":
            if isinstance(node.right, ir.Const):
                constant = np.array(hash64(str(node.right.value)), np.uint64)
                return lambda batch: np.equal(one(batch), constant)
            return lambda batch: (one(batch) == (y := two(batch))) & (y != 0)
        return lambda batch: ((x := one(batch)) != (y := two(batch))) & (x != 0) & (y != 0)

    def member(self, node: ir.In) -> MaskOf:
        """Membership of a literal list."""
        if node.value.kind is not Kind.STRING:
            return vector_ops.among_numbers(self.number(node.value), np.array(node.members, np.float64), node.negated)
        if node.value.by_text:
            texts = frozenset(node.members)
            return vector_ops.among_texts(self.texts(node.value), lambda text: text in texts, node.negated)
        return vector_ops.among_hashes(self.hash(node.value), [hash64(str(m)) for m in node.members], node.negated)

    def listed(self, node: ir.InList) -> MaskOf:
        """Membership of a named list, as declared or as control events left it."""
        declared, changed, name = self._declared(node), self._changed(node), node.name

        def run(batch: Batch) -> Mask:
            state = batch.lists.get(name) if batch.lists else None
            return declared(batch) if state is None else changed(batch, state)

        return run

    def _declared(self, node: ir.InList) -> MaskOf:
        found = self.lists[node.name]
        if node.value.kind is not Kind.STRING:
            return vector_ops.among_numbers(self.number(node.value), np.array(found.numbers, np.float64), node.negated)
        if node.networks or node.value.by_text:
            return vector_ops.among_texts(self.texts(node.value), found.has_text, node.negated)
        return vector_ops.among_hashes(self.hash(node.value), list(found.hashes), node.negated)

    def _changed(self, node: ir.InList) -> Callable[[Batch, ListState], Mask]:
        if node.value.kind is not Kind.STRING:
            number = self.number(node.value)
            return lambda batch, state: vector_ops.until(number(batch), state.number_columns, batch, node.negated)
        texts = self.texts(node.value)
        if node.value.by_text:
            return lambda batch, state: vector_ops.among_state(texts(batch), state, batch, node.negated)
        hashes = self.hash(node.value)
        return lambda batch, state: (
            vector_ops.among_state(texts(batch), state, batch, node.negated) if state.networks else
            vector_ops.until(hashes(batch), state.hash_columns, batch, node.negated))  # fmt: skip

    def missing(self, node: ir.Node) -> MaskOf:
        """`missing(x)`."""
        if node.kind is not Kind.STRING:
            number = self.number(node)
            return lambda batch: np.isnan(number(batch))
        if node.by_text:
            texts = self.texts(node)
            return lambda batch: np.array([text is None for text in texts(batch)], np.bool_)
        hashes = self.hash(node)
        return lambda batch: hashes(batch) == 0
