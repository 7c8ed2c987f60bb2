"""Operators: arithmetic, comparisons, membership, logic and choice."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from engine.ruleset.ir.base import Node, number_text, string_text
from engine.ruleset.types import Kind

ARITHMETIC: Final = ("+", "-", "*", "/", "//", "%", "**")
COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, eq=False)
class Negate(Node):
    """Unary minus."""

    arg: Node

    def render(self) -> str:
        return f"-{self.arg.boxed}"

    def children(self) -> tuple[Node, ...]:
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class Arith(Node):
    """One of `ARITHMETIC` over two numbers; missing where an operand is, or where the result is not finite."""

    op: str
    left: Node
    right: Node

    def render(self) -> str:
        return f"{self.left.boxed} {self.op} {self.right.boxed}"

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, eq=False)
class Compare(Node):
    """One of `COMPARISONS` over two numbers or two strings; false where an operand is missing."""

    op: str
    left: Node
    right: Node

    def render(self) -> str:
        return f"{self.left.boxed} {self.op} {self.right.boxed}"

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    @cached_property
    def as_text(self) -> bool:
        """Strings to be compared character by character rather than by hash."""
        ordered = self.op not in ("==", "!=")
        return self.left.kind is Kind.STRING and (ordered or self.left.by_text or self.right.by_text)

    @cached_property
    def slow(self) -> bool:
        return self.as_text or self.left.slow or self.right.slow


@dataclass(frozen=True, eq=False)
class In(Node):
    """`value in [literals]` or `not in`; false where the value is missing."""

    value: Node
    members: tuple[float, ...] | tuple[str, ...]
    negated: bool

    def render(self) -> str:
        members = ", ".join(string_text(m) if isinstance(m, str) else number_text(m) for m in self.members)
        return f"{self.value.boxed} {'not in' if self.negated else 'in'} [{members}]"

    def children(self) -> tuple[Node, ...]:
        return (self.value,)


@dataclass(frozen=True, eq=False)
class InList(Node):
    """`value in lists.NAME` or `not in`; false where the value is missing."""

    value: Node
    name: str
    negated: bool
    networks: bool  # the list has networks: members are found by address, not by hash

    def render(self) -> str:
        return f"{self.value.boxed} {'not in' if self.negated else 'in'} lists.{self.name}"

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    @cached_property
    def slow(self) -> bool:
        return self.networks or self.value.slow


@dataclass(frozen=True, eq=False)
class Not(Node):
    """Logical not of a condition."""

    arg: Node

    def render(self) -> str:
        return f"not {self.arg.boxed}"

    def children(self) -> tuple[Node, ...]:
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class And(Node):
    """All of the conditions."""

    args: tuple[Node, ...]

    def render(self) -> str:
        return " and ".join(arg.boxed for arg in self.args)

    def children(self) -> tuple[Node, ...]:
        return self.args


@dataclass(frozen=True, eq=False)
class Or(Node):
    """Any of the conditions."""

    args: tuple[Node, ...]

    def render(self) -> str:
        return " or ".join(arg.boxed for arg in self.args)

    def children(self) -> tuple[Node, ...]:
        return self.args


@dataclass(frozen=True, eq=False)
class Truth(Node):
    """A boolean that may be missing, as a condition: missing is false."""

    arg: Node

    def render(self) -> str:
        return f"{self.arg.boxed} is true"

    def children(self) -> tuple[Node, ...]:
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class AsNumber(Node):
    """A condition as 0 or 1, where a number or a boolean is wanted."""

    arg: Node

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"number({self.arg.text})"

    def children(self) -> tuple[Node, ...]:
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class If(Node):
    """`then if test else other`."""

    test: Node
    then: Node
    other: Node

    def render(self) -> str:
        return f"{self.then.boxed} if {self.test.boxed} else {self.other.boxed}"

    def children(self) -> tuple[Node, ...]:
        return (self.test, self.then, self.other)

    @cached_property
    def by_text(self) -> bool:
        return self.kind is Kind.STRING and (self.then.by_text or self.other.by_text)
