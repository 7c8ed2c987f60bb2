"""From Python's syntax tree to a checked tree of our own: the whitelist, the names and the types."""

import ast
import re
from collections.abc import Callable
from typing import Final

from engine.ruleset import build, ir
from engine.ruleset.calls import check_call
from engine.ruleset.errors import RuleError, suggest
from engine.ruleset.parser import Text, parse, refuse
from engine.ruleset.scope import Scope
from engine.ruleset.types import EVENT_TYPES, FIELD_KINDS, NUMERIC, SCORE_NAMES, SCORES, TRUTHS, Kind

_ARITHMETIC: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
}  # fmt: skip
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_WORDS: Final = {"true": 1.0, "false": 0.0}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
INTEGER_MAX: Final = 2**53  # beyond it a number is no longer exact
POWER_MAX: Final = 16
MEMBERS_MAX: Final = 300


def condition(text: Text, scope: Scope) -> ir.Node:
    """Check an expression that must be a condition. Raises `RuleError`."""
    checker = Checker(text, scope)
    tree = parse(text)
    return checker.guarded(tree, lambda: checker.condition(tree))


def value(text: Text, scope: Scope) -> ir.Node:
    """Check an expression of any kind of value. Raises `RuleError`."""
    checker = Checker(text, scope)
    tree = parse(text)
    return checker.guarded(tree, lambda: checker.node(tree))


