"""A micro-batch as campaigns see it: what follows from events alone is worked out for all of them at once.

Trees are compiled in halves. A part that asks for nothing of the customer is a column, filled when the first row asks
for it; what is left is evaluated one event and customer at a time, over those columns. Both halves together are what
`engine.ruleset.scalar` makes of the whole tree.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import ir
from engine.ruleset.batch import Batch, TextOf
from engine.ruleset.lists import ValueList
from engine.ruleset.row import Holds, NumberOf, Row
from engine.ruleset.scalar import Scalar
from engine.ruleset.vector import Vector

_OF_ROWS: Final = tuple(name for name in Row.__slots__ if name not in ("customer", "text"))

Filled = Callable[[Batch], "NDArray[Any] | float"]


class Sheet(dict[int, list[Any]]):
    """The columns of a batch that rows have asked for, by their place, row by row."""

    def __init__(self, batch: Batch, makers: list[Filled]) -> None:
        super().__init__()
        self._batch, self._makers = batch, makers

    def __missing__(self, place: int) -> list[Any]:
        with np.errstate(all="ignore"):
            found: list[Any] = np.broadcast_to(self._makers[place](self._batch), self._batch.n).tolist()
        self[place] = found
        return found

    def row(self, index: int) -> "SheetRow":
        """One event of the batch, for the halves that are left."""
        return SheetRow(self, self._batch, index)


class SheetRow(Row):
    """One event of a batch. What `Row` has is read when somebody asks for it, which columns mostly spare them.

    Attributes:
        sheet, index: of the batch, and the event's row in it.
    """

    __slots__ = ("_batch", "index", "sheet")

    halved = True

    def __init__(self, sheet: Sheet, batch: Batch, index: int) -> None:
        self.sheet, self.index, self._batch = sheet, index, batch
        self.text = TextOf(batch, index)

    def __getattr__(self, name: str) -> Any:
        """Reached where a slot of `Row` is empty yet."""
        if name not in _OF_ROWS:
            raise AttributeError(name)
        row = self._batch.row(self.index)
        for slot in _OF_ROWS:
            setattr(self, slot, getattr(row, slot))
        return getattr(self, name)


class Halves(Scalar):
    """Compiles the halves that are left, for a `SheetRow`.

    Args:
        rows, lists: as of `Scalar`.
        vector: compiles the columns.
    """

    def __init__(self, rows: Mapping[str, int], lists: Mapping[str, ValueList], vector: Vector) -> None:
        super().__init__(rows, lists)
        self._vector = vector
        self._makers: list[Filled] = []
        self._places: dict[tuple[str, str], int] = {}

    def sheet(self, batch: Batch) -> Sheet:
        """A batch, for rows of it."""
        return Sheet(batch, self._makers)

    def number(self, node: ir.Node) -> NumberOf:
        """A number or boolean."""
        if not _of_event(node):
            return super().number(node)
        column: Callable[[Any], float] = self._column("number", node, self._vector.number)
        return column

    def condition(self, node: ir.Node) -> Holds:
        """A condition."""
        if not _of_event(node):
            return super().condition(node)
        column: Callable[[Any], bool] = self._column("condition", node, self._vector.condition)
        return column

    def _column(self, kind: str, node: ir.Node, make: Callable[[ir.Node], Filled]) -> Callable[[Any], Any]:
        place = self._places.setdefault((kind, node.text), len(self._makers))
        if place == len(self._makers):
            self._makers.append(make(node))
        return lambda row: row.sheet[place][row.index]


def _of_event(node: ir.Node) -> bool:
    """Whether a column is to be made of it: it asks for nothing of the customer, and costs little for rows that nobody
    asks for."""
    return not isinstance(node, ir.Const) and not node.slow and not asks(node)


def asks(node: ir.Node) -> bool:
    """Whether a tree asks for something of the customer."""
    return any(isinstance(inner, ir.Customer) for inner in ir.walk(node))
