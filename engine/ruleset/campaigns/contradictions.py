"""Conditions that contradict themselves: what they ask of one value leaves none.

Found are comparisons of the same expression with literals, `in` and `not in` of literals, and a condition together with
its own `not`, wherever all of them are asked for at once; of an `or`, where every branch of it contradicts. A
contradiction over several expressions (`a > b and b > a`) is not looked for. What could hold is never called one.
"""

from dataclasses import dataclass, field
from typing import Final

from engine.ruleset import ir
from engine.ruleset.semantics import COMPARISONS

Value = float | str
_LOWER: Final = (">", ">=")
_UPPER: Final = ("<", "<=")


@dataclass(slots=True)
class _Asked:
    """What is asked of one expression: comparisons with literals, those it must be among, those it must not be."""

    compared: list[tuple[str, Value]] = field(default_factory=list)
    among: frozenset[Value] | None = None
    without: frozenset[Value] = frozenset()

    def copy(self) -> "_Asked":
        return _Asked(self.compared[:], self.among, self.without)

    def empty(self) -> bool:
        """Whether no value is left."""
        if self.among is not None:
            return not any(self._allows(one) for one in self.among)
        lowest = [value for op, value in self.compared if op in _LOWER]
        highest = [value for op, value in self.compared if op in _UPPER]
        if not (lowest and highest):
            return False
        least, most = max(lowest), min(highest)  # an expression is a number or text
        return bool(least > most) or (least == most and not self._allows(least))  # type: ignore[operator]

    def _allows(self, value: Value) -> bool:
        return value not in self.without and all(COMPARISONS[op](value, other) for op, other in self.compared)


def contradiction(condition: ir.Node) -> str | None:
    """The expression of which a condition asks what cannot be at once; None where none was found."""
    return _contradicts(condition, {}, set())


def _contradicts(condition: ir.Node, asked: dict[str, _Asked], held: set[str]) -> str | None:
    """The same, where others of `asked` and `held` (texts of conditions) have to hold as well."""
    asked, held = {text: one.copy() for text, one in asked.items()}, set(held)
    parts = _conjuncts(condition)
    for part in parts:
        held.add(part.text)
        text = _ask(part, asked)
        if text is not None and asked[text].empty():
            return text
    for part in parts:
        if isinstance(part, ir.Const) and not part.value:
            return part.text
        if isinstance(part, ir.Not) and part.arg.text in held:
            return part.arg.text
        if isinstance(part, ir.Or):
            found = [_contradicts(branch, asked, held) for branch in part.args]
            if None not in found:
                return found[0]
    return None


def _conjuncts(condition: ir.Node) -> list[ir.Node]:
    if not isinstance(condition, ir.And):
        return [condition]
    return [part for arg in condition.args for part in _conjuncts(arg)]


def _ask(part: ir.Node, asked: dict[str, _Asked]) -> str | None:
    """Take in what a part asks of one expression; its text, None where it asks nothing that is looked at."""
    if isinstance(part, ir.In):
        one, members = asked.setdefault(part.value.text, _Asked()), frozenset[Value](part.members)
        if part.negated:
            one.without |= members
        else:
            one.among = members if one.among is None else one.among & members
        return part.value.text
    if not isinstance(part, ir.Compare):
        return None
    op, left, right = part.op, part.left, part.right
    if isinstance(left, ir.Const):
        op, left, right = ir.FLIPPED[op], right, left
    if isinstance(left, ir.Const) or not isinstance(right, ir.Const):
        return None
    one = asked.setdefault(left.text, _Asked())
    if op == "==":
        one.among = frozenset([right.value]) if one.among is None else one.among & {right.value}
    elif op == "!=":
        one.without |= {right.value}
    else:
        one.compared.append((op, right.value))
    return left.text
