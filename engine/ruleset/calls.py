"""Checking what looks like a call: functions of the registry, the builtins, and inline aggregates."""

import ast
from typing import TYPE_CHECKING

from engine.domain.limits import KEY_CHARS_MAX
from engine.features.definition import AGGREGATES
from engine.ruleset import build, ir
from engine.ruleset.errors import suggest
from engine.ruleset.functions import BUILTINS, INTERNAL, REGISTRY, Function
from engine.ruleset.types import EVENT_TIME, FIELD_KINDS, NUMERIC, Kind

if TYPE_CHECKING:
    from engine.ruleset.check import Checker

ARGUMENTS_MAX = 32


def check_call(checker: "Checker", tree: ast.Call) -> ir.Node:
    """Check a call. Raises `RuleError`."""
    if not isinstance(tree.func, ast.Name):
        if isinstance(tree.func, ast.Attribute):
            message = "methods are not part of the rule language"
            raise checker.fail(tree.func, message, f"write {tree.func.attr}(x)" if tree.func.attr in REGISTRY else "")
        raise checker.fail(tree.func, "only functions can be called")
    name = tree.func.id
    if tree.keywords and name in AGGREGATES:
        if checker.scope.aggregate is None:
            raise checker.fail(tree, f"{checker.scope.place} cannot hold an aggregate", "event fields only")
        return checker.scope.aggregate(checker, tree)
    if name not in REGISTRY and name not in BUILTINS:
        raise _unknown(checker, tree, name)
    if tree.keywords:
        raise checker.fail(tree.keywords[0], f"{name} takes no named arguments")
    for arg in tree.args:
        if isinstance(arg, ast.Starred):
            raise checker.fail(arg, "unpacking is not part of the rule language")
    if len(tree.args) > ARGUMENTS_MAX:
        raise checker.fail(tree, f"more than {ARGUMENTS_MAX} arguments")
    return _builtin(checker, tree, name) if name in BUILTINS else _function(checker, tree, REGISTRY[name])


def _unknown(checker: "Checker", tree: ast.Call, name: str) -> Exception:
    if name in AGGREGATES:
        hint = f"{name}(by=customer, window='24h')" if not AGGREGATES[name].of else \
            f"{name}(of=…, by=customer, window='24h')"  # fmt: skip
        return checker.fail(tree, f"the aggregate {name} needs by= (and window=)", hint)
    known = sorted({*REGISTRY, *BUILTINS, *AGGREGATES})
    return checker.fail(tree.func, f"unknown function '{name}'", suggest(name, known))


def _builtin(checker: "Checker", tree: ast.Call, name: str) -> ir.Node:
    wanted = {"coalesce": len(tree.args), "lookup": 2}.get(name, 1)
    if not tree.args or len(tree.args) != wanted:
        raise checker.fail(tree, f"{name} is called as {BUILTINS[name][0]}")
    nodes = [checker.node(arg) for arg in tree.args]
    match name:
        case "missing":
            return build.FALSE if nodes[0].kind is Kind.COND or isinstance(nodes[0], ir.Const) else \
                ir.Missing(Kind.COND, nodes[0])  # fmt: skip
        case "metadata":
            return _metadata(checker, tree, nodes[0])
        case "lookup":
            return _lookup(checker, tree, nodes)
        case "coalesce":
            return _coalesce(checker, tree, nodes)
        case "number" if nodes[0].kind is Kind.STRING:
            return _fold(checker, tree, ir.Call(Kind.NUMBER, "number", (nodes[0],), False), INTERNAL["number"])
        case "number":
            node = build.as_number(nodes[0])
            return node if node.kind is Kind.NUMBER else ir.Arith(Kind.NUMBER, "+", node, ir.Const(Kind.NUMBER, 0.0))
    if nodes[0].kind is Kind.STRING:
        raise checker.fail(tree.args[0], "bool takes a number, but this is text", "compare it")
    if nodes[0].kind in (Kind.BOOL, Kind.COND):
        return nodes[0]
    return _fold(checker, tree, ir.Call(Kind.BOOL, "bool", (nodes[0],), True), INTERNAL["bool"])


def _metadata(checker: "Checker", tree: ast.Call, key: ir.Node) -> ir.Node:
    if not isinstance(key, ir.Const) or not isinstance(key.value, str):
        raise checker.fail(tree.args[0], "the key of metadata must be a literal", "metadata('ip_type')")
    if not 0 < len(key.value) <= KEY_CHARS_MAX:
        raise checker.fail(tree.args[0], f"a key of metadata has 1 to {KEY_CHARS_MAX} characters")
    return ir.Metadata(Kind.STRING, key.value)


