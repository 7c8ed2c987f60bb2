"""What an expression may name, by where it stands."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.ruleset import ir
from engine.ruleset.lists import ValueList
from engine.ruleset.types import Kind

if TYPE_CHECKING:
    from engine.ruleset.check import Checker

AggregateMaker = Callable[["Checker", ast.Call], ir.Node]


@dataclass(slots=True)
class Scope:
    """What an expression may name.

    Attributes:
        features: name to kind; empty where only event fields may be seen.
        lists: the value lists.
        tables: the lookup tables.
        scores: whether `score.NAME` may be used.
        aggregate: makes the node of an inline aggregate; None where there may be none.
        place: what is being checked, for messages: "a where filter", "a derived feature", "a rule".
        hidden: names that exist elsewhere but not here, with the reason.
        customer: what `customer.NAME` may be, by name; empty outside of campaigns.
        prefix: stands before the names of `features` in the rule set: of the default models, not of an author.
    """

    features: Mapping[str, Kind] = field(default_factory=dict)
    lists: Mapping[str, ValueList] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scores: bool = False
    aggregate: AggregateMaker | None = None
    place: str = "a rule"
    hidden: Mapping[str, str] = field(default_factory=dict)
    customer: Mapping[str, Kind] = field(default_factory=dict)
    prefix: str = ""
