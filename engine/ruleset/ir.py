"""Checked expressions as a tree of our own: what the two evaluators and the explanation work on.

Nothing here comes from text that was not checked: only `engine.ruleset.check` builds these nodes. A node's `text` is
its canonical form; two nodes with the same text mean the same, which is how rules share work and features share state.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from engine.ruleset.types import Kind

ARITHMETIC: Final = ("+", "-", "*", "/", "//", "%", "**")
COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def number_text(value: float) -> str:
    """A number the way an author would write it: `10`, `0.25`."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def string_text(value: str) -> str:
    """A string literal in single quotes."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


@dataclass(frozen=True, eq=False)
class Node:
    """Base of all nodes."""

    kind: Kind

    atomic: ClassVar[bool] = False

    @cached_property
    def text(self) -> str:
        """Canonical text."""
        return self.render()

    def render(self) -> str:
        """Canonical text from that of the children."""
        raise TypeError(f"{type(self).__name__} has no text")

    def children(self) -> "tuple[Node, ...]":
        """Operands in order."""
        return ()

    @cached_property
    def boxed(self) -> str:
        """Canonical text, in brackets where it is not atomic."""
        return self.text if self.atomic else f"({self.text})"

    @cached_property
    def by_text(self) -> bool:
        """A string that is computed, not read: it has characters, but no hash to compare by."""
        return False

    @cached_property
    def slow(self) -> bool:
        """Evaluated row by row, for somewhere below it is a function of characters."""
        return self.by_text or any(child.slow for child in self.children())


@dataclass(frozen=True, eq=False)
class Const(Node):
    """A literal: float for numbers, booleans (0.0, 1.0) and conditions, str for text."""

    value: float | str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        if isinstance(self.value, str):
            return string_text(self.value)
        if self.kind is Kind.NUMBER:
            return number_text(self.value) if self.value >= 0 else f"({number_text(self.value)})"
        return "True" if self.value else "False"


@dataclass(frozen=True, eq=False)
class Field(Node):
    """An event field."""

    name: str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Feature(Node):
    """A declared, inline or derived feature, by its name in the rule set."""

    name: str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Score(Node):
    """`score.anomaly` or `score.fraud`."""

    name: str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"score.{self.name}"


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


def walk(node: Node) -> "list[Node]":
    """The node and everything below it, parents first."""
    found = [node]
    for child in node.children():
        found.extend(walk(child))
    return found