def _lookup(checker: "Checker", tree: ast.Call, nodes: list[ir.Node]) -> ir.Node:
    table, key = nodes
    tables = checker.scope.tables
    if checker.scope.place == "a where filter":
        raise checker.fail(tree, "a where filter sees event fields only, not tables", "use the table in the rule")
    if not isinstance(table, ir.Const) or not isinstance(table.value, str):
        raise checker.fail(tree.args[0], "the table of lookup must be a literal", "lookup('table', key)")
    if table.value not in tables:
        hint = suggest(table.value, list(tables)) or "declare it under tables:"
        raise checker.fail(tree.args[0], f"unknown table '{table.value}'", hint)
    if key.kind is not Kind.STRING:
        raise checker.fail(tree.args[1], f"a table is looked up by text, but this is {key.kind.value}", "quote it")
    if isinstance(key, ir.Const):
        found = tables[table.value].get(str(key.value))
        if found is None:
            hint = suggest(str(key.value), list(tables[table.value]))
            raise checker.fail(tree.args[1], f"the table '{table.value}' has nothing for '{key.value}'", hint)
        return ir.Const(Kind.STRING, found)
    return ir.Lookup(Kind.STRING, table.value, key, tables[table.value])


def _coalesce(checker: "Checker", tree: ast.Call, nodes: list[ir.Node]) -> ir.Node:
    for node, arg in zip(nodes, tree.args, strict=True):
        if (node.kind is Kind.STRING) != (nodes[0].kind is Kind.STRING):
            message = f"coalesce needs one type, but {nodes[0].text} is {nodes[0].kind.value} and {node.text} is "
            raise checker.fail(arg, message + node.kind.value)
    kind, nodes = build.unify(nodes)
    useful: list[ir.Node] = []
    for node in nodes:
        useful.append(node)
        if isinstance(node, (ir.Const, ir.AsNumber)):
            break  # never missing, so what follows is never reached
    return useful[0] if len(useful) == 1 else ir.Coalesce(kind, tuple(useful))


def _function(checker: "Checker", tree: ast.Call, function: Function) -> ir.Node:
    args = [checker.node(arg) for arg in tree.args]
    fields = function.fields
    if function.name in ("hour", "weekday") and (not args or args[0].kind is Kind.STRING):
        fields = (EVENT_TIME,)  # the event's own time where none is given
    if function.rated and checker.scope.place == "a where filter":
        raise checker.fail(tree, "a where filter has no exchange rates", "amount_base is in the base currency")
    args[:0] = [ir.Field(FIELD_KINDS[name], name) for name in fields]
    trees: list[ast.expr] = [*[tree.func] * len(fields), *tree.args]
    params = list(function.params)
    if params and params[-1].repeated:
        params += [params[-1]] * (len(args) - len(params))
    needed = sum(not param.optional for param in function.params)
    if not needed <= len(args) <= len(params):
        raise checker.fail(tree, f"{function.name} is called as {function.signature}")
    literals: list[float | str | None] = []
    for position, (param, arg, place) in enumerate(zip(params, args, trees, strict=False)):
        wanted = NUMERIC if param.kind is Kind.NUMBER else (param.kind,)
        if arg.kind not in wanted:
            message = f"{param.name} of {function.name} must be {param.kind.value}, but this is {arg.kind.value}"
            raise checker.fail(place, message)
        if param.constant and not isinstance(arg, ir.Const):
            raise checker.fail(place, f"{param.name} of {function.name} must be a literal")
        args[position] = build.as_number(arg) if param.kind is Kind.NUMBER else arg
        literals.append(arg.value if isinstance(arg, ir.Const) else None)
    if function.check is not None:
        try:
            function.check(*literals)
        except ValueError as fault:
            raise checker.fail(trees[-1] if trees else tree, str(fault)) from None
    plain = all(p.kind is Kind.NUMBER and not p.constant for p, _ in zip(params, args, strict=False))
    call = ir.Call(function.result, function.name, tuple(args), plain and function.vector is not None)
    return _fold(checker, tree, call, function)


def _fold(checker: "Checker", tree: ast.Call, call: ir.Call, function: Function) -> ir.Node:
    values = [arg.value for arg in call.args if isinstance(arg, ir.Const)]
    if len(values) < len(call.args) or function.rated:
        return call
    found = function.scalar(*values)
    if found is None or found != found:
        raise checker.fail(tree, "this is always missing: the function has no value here")
    return ir.Const(call.kind, found if isinstance(found, str) else float(found))
