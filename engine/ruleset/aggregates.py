"""Features as definitions: declared in YAML or written inside an expression, shared where they mean the same."""

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from engine.domain.durations import format_duration
from engine.domain.fields import ENTITY_FIELDS
from engine.features.definition import AGGREGATES, OF_FIELDS, FeatureDef, FeatureLimits, Filter, validate
from engine.ruleset import ir
from engine.ruleset.errors import RuleError, suggest
from engine.ruleset.filters import compile_filter
from engine.ruleset.parser import Text
from engine.ruleset.types import Kind, parse_window

if TYPE_CHECKING:
    from engine.ruleset.check import Checker

LIMITS: Final = FeatureLimits()
FEATURES_MAX: Final = LIMITS.features_max
_ENTITY_ORDER: Final = {name: i for i, name in enumerate(ENTITY_FIELDS)}
_ARGUMENTS: Final = ("of", "by", "window", "where")


def kind_of(agg: str) -> Kind:
    """The kind of an aggregate's value."""
    return Kind.BOOL if AGGREGATES[agg].kind == "bool" else Kind.NUMBER


def canonical(definition: FeatureDef) -> str:
    """An aggregate as an author would write it inside an expression, always in the same way."""
    words = [f"of={definition.of}"] if definition.of else []
    by = definition.by
    words.append(f"by={by[0]}" if len(by) == 1 else f"by=[{', '.join(by)}]")
    if definition.window_ms is not None:
        words.append(f"window='{format_duration(definition.window_ms)}'")
    if definition.where is not None:
        words.append(f"where={ir.string_text(definition.where.text)}")
    return f"{definition.agg}({', '.join(words)})"


def sorted_entities(by: tuple[str, ...]) -> tuple[str, ...]:
    """Entities in their one order, so that `[customer, card]` and `[card, customer]` share state."""
    return tuple(sorted(by, key=lambda name: _ENTITY_ORDER.get(name, 99)))


class Catalogue:
    """The features of a rule set: declared ones first, inline ones as they are met."""

    def __init__(self) -> None:
        self.features: list[FeatureDef] = []
        self.kinds: dict[str, Kind] = {}
        self._by_identity: dict[str, str] = {}
        self._positions: dict[str, int] = {}

    def declare(self, definition: FeatureDef) -> None:
        """Add a declared feature. Raises `ValueError` where it is one feature too many."""
        self._add(definition)

    def inline(self, checker: "Checker", tree: ast.Call) -> ir.Node:
        """The node of an inline aggregate; it becomes a feature unless one like it exists. Raises `RuleError`."""
        definition = from_call(checker, tree)
        name = self._by_identity.get(definition.identity)
        if name is None:
            try:
                self._add(definition)
            except ValueError as fault:
                raise checker.fail(tree, str(fault)) from None
            name = definition.name
        return ir.Feature(kind_of(definition.agg), name)

    def find(self, definition: FeatureDef) -> str | None:
        """The name of a feature that means the same, None where there is none."""
        return self._by_identity.get(definition.identity)

    def position(self, name: str) -> int:
        """The place of a feature among `features`; -1 where its declaration was faulty."""
        return self._positions.get(name, -1)

    def _add(self, definition: FeatureDef) -> None:
        if len(self.features) >= FEATURES_MAX:
            raise ValueError(f"more than {FEATURES_MAX} features")
        self._positions[definition.name] = len(self.features)
        self.features.append(definition)
        self.kinds[definition.name] = kind_of(definition.agg)
        self._by_identity.setdefault(definition.identity, definition.name)


