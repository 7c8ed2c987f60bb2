"""What every node of a checked expression has."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from engine.ruleset.types import Kind


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


def walk(node: Node) -> "list[Node]":
    """The node and everything below it, parents first."""
    found = [node]
    for child in node.children():
        found.extend(walk(child))
    return found
