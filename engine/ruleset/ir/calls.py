"""What is written as a call: functions of the registry, and those that are part of the language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from engine.ruleset.ir.base import Node, string_text
from engine.ruleset.types import Kind


@dataclass(frozen=True, eq=False)
class Missing(Node):
    """`missing(x)`."""

    arg: Node

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"missing({self.arg.text})"

    def children(self) -> tuple[Node, ...]:
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class Coalesce(Node):
    """`coalesce(a, b, …)`: the first that is not missing."""

    args: tuple[Node, ...]

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"coalesce({', '.join(arg.text for arg in self.args)})"

    def children(self) -> tuple[Node, ...]:
        return self.args

    @cached_property
    def by_text(self) -> bool:
        return self.kind is Kind.STRING and any(arg.by_text for arg in self.args)


@dataclass(frozen=True, eq=False)
class Call(Node):
    """A function of the registry; missing (a condition: false) where an argument is missing."""

    name: str
    args: tuple[Node, ...]
    vectorised: bool

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"{self.name}({', '.join(arg.text for arg in self.args)})"

    def children(self) -> tuple[Node, ...]:
        return self.args

    @cached_property
    def by_text(self) -> bool:
        return self.kind is Kind.STRING

    @cached_property
    def slow(self) -> bool:
        return not self.vectorised or any(arg.slow for arg in self.args)


@dataclass(frozen=True, eq=False)
class Lookup(Node):
    """`lookup('table', key)`: what a table of the rule set has for a text; missing where it has nothing."""

    table: str
    key: Node
    content: Mapping[str, str] = field(repr=False)

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"lookup({string_text(self.table)}, {self.key.text})"

    def children(self) -> tuple[Node, ...]:
        return (self.key,)

    @cached_property
    def by_text(self) -> bool:
        return True
