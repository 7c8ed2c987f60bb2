"""An expression with the value of each of its parts for one event: why a rule hit, or why it did not."""

import re
from dataclasses import dataclass

from engine.ruleset import ir
from engine.ruleset.batch import Batch
from engine.ruleset.row import Row
from engine.ruleset.ruleset import Frame, RuleSet, hit_of
from engine.ruleset.scalar import Scalar
from engine.ruleset.types import FIELD_KINDS, Kind


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
    batch = Batch(frame.columns, frame.matrix, frame.score_anomaly, frame.score_fraud)
    scalar = Scalar(ruleset.rows, ruleset.lists)
    return explain(hit_of(ruleset.rules[rule]), batch.row(row), scalar)


def detail(ruleset: RuleSet, frame: Frame, rule: int, row: int) -> str:
    """The text of a hit for the decision: `then.detail` with its `{name}` filled in, or else the description."""
    template = ruleset.rules[rule].detail
    if not template:
        return ruleset.rules[rule].description
    one = Batch(frame.columns, frame.matrix, frame.score_anomaly, frame.score_fraud).row(row)
    scalar = Scalar(ruleset.rows, ruleset.lists)

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        kind = FIELD_KINDS.get(name, Kind.NUMBER)
        node = ir.Field(kind, name) if name in FIELD_KINDS else ir.Feature(kind, name)
        value = _value(node, one, scalar)
        return "missing" if value is None else ir.number_text(value) if isinstance(value, float) else str(value)

    return re.sub(r"\{([^{}]*)\}", fill, template)


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
