"""An expression with the value of each of its parts for one event: why a rule hit, or why it did not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.domain.times import rfc3339
from engine.ruleset import ir, templates
from engine.ruleset.hits import hit_of
from engine.ruleset.model import Rule
from engine.ruleset.row import Row
from engine.ruleset.ruleset import Frame, RuleSet
from engine.ruleset.scalar import Scalar
from engine.ruleset.types import EVENT_TIME, Kind
from engine.ruleset.verdict import Verdicts

IN_FORCE: Final = "in_force"
SET_ASIDE: Final = "set_aside"
SHADOWED: Final = "shadow"
HIT: Final = "hit"
MISS: Final = "miss"
_CASTS: Final[dict[str, Callable[[float], float | bool]]] = {"int": int, "bool": bool, "number": float}


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

    def data(self) -> dict[str, Any]:
        """The tree as JSON data: `node`, `value` (null for missing) and, where it has any, `parts`."""
        found: dict[str, Any] = {"node": self.text, "value": self.value}
        if self.parts:
            found["parts"] = [part.data() for part in self.parts]
        return found


def explain_hit(ruleset: RuleSet, frame: Frame, rule: Rule, row: int) -> Step:
    """Why a rule of the set, or an observer, hit an event of a frame, or why it did not: its whole condition, `unless`
    included."""
    scalar = Scalar(ruleset.rows, ruleset.lists)
    return explain(hit_of(rule), frame.batch().row(row), scalar)


def explanation(
    ruleset: RuleSet, frame: Frame, row: int, verdicts: Verdicts, *, everything: bool = False
) -> dict[str, Any]:
    """Why the decision on one event of a frame is what it is, as JSON data.

    `rules` and `observers` are those that hit, with `everything` all. Each has `rule`, `file`, `line`, `mode`,
    `outcome` (of a rule: in_force, set_aside by one that allows, shadow, for a snooze or canary too, or miss; of an
    observer: hit or miss), `condition` (`Step.data`) and `features`: what it read, null for missing.
    """
    one = frame.batch().row(row)
    scalar = Scalar(ruleset.rows, ruleset.lists)

    def entry(rule: Rule, outcome: str, tree: Step) -> dict[str, Any]:
        return {
            "rule": rule.id,
            "file": rule.file,
            "line": rule.line,
            "mode": rule.mode,
            "outcome": outcome,
            "reason": rule.reason,
            "condition": tree.data(),
            "features": {name: feature_value(ruleset, name, one.features) for name in rule.uses},
        }

    rules, observers = [], []
    for index, rule in enumerate(ruleset.rules):
        outcome = outcome_of(verdicts, row, index)
        if everything or outcome != MISS:
            rules.append(entry(rule, outcome, explain(hit_of(rule), one, scalar)))
    for rule in ruleset.observers:
        tree = explain(hit_of(rule), one, scalar)
        hit = tree.value is True and (rule.on or frame.columns.decides[row])
        if everything or hit:
            observers.append(entry(rule, HIT if hit else MISS, tree))
    return {"ruleset": ruleset.hash, "rules": rules, "observers": observers}


def feature_value(ruleset: RuleSet, name: str, values: Sequence[float]) -> float | bool | None:
    """A feature as JSON has it, of a column of the feature matrix; None for missing."""
    place = ruleset.rows[name]
    value = values[place]
    if value != value:
        return None
    return _CASTS[ruleset.kinds[place]](value)


def outcome_of(verdicts: Verdicts, row: int, rule: int) -> str:
    """What came of a rule: `IN_FORCE`, `SET_ASIDE`, `SHADOWED` or `MISS`."""
    if rule in verdicts.reasons[row]:
        return IN_FORCE
    if rule in verdicts.rules[row]:
        return SET_ASIDE
    return SHADOWED if rule in verdicts.shadow[row] else MISS


def detail(ruleset: RuleSet, frame: Frame, rule: int, row: int) -> str:
    """The text of a hit for the decision: `then.detail` with its `{name}` filled in, or else the description."""
    template = ruleset.rules[rule].detail
    return templates.fill(ruleset, frame.batch(), row, template) if template else ruleset.rules[rule].description


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
    if isinstance(node, ir.Field) and node.name == EVENT_TIME:
        return rfc3339(int(number))
    return bool(number) if node.kind is Kind.BOOL else number
