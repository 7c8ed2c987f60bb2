"""An expression with the value of each of its parts for one event: why a rule hit, or why it did not."""

from dataclasses import dataclass

from engine.ruleset import ir, templates
from engine.ruleset.hits import hit_of
from engine.ruleset.row import Row
from engine.ruleset.ruleset import Frame, RuleSet
from engine.ruleset.scalar import Scalar
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


def explain_rule(ruleset: RuleSet, frame: Frame, rule: int, row: int) -> Step:
    """Why a rule hit an event of a frame, or why it did not: its whole condition, `unless` included."""
    scalar = Scalar(ruleset.rows, ruleset.lists)
    return explain(hit_of(ruleset.rules[rule]), frame.batch().row(row), scalar)


def detail(ruleset: RuleSet, frame: Frame, rule: int, row: int) -> str:
    """The text of a hit for the decision: `then.detail` with its `{name}` filled in, or else the description."""
    template = ruleset.rules[rule].detail
    return templates.fill(ruleset, frame, row, template) if template else ruleset.rules[rule].description


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
