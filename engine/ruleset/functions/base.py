"""What a function of the rule language is: one entry of the registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.ruleset.types import Kind


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter.

    Attributes:
        name: as written in the documentation.
        kind: what it takes; a number also takes a condition (0 or 1).
        optional: may be left out; `default` is used then.
        repeated: the last parameter only: one or more of it.
        constant: must be a literal, for it is checked or prepared when the rules are loaded.
    """

    name: str
    kind: Kind
    optional: bool = False
    repeated: bool = False
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """One function, whole: its signature, its two implementations and its documentation.

    Attributes:
        name: as written in expressions.
        params: in order.
        result: kind of the result. `COND` functions answer false, all others missing, where an argument is missing.
        scalar: the implementation over present values: floats and str in; float (NaN for missing), str or None
            (missing) or bool out. Must be pure and must not raise.
        vector: the same over float64 arrays (or floats, of literals) with NaN for missing, elementwise and equal to
            `scalar` bit for bit; None where the function reads characters, and is run row by row.
        doc: one line for the function table.
        example: an expression with it.
        check: called when rules are loaded, with the literal arguments (None where one is not a literal); raises
            `ValueError` with a line for the author.
        prepare: called when rules are loaded with the literal arguments; gives the implementation over the remaining
            arguments (those that are not `constant`).
        fields: event fields that are put before the arguments as written; the first of `params` are theirs.
        rated: `scalar` (not prepared) takes the rates in force, or None, before its arguments.
    """

    name: str
    params: tuple[Param, ...]
    result: Kind
    scalar: Callable[..., Any]
    doc: str
    example: str
    vector: Callable[..., Any] | None = None
    check: Callable[..., None] | None = None
    prepare: Callable[..., Callable[..., Any]] | None = None
    fields: tuple[str, ...] = ()
    rated: bool = False

    @property
    def signature(self) -> str:
        """As in the documentation: `clamp(x, low, high)`, `round(x, [digits])`, `min(x, …)`."""
        words = []
        for param in self.params[len(self.fields) :]:
            word = param.name + (", …" if param.repeated else "")
            words.append(f"[{word}]" if param.optional else word)
        return f"{self.name}({', '.join(words)})"


def number(name: str, *, optional: bool = False, repeated: bool = False, constant: bool = False) -> Param:
    """A number parameter."""
    return Param(name, Kind.NUMBER, optional, repeated, constant)


def text(name: str, *, optional: bool = False, constant: bool = False) -> Param:
    """A text parameter."""
    return Param(name, Kind.STRING, optional, False, constant)