class Checker:
    """Checks one expression."""

    def __init__(self, text: Text, scope: Scope) -> None:
        self.text = text
        self.scope = scope

    def guarded(self, tree: ast.expr, run: Callable[[], ir.Node]) -> ir.Node:
        """`run`, with an exhausted stack as an error of the rule file."""
        try:
            return run()
        except RecursionError:
            raise self.text.fail(tree, "the expression is nested too deeply") from None

    def fail(self, node: ast.AST, message: str, hint: str = "") -> RuleError:
        """A fault of a syntax node."""
        return self.text.fail(node, message, hint)

    def node(self, tree: ast.expr) -> ir.Node:
        """Check any expression."""
        match tree:
            case ast.Constant():
                return self.constant(tree)
            case ast.Name():
                return self.name(tree)
            case ast.Attribute():
                return self.attribute(tree)
            case ast.BoolOp():
                return self.boolean(tree)
            case ast.UnaryOp():
                return self.unary(tree)
            case ast.BinOp():
                return self.arithmetic(tree)
            case ast.Compare():
                return self.comparison(tree)
            case ast.IfExp():
                return self.choice(tree)
            case ast.Call():
                return check_call(self, tree)
            case ast.List() | ast.Tuple() | ast.Set():
                raise self.fail(tree, "a list can only stand right of 'in'")
        raise refuse(tree, self.text)

    def condition(self, tree: ast.expr) -> ir.Node:
        """Check an expression that must be a condition."""
        node = self.node(tree)
        if node.kind not in TRUTHS:
            hint = f"write missing({node.text}), or compare it" if isinstance(node, ir.Field) else "compare it"
            raise self.fail(tree, f"a condition is needed here, but this is {node.kind.value}", hint)
        return build.as_condition(node)

    def number(self, tree: ast.expr) -> ir.Node:
        """Check an expression that must be a number (or a condition, as 0 or 1)."""
        node = self.node(tree)
        if node.kind not in NUMERIC:
            hint = f"number({node.text}) converts it" if node.kind is Kind.STRING else ""
            raise self.fail(tree, f"a number is needed here, but this is {node.kind.value}", hint)
        return build.as_number(node)

    def string(self, tree: ast.expr) -> ir.Node:
        """Check an expression that must be text."""
        node = self.node(tree)
        if node.kind is not Kind.STRING:
            raise self.fail(tree, f"text is needed here, but this is {node.kind.value}", "quote it if it is a literal")
        return node

    def constant(self, tree: ast.Constant) -> ir.Node:
        """A literal."""
        match tree.value:
            case bool():
                return ir.Const(Kind.BOOL, float(tree.value))
            case int() if abs(tree.value) > INTEGER_MAX:
                raise self.fail(tree, "a whole number beyond 2**53 cannot be held exactly", "quote it if it is an id")
            case int() | float():
                if abs(tree.value) > 1e300:
                    raise self.fail(tree, "the number is out of range")
                return ir.Const(Kind.NUMBER, float(tree.value))
            case str() if not tree.value.isascii() and _SURROGATE.search(tree.value):
                raise self.fail(tree, "half a character (a lone surrogate) in a text")
            case str():
                return ir.Const(Kind.STRING, tree.value)
            case None:
                raise self.fail(tree, "there is no None in the rule language", "missing(x) asks for a missing value")
        raise self.fail(tree, f"this literal is not part of the rule language: {self.text.snippet(tree)}")

    def name(self, tree: ast.Name) -> ir.Node:
        """A field, a feature, `true` or `false`."""
        name = tree.id
        if name in FIELD_KINDS:
            return ir.Field(FIELD_KINDS[name], name)
        if name in self.scope.features:
            return ir.Feature(self.scope.features[name], self.scope.prefix + name)
        if name in _WORDS:
            return ir.Const(Kind.BOOL, _WORDS[name])
        if name in self.scope.hidden:
            raise self.fail(tree, self.scope.hidden[name])
        if name in ("null", "none", "nil"):
            raise self.fail(tree, f"there is no {name} in the rule language", "missing(x) asks for a missing value")
        known = [*self.scope.features, *FIELD_KINDS]
        raise self.fail(tree, f"unknown name '{name}'", suggest(name, known) or self._stray(name))

    def _stray(self, name: str) -> str:
        if name == "lists":
            return "write lists.NAME"
        return "quote it if it is text" if name.isupper() or name.islower() else ""

    def attribute(self, tree: ast.Attribute) -> ir.Node:
        """`score.anomaly` and its like: with `lists.NAME` the only dots of the language."""
        if isinstance(tree.value, ast.Name) and tree.value.id == "score":
            if tree.attr not in SCORES:
                hint = suggest(tree.attr, SCORES) or f"one of {', '.join(SCORE_NAMES)}"
                raise self.fail(tree, f"unknown score '{tree.attr}'", hint)
            if not self.scope.scores:
                raise self.fail(tree, f"{self.scope.place} cannot use a model's score")
            return ir.Score(Kind.NUMBER, tree.attr)
        if isinstance(tree.value, ast.Name) and tree.value.id == "customer":
            return self.customer(tree)
        if isinstance(tree.value, ast.Name) and tree.value.id == "lists":
            raise self.fail(tree, "a list can only stand right of 'in'", f"x in lists.{tree.attr}")
        dotted = (*SCORE_NAMES, "customer.NAME") if self.scope.customer else SCORE_NAMES
        hint = f"only {', '.join(dotted)} and lists.NAME have a dot"
        raise self.fail(tree, "attribute access is not part of the rule language", hint)

    def customer(self, tree: ast.Attribute) -> ir.Node:
        """`customer.NAME`, in campaigns."""
        known = self.scope.customer
        if not known:
            raise self.fail(tree, f"{self.scope.place} cannot look at the customer", "only campaigns can")
        if tree.attr not in known:
            hint = suggest(tree.attr, list(known)) or "docs/campaigns.md lists the names"
            raise self.fail(tree, f"unknown name 'customer.{tree.attr}'", hint)
        return ir.Customer(known[tree.attr], tree.attr)

    def boolean(self, tree: ast.BoolOp) -> ir.Node:
        """`and`, `or`."""
        args = [self.condition(arg) for arg in tree.values]
        return build.conjunction(args) if isinstance(tree.op, ast.And) else build.disjunction(args)

    def unary(self, tree: ast.UnaryOp) -> ir.Node:
        """`not`, `-`, `+`."""
        match tree.op:
            case ast.Not():
                return build.negation(self.condition(tree.operand))
            case ast.USub():
                return build.negate(self.number(tree.operand))
            case ast.UAdd():
                return self.number(tree.operand)
        raise self.fail(tree, "'~' is not part of the rule language", "write 'not'")

    def arithmetic(self, tree: ast.BinOp) -> ir.Node:
        """The arithmetic operators; powers only by a small literal."""
        op = _ARITHMETIC.get(type(tree.op))
        if op is None:
            hints = {ast.BitAnd: "write 'and'", ast.BitOr: "write 'or'", ast.BitXor: "write '**' for a power"}
            hint = hints.get(type(tree.op), "")
            raise self.fail(tree, "this operator is not part of the rule language", hint)
        left, right = self.number(tree.left), self.number(tree.right)
        if op == "**" and not (isinstance(right, ir.Const) and abs(float(right.value)) <= POWER_MAX):
            raise self.fail(tree.right, f"a power must be a literal from -{POWER_MAX} to {POWER_MAX}")
        node = build.arithmetic(op, left, right)
        if isinstance(node, ir.Const) and node.value != node.value:
            raise self.fail(tree, "this is always missing: a division by zero, or beyond all numbers")
        return node

    def choice(self, tree: ast.IfExp) -> ir.Node:
        """`a if condition else b`."""
        test, then, other = self.condition(tree.test), self.node(tree.body), self.node(tree.orelse)
        if (then.kind is Kind.STRING) != (other.kind is Kind.STRING):
            message = f"both outcomes must be of one type, but one is {then.kind.value}, the other {other.kind.value}"
            raise self.fail(tree, message)
        return build.choice(test, then, other)

    def comparison(self, tree: ast.Compare) -> ir.Node:
        """Comparisons, chained too, and `in`."""
        parts: list[ir.Node] = []
        left = tree.left
        for op, right in zip(tree.ops, tree.comparators, strict=True):
            parts.append(self.pair(tree, left, op, right))
            left = right
        return parts[0] if len(parts) == 1 else build.conjunction(parts)

    def pair(self, tree: ast.Compare, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ir.Node:
        """One comparison."""
        if isinstance(op, (ast.In, ast.NotIn)):
            return self.membership(left, isinstance(op, ast.NotIn), right)
        word = _COMPARISONS.get(type(op))
        if word is None:
            raise self.fail(tree, "'is' is not part of the rule language", "write '==', or missing(x)")
        a, b = self.node(left), self.node(right)
        if (a.kind is Kind.STRING) != (b.kind is Kind.STRING):
            said = f"{self._said(a, left)} is {a.kind.value} and {self._said(b, right)} is {b.kind.value}"
            raise self.fail(tree, f"{said}: the comparison can never hold", self._quote(a, b))
        for field_, other, place in ((a, b, right), (b, a, left)):
            if isinstance(field_, ir.Field) and field_.name == "type" and isinstance(other, ir.Const):
                self.event_type(other, place)
        return build.compare(word, a, b)

    def _said(self, node: ir.Node, tree: ast.expr) -> str:
        return self.text.snippet(tree) if not isinstance(node, ir.Const) else node.text

    def _quote(self, a: ir.Node, b: ir.Node) -> str:
        for node in (a, b):
            if isinstance(node, ir.Const) and node.kind is not Kind.STRING:
                return f"write '{node.text}' in quotes"
            if isinstance(node, ir.Const) and str(node.value).replace(".", "", 1).isdigit():
                return f"write {node.value} without quotes"
        return "number(x) converts text"

    def event_type(self, node: ir.Const, tree: ast.expr) -> None:
        """Refuse an event type that does not exist."""
        if node.value not in EVENT_TYPES:
            raise self.fail(tree, f"there is no event type '{node.value}'", suggest(str(node.value), EVENT_TYPES))

    def membership(self, left: ast.expr, negated: bool, right: ast.expr) -> ir.Node:
        """`x in [literals]`, `x in lists.NAME`."""
        node = self.node(left)
        if isinstance(right, ast.Attribute) and isinstance(right.value, ast.Name) and right.value.id == "lists":
            return self.listed(node, left, negated, right)
        if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            hint = "contains(text, part) looks inside text"
            raise self.fail(right, "'in' needs a list: [literals] or lists.NAME", hint)
        if not 0 < len(right.elts) <= MEMBERS_MAX:
            raise self.fail(right, f"a literal list has 1 to {MEMBERS_MAX} members", "longer ones belong in lists:")
        members = [self.member(node, item) for item in right.elts]
        if node.kind is not Kind.STRING:
            node = build.as_number(node)
        return build.member(node, members, negated)

    def member(self, node: ir.Node, item: ast.expr) -> ir.Const:
        """One literal of a list."""
        found = self.node(item)
        if not isinstance(found, ir.Const):
            raise self.fail(item, "a list holds literals only")
        if (found.kind is Kind.STRING) != (node.kind is Kind.STRING):
            message = f"{node.text} is {node.kind.value} and {found.text} is {found.kind.value}"
            raise self.fail(item, f"{message}: it can never be a member", self._quote(found, node))
        if isinstance(node, ir.Field) and node.name == "type":
            self.event_type(found, item)
        return found

    def listed(self, node: ir.Node, left: ast.expr, negated: bool, right: ast.Attribute) -> ir.Node:
        """Membership of a named list."""
        if self.scope.place == "a where filter":
            raise self.fail(right, "a where filter sees event fields only, not lists", "use the list in the rule")
        found = self.scope.lists.get(right.attr)
        if found is None:
            hint = suggest(right.attr, list(self.scope.lists)) or "declare it under lists:"
            raise self.fail(right, f"unknown list '{right.attr}'", hint)
        empty = not found.texts and not found.numbers  # filled while the engine runs, with text or numbers
        if not empty and found.numeric != (node.kind is not Kind.STRING):
            kind = "numbers" if found.numeric else "text"
            hint = "quote the values of the list" if found.numeric else ""
            raise self.fail(left, f"{node.text} is {node.kind.value} and lists.{right.attr} holds {kind}", hint)
        if found.networks and node.kind is Kind.STRING and isinstance(node, ir.Field) and node.name != "ip":
            raise self.fail(left, f"lists.{right.attr} holds networks; only an address can be in it", "write ip")
        if node.kind is not Kind.STRING:
            node = build.as_number(node)
        return ir.InList(Kind.COND, node, right.attr, negated, bool(found.networks))
