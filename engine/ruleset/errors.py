"""What is wrong with a rules directory, said so that its author can mend it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeVar

T = TypeVar("T")
D = TypeVar("D")
LINE_CHARS_MAX: Final = 160  # of a source line that is shown; the middle of a longer one is


@dataclass(frozen=True, slots=True)
class RuleError(Exception):
    """One fault of one rule file.

    Attributes:
        file: name of the file inside the rules directory.
        line, column: where, both from 1; 0 where the fault has no place in the text.
        message: what is wrong, in one line.
        source_line: the text of that line, "" where there is none.
        hint: what to do about it, "" where there is nothing to suggest.
        width: how many characters of the line are at fault.
    """

    file: str
    line: int
    column: int
    message: str
    source_line: str = ""
    hint: str = ""
    width: int = 1

    def headline(self) -> str:
        """The fault in one line: place, message and hint."""
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        line = place + self.message + (f" ({self.hint})" if self.hint else "")
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)

    def __str__(self) -> str:
        if not self.source_line or not self.line:
            return self.headline()
        start = max(self.column - 1, 0)
        skip = max(0, start - LINE_CHARS_MAX // 2) if len(self.source_line) > LINE_CHARS_MAX else 0
        shown = self.source_line[skip : skip + LINE_CHARS_MAX]
        shown = "".join(char if char.isprintable() else "?" for char in shown)
        room = max(len(shown) - (start - skip), 1)
        underline = " " * (start - skip) + "^" * max(1, min(self.width, room))
        return f"{self.headline()}\n    {shown}\n    {underline}"


class RuleErrors(Exception):
    """Every fault found in a rules directory; `str()` is one block a fault, in order of place."""

    def __init__(self, errors: Sequence[RuleError]) -> None:
        self.errors: tuple[RuleError, ...] = tuple(sorted(errors, key=lambda e: (e.file, e.line, e.column)))
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def lines(self) -> list[str]:
        """One line a fault, without the underlined source."""
        return [error.headline() for error in self.errors]


class Faults:
    """Collects faults of parts that do not depend on each other, so that an author sees them all at once."""

    def __init__(self) -> None:
        self.found: list[RuleError] = []

    def take(self, read: Callable[[], T], default: D) -> T | D:
        """What `read` gives; the default, with the fault kept, where it fails."""
        try:
            return read()
        except RuleError as fault:
            self.found.append(fault)
        except RuleErrors as faults:
            self.found.extend(faults.errors)
        return default

    def check(self) -> None:
        """Raises `RuleErrors` where there was a fault."""
        if self.found:
            raise RuleErrors(self.found)


def suggest(word: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known word, "" where none is near. Deterministic for the same `known`."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
