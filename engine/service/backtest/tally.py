"""Exact sums of money by group."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.service.backtest.labels import FRAUD, LEGITIMATE, UNKNOWN
from engine.service.backtest.record import money

_LABELS: Final = 3
_HALF: Final = 32


class Cell(NamedTuple):
    """Decisions of one group, label and currency: how many, and their amounts in minor units."""

    group: int
    label: int
    currency: int
    decisions: int
    minor: int


def cells(
    group: NDArray[np.integer], label: NDArray[np.int8], currency: NDArray[np.int32], minor: NDArray[np.int64]
) -> list[Cell]:
    """Count and sum the decisions by group, label and currency; sums are exact beyond 64 bits."""
    if len(group) == 0:
        return []
    currencies = int(currency.max()) + 1
    key = (group.astype(np.int64) * _LABELS + label) * currencies + currency
    keys, places, counts = np.unique(key, return_inverse=True, return_counts=True)
    low, high = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    np.add.at(low, places, minor & ((1 << _HALF) - 1))
    np.add.at(high, places, minor >> _HALF)
    found = []
    for name, count, below, above in zip(keys.tolist(), counts.tolist(), low.tolist(), high.tolist(), strict=True):
        rest, code = divmod(name, currencies)
        found.append(Cell(rest // _LABELS, rest % _LABELS, code, count, (above << _HALF) + below))
    return found


class Sums:
    """Counts and amounts by label."""

    __slots__ = ("counts", "minors")

    def __init__(self, of: Iterable[Cell] = ()) -> None:
        self.counts: Counter[int] = Counter()
        self.minors: tuple[Counter[int], ...] = (Counter(), Counter(), Counter())
        for cell in of:
            self.add(cell)

    def add(self, cell: Cell) -> None:
        """Take a cell in."""
        self.counts[cell.label] += cell.decisions
        self.minors[cell.label][cell.currency] += cell.minor

    @property
    def fraud(self) -> int:
        """Decisions on payments that were fraud."""
        return self.counts[FRAUD]

    @property
    def legitimate(self) -> int:
        """Decisions on honest payments."""
        return self.counts[LEGITIMATE]

    @property
    def unknown(self) -> int:
        """Decisions nobody can judge yet."""
        return self.counts[UNKNOWN]

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()

    def amount(self, label: int, currencies: list[str]) -> dict[str, str]:
        """Amounts of one label by currency, in major units."""
        named = {currencies[code]: money(minor, currencies[code]) for code, minor in self.minors[label].items()}
        return dict(sorted(named.items()))


def by_group(of: Iterable[Cell]) -> Iterator[tuple[int, list[Cell]]]:
    """Cells group by group, in order of the group's number."""
    grouped: dict[int, list[Cell]] = {}
    for cell in of:
        grouped.setdefault(cell.group, []).append(cell)
    yield from sorted(grouped.items())


def share(part: int, whole: int) -> float | None:
    """A ratio, None where there is nothing to divide by."""
    return round(part / whole, 6) if whole else None


def plain(value: float) -> Any:
    """A number as an author would write it: whole ones without a fraction."""
    return int(value) if value == int(value) else value
