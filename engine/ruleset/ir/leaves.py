"""Nodes without operands: literals and what an event, its features and the models say."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from engine.ruleset.ir.base import Node, number_text, string_text
from engine.ruleset.types import Kind

METADATA: Final = "metadata."


@dataclass(frozen=True, eq=False)
class Const(Node):
    """A literal: float for numbers, booleans (0.0, 1.0) and conditions, str for text. `shown` is its text if not ""."""

    value: float | str
    shown: str = ""

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        if self.shown:
            return self.shown
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
    """`score.NAME`, a name of `engine.ruleset.types.SCORES`."""

    name: str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"score.{self.name}"


@dataclass(frozen=True, eq=False)
class Metadata(Node):
    """`metadata('key')`: an entry of the event's metadata, as text."""

    key: str

    atomic: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The entry as a field of the event is named: what `Row.text` and `Batch.texts` take."""
        return f"{METADATA}{self.key}"

    def render(self) -> str:
        return f"metadata({string_text(self.key)})"

    @cached_property
    def by_text(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class Customer(Node):
    """`customer.NAME`: what engagement knows of the customer; in campaigns only, which are evaluated one by one."""

    name: str

    atomic: ClassVar[bool] = True

    def render(self) -> str:
        return f"customer.{self.name}"

    @cached_property
    def by_text(self) -> bool:
        return True
