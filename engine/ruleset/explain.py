"""An expression with the value of each of its parts for one event: why a rule hit, or why it did not."""

from dataclasses import dataclass

from engine.ruleset import ir
from engine.ruleset.scalar import Row, Scalar
from engine.ruleset.types import Kind


@dataclass(frozen=True, slots=True)
class Step:
    """One part of an expression: its text, its value (None for missing) and its own parts."""

    text: str
    value: float | str | bool | None
    parts: tuple["Step", ...] = ()

    def lines(self, depth: int = 0) -> list[str]:
        """The tree as indented lines, one a part; literals are left out."""
        value = "missing" if self.value is None else self.value
        found = [f"{'  ' * depth}{self.text}: {value}"]
        for part in self.parts:
            found.extend(part.lines(depth + 1))
        return found


def explain(node: ir.Node, row: Row, scalar: Scalar) -> Step:
    """The tree of values of a checked expression for one event."""
    parts = tuple(explain(child, row, scalar) for child in node.children() if not isinstance(child, ir.Const))
    return Step(node.text, _value(node, row, scalar), parts)


def _value(node: ir.Node, row: Row, scalar: Scalar) -> float | str | bool | None:
    if node.kind is Kind.COND:
        return scalar.condition(node)(row)
    if node.kind is Kind.STRING:
        return scalar.text(node)(row)
    number = scalar.number(node)(row)
    if number != number:
        return None
    return bool(number) if node.kind is Kind.BOOL else number
