"""What an item of the campaign is, and what running one gives."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True)
class Result:
    """What came of one item.

    Attributes:
        runs: how often the fault was made.
        lost, doubled: outputs that a reader of committed records did not see, or saw more than once.
        wrong: anything else that is not as it has to be: values of the state that differ from the oracle's, outputs
            the oracle does not know or whose content differs, offsets, a condition of the item that was not met.
        remark: what was counted or measured, for the table.
        figures: the same for programs.
    """

    runs: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    remark: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a condition that does not hold."""
        if not holds:
            self.wrong.append(otherwise)

    @property
    def passed(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.doubled or self.wrong)


@dataclass(frozen=True, slots=True)
class Item:
    """One fault of the list, and the promise that is to hold all the same."""

    number: int
    promise: str
    fault: str
    run: Callable[[Any], Awaitable[Result]]


ITEMS: Final[dict[int, Item]] = {}


def item(number: int, promise: str, fault: str) -> Callable[[Callable[[Any], Awaitable[Result]]], Any]:
    """Register a function as the item of that number."""

    def register(run: Callable[[Any], Awaitable[Result]]) -> Callable[[Any], Awaitable[Result]]:
        if number in ITEMS:
            raise ValueError(f"item {number} is there twice")
        ITEMS[number] = Item(number, promise, fault, run)
        return run

    return register