def from_call(checker: "Checker", tree: ast.Call) -> FeatureDef:
    """The definition an inline aggregate means. Raises `RuleError`."""
    agg = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if tree.args:
        raise checker.fail(tree.args[0], f"the arguments of the aggregate {agg} are named", "of=, by=, window=, where=")
    given: dict[str, ast.expr] = {}
    for keyword in tree.keywords:
        name = keyword.arg or "**"
        if name not in _ARGUMENTS:
            raise checker.fail(keyword, f"unknown argument '{name}' of {agg}", suggest(name, _ARGUMENTS))
        if name in given:
            raise checker.fail(keyword, f"argument '{name}' stands twice")
        given[name] = keyword.value
    if "by" not in given:
        raise checker.fail(tree, f"the aggregate {agg} needs by=", "by=customer")
    by = _names(checker, given["by"])
    of = _names(checker, given["of"])[0] if "of" in given else None
    window_ms = _window(checker, given["window"]) if "window" in given else None
    where = _where(checker, given["where"]) if "where" in given else None
    try:
        return define("", agg, by, of, window_ms, where)
    except ValueError as fault:
        place = given.get(str(fault.args[1]) if len(fault.args) > 1 else "", tree)
        raise checker.fail(place, str(fault.args[0])) from None


def define(
    name: str, agg: str, by: tuple[str, ...], of: str | None, window_ms: int | None, where: Filter | None
) -> FeatureDef:
    """A checked definition; an empty `name` becomes the canonical text.

    Raises `ValueError(line for the author, the argument at fault)`.
    """
    aggregate = AGGREGATES[agg]
    for entity in by:
        if entity not in ENTITY_FIELDS:
            near = suggest(entity, list(ENTITY_FIELDS)) or f"one of {', '.join(ENTITY_FIELDS)}"
            raise ValueError(f"unknown entity '{entity}' in by; {near}", "by")
    if aggregate.of and of is not None:
        fields = OF_FIELDS[aggregate.of]
        if of not in fields:
            wanted = f"a {aggregate.of} field".replace("string", "text")
            near = suggest(of, list(fields)) or f"one of {', '.join(fields)}"
            raise ValueError(f"{agg} needs {wanted} of the event, not '{of}'; {near}", "of")
    if aggregate.labels and where is not None:
        raise ValueError(f"{agg} takes no where: it is over arrived labels, not over events", "where")
    definition = FeatureDef("?", agg, sorted_entities(by), of, window_ms, where)
    try:
        validate(definition, LIMITS)
    except ValueError as fault:
        raise ValueError(str(fault).removeprefix("feature ?: "), "agg") from None
    return FeatureDef(name or canonical(definition), agg, definition.by, of, window_ms, where)


def _names(checker: "Checker", tree: ast.expr) -> tuple[str, ...]:
    items = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
    names = []
    for item in items:
        if isinstance(item, ast.Name):
            names.append(item.id)
        elif isinstance(item, ast.Constant) and isinstance(item.value, str):
            names.append(item.value)
        else:
            raise checker.fail(item, "a name is needed here")
    if not names:
        raise checker.fail(tree, "by must name at least one entity")
    return tuple(names)


def _window(checker: "Checker", tree: ast.expr) -> int:
    if not isinstance(tree, ast.Constant) or not isinstance(tree.value, str):
        raise checker.fail(tree, "a window is a quoted literal such as '10m' or '24h'")
    try:
        return parse_window(tree.value)
    except ValueError as fault:
        raise checker.fail(tree, str(fault)) from None


def _where(checker: "Checker", tree: ast.expr) -> Filter:
    if not isinstance(tree, ast.Constant) or not isinstance(tree.value, str):
        raise checker.fail(tree, "where is an expression in quotes", "where=\"type == 'payment.declined'\"")
    start, _ = checker.text.span(tree)
    return filter_of(Text(checker.text.scalar, tree.value, start + 1, checker.text), checker.scope.features)


def filter_of(text: Text, features: Iterable[str] = ()) -> Filter:
    """A checked and compiled `where`; `features` exist, but it must not name them. Raises `RuleError`."""
    from engine.ruleset.check import condition
    from engine.ruleset.scope import Scope

    hidden = {name: f"'{name}' is a feature, and a where filter sees event fields only" for name in features}
    node = condition(text, Scope(place="a where filter", hidden=hidden))
    return Filter(node.text, compile_filter(node))


__all__ = ["Catalogue", "RuleError", "canonical", "define", "filter_of", "from_call", "kind_of", "sorted_entities"]
