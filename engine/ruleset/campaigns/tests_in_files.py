"""In-file tests of campaigns: an event, what is known of the customer, and what should come of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from engine.ruleset.campaigns.gives import AMOUNT_MAX
from engine.ruleset.campaigns.model import CampaignCase, Trigger
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.campaigns.triggers import word
from engine.ruleset.errors import suggest
from engine.ruleset.model import Case
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.rules import TESTS_MAX
from engine.ruleset.types import EVENT_TIME, EVENT_TYPES, Kind
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

CASE_KEYS: Final = ("given", "with", "customer", "lists", "rates", "expect", "amount", "description")
GRANTED: Final = "granted"
FROZEN: Final = "frozen"
EXPECTS: Final = (GRANTED, FROZEN, "nothing")

CaseReader = Callable[[Mapping, str], Case]


def written(reader: Reader) -> list[Node]:
    """The entries of `tests`. Raises `RuleError`."""
    tests = sequence(reader.need("tests"), "'tests'") if reader.has("tests") else []
    if len(tests) > TESTS_MAX:
        raise fail(reader.need("tests"), f"more than {TESTS_MAX} tests of one campaign")
    return tests


def read(node: Node, trigger: Trigger, case: CaseReader) -> CampaignCase:
    """A test: what a rule's test says of the event, and what is known of the customer. Raises `RuleError`."""
    found = mapping(node, "a test")
    reader = Reader(found, "a test", CASE_KEYS)
    expect = word(reader, "expect", EXPECTS)
    amount = reader.number("amount", 0.0, 0.0, AMOUNT_MAX) if reader.has("amount") else None
    if amount is not None and expect not in (GRANTED, FROZEN):
        raise fail(reader.need("amount"), "'amount' is what is granted, and nothing is expected")
    event = next((name for name in trigger.events if name in EVENT_TYPES), "")
    if not trigger.events:
        _without_event(reader)
    read = case(replace(found, items=_of_the_event(found, reader)), event or EVENT_TYPES[0])
    if not event:
        del read.texts["type"]
    granted, frozen = expect in (GRANTED, FROZEN), expect == FROZEN
    return CampaignCase(read, _customer(reader), granted, amount, read.line, frozen)


def _of_the_event(found: Mapping, reader: Reader) -> dict[str, tuple[Scalar, Node]]:
    """The keys that a rule's test has as well."""
    kept = {key: pair for key, pair in found.items.items() if key not in ("customer", "amount", "expect")}
    key, word = found.items["expect"]
    hit = Scalar(word.source, word.line, word.column, (0, 3), "hit", "hit", None, 0, 3)
    return {**kept, "expect": (key, hit)}


def _without_event(reader: Reader) -> None:
    """What comes with time has a time, and nothing else of an event."""
    given = mapping(reader.need("given"), "'given'").items if reader.has("given") else {}
    for name, (key, _) in given.items():
        if name != EVENT_TIME:
            raise fail(key, f"there is no event, so no '{name}'", "only event_time; the rest stands in customer")


def _customer(reader: Reader) -> dict[str, float | str | bool | None]:
    given: dict[str, float | str | bool | None] = {}
    items = mapping(reader.need("customer"), "'customer'").items if reader.has("customer") else {}
    for name, (key, node) in items.items():
        kind = CUSTOMER_KINDS.get(name)
        if kind is None:
            raise fail(key, f"unknown name 'customer.{name}'", suggest(name, list(CUSTOMER_KINDS)))
        if not isinstance(node, Scalar):
            raise fail(node, f"the value of {name} must be a single value")
        given[name] = _value(name, kind, node)
    return given


def _value(name: str, kind: Kind, node: Scalar) -> float | str | bool | None:
    content = node.value
    if content is None or (kind is Kind.STRING and isinstance(content, str)):
        return content
    if kind is Kind.BOOL and isinstance(content, bool):
        return content
    if kind is Kind.NUMBER and isinstance(content, int | float) and not isinstance(content, bool):
        return float(content)
    raise fail(node, f"customer.{name} is {kind.value}")
