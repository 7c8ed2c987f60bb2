"""Makes nodes: flattens, converts and folds what is constant, so that the evaluators need not."""

from collections.abc import Sequence

from engine.ruleset import ir, semantics
from engine.ruleset.types import TRUTHS, Kind

TRUE = ir.Const(Kind.COND, 1.0)
FALSE = ir.Const(Kind.COND, 0.0)


def _truth(value: bool) -> ir.Const:
    return TRUE if value else FALSE


def as_condition(node: ir.Node) -> ir.Node:
    """A boolean or condition as a condition: missing becomes false."""
    if node.kind is Kind.COND:
        return node
    if isinstance(node, ir.Const):
        return _truth(node.value == 1.0)
    return ir.Truth(Kind.COND, node)


def as_number(node: ir.Node) -> ir.Node:
    """A number, boolean or condition as a number. Booleans are held as numbers already."""
    if node.kind is Kind.COND:
        return ir.Const(Kind.NUMBER, node.value) if isinstance(node, ir.Const) else ir.AsNumber(Kind.NUMBER, node)
    if isinstance(node, ir.Const) and node.kind is Kind.BOOL:
        return ir.Const(Kind.NUMBER, node.value)
    return node


def negate(node: ir.Node) -> ir.Node:
    """Unary minus."""
    return ir.Const(Kind.NUMBER, -float(node.value)) if isinstance(node, ir.Const) else ir.Negate(Kind.NUMBER, node)


def negation(node: ir.Node) -> ir.Node:
    """Logical not."""
    if isinstance(node, ir.Const):
        return _truth(not node.value)
    return node.arg if isinstance(node, ir.Not) else ir.Not(Kind.COND, node)


def conjunction(nodes: Sequence[ir.Node]) -> ir.Node:
    """`and`, flattened; literals folded away."""
    parts: list[ir.Node] = []
    for node in nodes:
        for part in node.args if isinstance(node, ir.And) else (node,):
            if isinstance(part, ir.Const):
                if not part.value:
                    return FALSE
            else:
                parts.append(part)
    if not parts:
        return TRUE
    return parts[0] if len(parts) == 1 else ir.And(Kind.COND, tuple(parts))


def disjunction(nodes: Sequence[ir.Node]) -> ir.Node:
    """`or`, flattened; literals folded away."""
    parts: list[ir.Node] = []
    for node in nodes:
        for part in node.args if isinstance(node, ir.Or) else (node,):
            if isinstance(part, ir.Const):
                if part.value:
                    return TRUE
            else:
                parts.append(part)
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else ir.Or(Kind.COND, tuple(parts))


def arithmetic(op: str, left: ir.Node, right: ir.Node) -> ir.Node:
    """An arithmetic operator over numbers; NaN as a constant means it is always missing."""
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(Kind.NUMBER, semantics.ARITHMETIC[op](float(left.value), float(right.value)))
    return ir.Arith(Kind.NUMBER, op, left, right)


def compare(op: str, left: ir.Node, right: ir.Node) -> ir.Node:
    """A comparison; a literal goes to the right."""
    if left.kind is not Kind.STRING:
        left, right = as_number(left), as_number(right)
    if isinstance(left, ir.Const):
        if isinstance(right, ir.Const):
            return _truth(semantics.COMPARISONS[op](left.value, right.value))
        op, left, right = ir.FLIPPED[op], right, left
    return ir.Compare(Kind.COND, op, left, right)


def member(node: ir.Node, members: Sequence[ir.Const], negated: bool) -> ir.Node:
    """Membership of a literal list; members sorted, each once."""
    if node.kind is Kind.STRING:
        texts = tuple(sorted({str(m.value) for m in members}))
        if isinstance(node, ir.Const):
            return _truth((node.value in texts) != negated)
        return ir.In(Kind.COND, node, texts, negated)
    numbers = tuple(sorted({float(m.value) for m in members}))
    if isinstance(node, ir.Const):
        return _truth((float(node.value) in numbers) != negated)
    return ir.In(Kind.COND, node, numbers, negated)


def unify(nodes: Sequence[ir.Node]) -> tuple[Kind, list[ir.Node]]:
    """Nodes of one type class as one kind: text, or booleans where all are, or numbers."""
    if nodes[0].kind is Kind.STRING:
        return Kind.STRING, list(nodes)
    kind = Kind.BOOL if all(node.kind in TRUTHS for node in nodes) else Kind.NUMBER
    return kind, [as_number(node) for node in nodes]


def choice(test: ir.Node, then: ir.Node, other: ir.Node) -> ir.Node:
    """`then if test else other`."""
    if isinstance(test, ir.Const):
        return then if test.value else other
    kind, (then, other) = unify([then, other])
    return ir.If(kind, test, then, other)
