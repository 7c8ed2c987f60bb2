"""Which number of which rule a sweep varies, over which values: `RULE:NUMBER_OR_PARAM=from..to[:step]`."""

import math
import re
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final

from engine.ruleset import ir
from engine.ruleset.errors import suggest
from engine.ruleset.model import Rule
from engine.ruleset.ruleset import RuleSet
from engine.ruleset.types import Kind

VALUES_MAX: Final = 200
STEPS_DEFAULT: Final = 20
_DIGITS_MAX: Final = 30
_NUMBER: Final = r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_RANGE: Final = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")


class SweepError(ValueError):
    """A sweep that cannot be made; one line for its author."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A numeric literal of a condition.

    Attributes:
        path: which child of which child it is.
        value: of the literal.
        within: text of the part it stands in.
        param: what it is compared with, "" where it is not a comparison's right side.
    """

    path: tuple[int, ...]
    value: float
    within: str
    param: str


@dataclass(frozen=True, slots=True)
class Target:
    """A literal of a rule and the values to try.

    Attributes:
        rule: its index in the rule set.
        position: which numeric literal of `when`, from 1.
        path: where in the tree.
        current: its value.
        within: the part of `when` it stands in.
        values: ascending.
    """

    rule: int
    position: int
    path: tuple[int, ...]
    current: float
    within: str
    values: tuple[float, ...]


def parse(text: str, ruleset: RuleSet) -> Target:
    """Find what a sweep means. Raises `SweepError`."""
    name, colon, rest = text.partition(":")
    param, equals, span = rest.rpartition("=")
    if not colon or not equals or not name.strip() or not param.strip():
        raise SweepError(f"{text[:80]!r}: expected RULE:NUMBER_OR_PARAM=from..to[:step]")
    ids = [rule.id for rule in ruleset.rules]
    if name.strip() not in ids:
        hint = suggest(name, ids)
        raise SweepError(f"the candidate has no rule {name[:80]!r}" + (f" ({hint})" if hint else ""))
    rule = ids.index(name.strip())
    position, literal = _pick(param.strip(), literals(ruleset.rules[rule].when), ids[rule])
    return Target(rule, position, literal.path, literal.value, literal.within, _values(span.strip()))


def literals(node: ir.Node) -> list[Literal]:
    """The numeric literals of a condition, in order of its canonical text."""
    found: list[Literal] = []
    _collect(node, (), node, found)
    return found


def _collect(node: ir.Node, path: tuple[int, ...], parent: ir.Node, found: list[Literal]) -> None:
    value = node.value if isinstance(node, ir.Const) and node.kind is Kind.NUMBER else None
    if isinstance(value, float) and math.isfinite(value) and not _structural(parent, path):
        param = parent.left.text if isinstance(parent, ir.Compare) else ""
        found.append(Literal(path, value, parent.text, param))
    for place, child in enumerate(node.children()):
        _collect(child, (*path, place), node, found)


def _structural(parent: ir.Node, path: tuple[int, ...]) -> bool:
    """The digits of `round` and the power of `**`: checked when rules are loaded, so not to be varied."""
    rounds = isinstance(parent, ir.Call) and parent.name == "round"
    return (rounds or (isinstance(parent, ir.Arith) and parent.op == "**")) and path[-1:] == (1,)


def _pick(param: str, known: list[Literal], rule: str) -> tuple[int, Literal]:
    """The literal meant by `#2`, by its value, or by what it is compared with."""
    if not known:
        raise SweepError(f"rule {rule} has no number to vary in its when")
    numbered = list(enumerate(known, 1))
    listed = "; ".join(f"#{i} {ir.number_text(one.value)} in {one.within}" for i, one in numbered[:20])
    if param.startswith("#"):
        chosen = [pair for pair in numbered if str(pair[0]) == param[1:]]
    elif re.fullmatch(_NUMBER, param):
        chosen = [pair for pair in numbered if pair[1].value == float(param)]
    else:
        wanted = "".join(param.split())
        chosen = [pair for pair in numbered if "".join(pair[1].param.split()) == wanted]
    if len(chosen) == 1:
        return chosen[0]
    fault = "means several numbers" if chosen else "is no number"
    raise SweepError(f"{param[:80]} {fault} of rule {rule}; name one of: {listed}")


def _values(span: str) -> tuple[float, ...]:
    """The values of `from..to[:step]`, both ends included where the step reaches them; exact decimals."""
    match = _RANGE.fullmatch(span) if len(span) <= 3 * _DIGITS_MAX else None
    if match is None:
        raise SweepError(f"{span[:80]!r}: a range is from..to or from..to:step, of plain numbers")
    low, high = Decimal(match[1]), Decimal(match[2])
    if low >= high:
        raise SweepError(f"{span}: the range must go upwards")
    whole = low == int(low) and high == int(high) and high - low <= 2 * STEPS_DEFAULT
    step = Decimal(match[3]) if match[3] else Decimal(1) if whole else (high - low) / STEPS_DEFAULT
    if step <= 0:
        raise SweepError(f"{span}: the step must be greater than zero")
    steps = math.floor((high - low) / step)
    if steps >= VALUES_MAX:
        raise SweepError(f"{span}: {steps + 1} values; at most {VALUES_MAX}")
    return tuple(float(low + step * place) for place in range(steps + 1))


def varied(rule: Rule, target: Target, value: float) -> Rule:
    """The rule with another number in that place."""
    return replace(rule, when=_replaced(rule.when, target.path, value))


def _replaced(node: ir.Node, path: tuple[int, ...], value: float) -> ir.Node:
    """A new tree with the literal at `path` replaced; nodes off the path are kept."""
    if not path:
        assert isinstance(node, ir.Const)
        return ir.Const(node.kind, value)
    place = 0
    parts: dict[str, Any] = {}
    for name in (entry.name for entry in fields(node)):
        part = getattr(node, name)
        if isinstance(part, ir.Node):
            parts[name] = _replaced(part, path[1:], value) if place == path[0] else part
            place += 1
        elif isinstance(part, tuple) and part and isinstance(part[0], ir.Node):
            parts[name] = tuple(
                _replaced(child, path[1:], value) if place + i == path[0] else child for i, child in enumerate(part)
            )
            place += len(part)
        else:
            parts[name] = part
    made: ir.Node = type(node)(**parts)
    return made
