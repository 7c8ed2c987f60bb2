"""One entry of `rules:`, read and checked."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from engine.ruleset import ir, observers, templates
from engine.ruleset.build import FALSE
from engine.ruleset.check import condition
from engine.ruleset.errors import Faults, suggest
from engine.ruleset.model import ANY, CANARY, LIVE, MODES, ON_DEGRADED, OUTCOMES, SKIP, Case, Rule
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.scope import Scope
from engine.ruleset.types import parse_moment
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

RULE_KEYS: Final = (
    "id", "description", "owner", "when", "unless", "then", "hard", "mode", "tests", "enabled", "tags",
    "valid_from", "valid_to", "on", "unless_followed_by", "on_degraded",
)  # fmt: skip
THEN_KEYS: Final = ("decision", "score", "reason", "allow", "detail")
ID: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
SCORE_MAX: Final = 100.0
TESTS_MAX: Final = 100
_CANARY: Final = re.compile(r"canary\s*:\s*([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")

CaseReader = Callable[[Mapping, str], Case]
"""Reads a test, given the event type of one that names none."""
UsesOf = Callable[[ir.Node], dict[str, int]]


def rule_id(reader: Reader) -> str:
    """The id of a rule. Raises `RuleError`."""
    found, node = reader.text("id"), reader.need("id")
    if not ID.fullmatch(found):
        raise fail(node, f"'{found}' is not a rule id", "lower-case letters, digits and _, at most 64")
    return found


def read_rule(
    name: str, reader: Reader, scope: Scope, uses_of: UsesOf, case: CaseReader, faults: Faults
) -> tuple[Rule, bool]:
    """A rule, one that decides or one that observes, and whether it is enabled.

    What is wrong with it goes to `faults`, all of it; with a fault the rule is of no use.
    """
    then = faults.take(lambda: mapping(reader.need("then"), "'then'"), None)
    observes = then is not None and observers.is_observer(then)
    on = faults.take(lambda: observers.types_of(reader, observes), (ANY,)) if then is not None else ()
    rule = _common(name, reader, scope, uses_of, lambda test: case(test, observers.example(on)), faults)
    if then is not None:
        read = observers.read if observes else _decides
        rule = read(rule, on, reader, then, scope, faults)
    return rule, faults.take(lambda: reader.flag("enabled", True), True)


def _common(
    name: str, reader: Reader, scope: Scope, uses_of: UsesOf, case: Callable[[Mapping], Case], faults: Faults
) -> Rule:
    """What every rule has, so far without effect."""
    take, known = faults.take, len(faults.found)
    when = take(lambda: _condition(reader, "when", scope), FALSE)
    unless = take(lambda: _condition(reader, "unless", scope), FALSE) if reader.has("unless") else None
    sound = len(faults.found) == known  # else tests may name aggregates of a condition nobody could read
    mode, share = take(lambda: _mode(reader), (LIVE, 1.0))
    valid_from_ms, valid_to_ms = take(lambda: validity(reader), (None, None))
    trees = [when] if unless is None else [when, unless]
    nodes = [node for tree in trees for node in ir.walk(tree)]
    written = take(lambda: _tests(reader), [])
    tests = [take(partial(_test, test, case), None) for test in written if sound]
    uses = {name: place for tree in trees for name, place in uses_of(tree).items()}
    return Rule(
        id=name,
        description=take(lambda: reader.text("description", ""), ""),
        owner=take(lambda: reader.text("owner", ""), ""),
        when=when,
        unless=unless,
        decision=None,
        score=0.0,
        reason="",
        detail="",
        allow=False,
        hard=take(lambda: reader.flag("hard", False), False),
        mode=mode,
        share=share,
        uses=tuple(uses),
        features=tuple(uses.values()),
        scores=tuple(sorted({node.name for node in nodes if isinstance(node, ir.Score)})),
        tests=tuple(test for test in tests if test is not None),
        tags=tuple(text for text, _ in take(lambda: reader.texts("tags"), [])),
        file=reader.node.source.name,
        line=reader.node.line + 1,
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _tests(reader: Reader) -> list[Node]:
    tests = sequence(reader.need("tests"), "'tests'") if reader.has("tests") else []
    if len(tests) > TESTS_MAX:
        raise fail(reader.need("tests"), f"more than {TESTS_MAX} tests of one rule")
    return tests


def _test(node: Node, case: Callable[[Mapping], Case]) -> Case:
    return case(mapping(node, "a test"))


def _decides(rule: Rule, on: tuple[str, ...], reader: Reader, found: Mapping, scope: Scope, faults: Faults) -> Rule:
    """The rule with an outcome of its own."""
    take = faults.take
    then = Reader(found, "'then'", THEN_KEYS, faults)
    allow = take(lambda: then.flag("allow", False), False)
    decision = take(lambda: _decision(then), 0) if then.has("decision") else None
    take(lambda: _consistent(reader, then, allow, decision, rule.hard), None)
    return replace(
        rule,
        on=on,
        decision=decision,
        score=take(lambda: then.number("score", 0.0, -SCORE_MAX, SCORE_MAX), 0.0),
        reason=take(lambda: templates.reason_code(then, rule.id), ""),
        detail=take(lambda: templates.read(then, "detail", "", scope), ""),
        allow=allow,
        on_degraded=take(lambda: _on_degraded(reader), SKIP),
    )


def _on_degraded(reader: Reader) -> str:
    word = reader.text("on_degraded", SKIP)
    if word not in ON_DEGRADED:
        hint = suggest(word, ON_DEGRADED) or "skip (fail open) or hit (fail closed)"
        raise fail(reader.need("on_degraded"), f"unknown 'on_degraded' '{word}'", hint)
    return word


def _condition(reader: Reader, key: str, scope: Scope) -> ir.Node:
    node = reader.scalar(key)
    if isinstance(node.value, bool):
        return condition(Text(node, str(node.value)), scope)
    reader.text(key) if len(node.raw) <= 100 else None
    return condition(Text(node), scope)


def _decision(then: Reader) -> int:
    word = then.text("decision")
    if word not in OUTCOMES:
        hint = suggest(word, OUTCOMES) or f"one of {', '.join(OUTCOMES)}"
        raise fail(then.need("decision"), f"unknown decision '{word}'", hint)
    return OUTCOMES.index(word)


def _consistent(reader: Reader, then: Reader, allow: bool, decision: int | None, hard: bool) -> None:
    if allow and decision not in (None, 0):
        raise fail(then.need("decision"), "a rule that allows cannot ask for another outcome")
    if allow and hard:
        raise fail(reader.need("hard"), "a rule that allows cannot be hard", "hard rules are those it leaves in force")
    if not allow and decision is None and not then.has("score"):
        raise fail(then.node, "'then' does nothing", "give a decision, a score or allow: true")


def validity(reader: Reader) -> tuple[int | None, int | None]:
    """The event times from which and before which something is in force. Raises `RuleError`."""
    first, end = (_moment(reader, key) if reader.has(key) else None for key in ("valid_from", "valid_to"))
    if first is not None and end is not None and first >= end:
        raise fail(reader.need("valid_to"), "'valid_to' must be after 'valid_from'")
    return first, end


def _moment(reader: Reader, key: str) -> int:
    text = reader.text(key)
    try:
        return parse_moment(text)
    except ValueError:
        hint = "write it with its offset, as in 2026-01-31T23:00:00Z"
        raise fail(reader.need(key), f"'{text}' is not a time", hint) from None


def _mode(reader: Reader) -> tuple[str, float]:
    if not reader.has("mode"):
        return LIVE, 1.0
    node: Node = reader.need("mode")
    if isinstance(node, Mapping) and list(node.items) == ["canary"]:
        inner = node.items["canary"][1]
        word = f"canary: {inner.raw}" if isinstance(inner, Scalar) else ""
    else:
        word = reader.text("mode")
    found = _CANARY.fullmatch(word)
    if found:
        percent = float(found[1])
        if not 0 < percent <= 100:
            raise fail(node, "a canary's share is above 0 % and at most 100 %")
        return CANARY, percent / 100
    if word not in (LIVE, "shadow"):
        hint = suggest(word, MODES) or "live, shadow, or canary: 10%"
        raise fail(node, f"unknown mode '{word}'", "canary: 10%" if word.startswith("canary") else hint)
    return word, 1.0
