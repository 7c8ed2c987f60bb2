"""A micro-batch as the evaluators see it, with what they have already worked out for it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.ruleset import ir
from engine.ruleset.lists import ListState
from engine.ruleset.row import NAN, NO_SCORES, Row
from engine.ruleset.types import SCORES


class Batch:
    """Columns, features and scores of `n` events, and a memo of shared parts.

    Args:
        columns: the events.
        matrix: features by row of the rule set, float64 `(n_features, n)`; None where none are used.
        scores: by their names in `SCORES`, float64 `(n,)`, NaN or None where not ready.
        lists: the lists that control events changed, by name; None for none.
        rates: the exchange rates in force, None where there are none.
    """

    __slots__ = ("_flags", "_rows", "_scores", "_time_ms", "columns", "lists", "matrix", "memo", "n",
                 "numbers", "rates", "strings")  # fmt: skip

    def __init__(
        self,
        columns: Columns,
        matrix: NDArray[np.float64] | None = None,
        scores: Mapping[str, NDArray[np.float64] | None] | None = None,
        lists: Mapping[str, ListState] | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.columns = columns
        self.n = columns.n
        self.strings = columns.strings
        self.numbers = columns.numbers
        self.matrix = np.empty((0, columns.n)) if matrix is None else matrix
        self._scores = {name: found for name, found in (scores or {}).items() if found is not None}
        self.lists = lists
        self.rates = rates
        self.memo: dict[str, Any] = {}
        self._rows: dict[int, Row] = {}
        self._flags: dict[int, NDArray[np.float64]] = {}
        self._time_ms: NDArray[np.float64] | None = None

    def score(self, name: str) -> NDArray[np.float64]:
        """A score of `SCORES`, float64 `(n,)`, NaN where not ready."""
        found = self._scores.get(name)
        if found is None:
            found = self._scores[name] = np.full(self.n, np.nan)
        return found

    def _scores_of(self, index: int) -> Sequence[float]:
        """The scores of one event, by `SCORE_INDEX`."""
        if not self._scores:
            return NO_SCORES
        return [NAN if (found := self._scores.get(name)) is None else found.item(index) for name in SCORES]

    @property
    def time_ms(self) -> NDArray[np.float64]:
        """Event time as numbers of the language."""
        if self._time_ms is None:
            self._time_ms = self.columns.time_ms.astype(np.float64)
        return self._time_ms

    def flag(self, index: int) -> NDArray[np.float64]:
        """A boolean field as 0, 1 and NaN."""
        found = self._flags.get(index)
        if found is None:
            raw = self.columns.bools[index]
            found = self._flags[index] = np.where(raw < 0, np.nan, raw.astype(np.float64))
        return found

    def texts(self, name: str) -> list[str | None]:
        """The text of a string field, or of `metadata.KEY`, row by row."""
        key = f"text {name}"
        found: list[str | None] | None = self.memo.get(key)
        if found is None:
            if name.startswith(ir.METADATA):
                entry = name.removeprefix(ir.METADATA)
                found = [metadata_text(event, entry) for event in self.columns.events]
            else:
                found = self.columns.text(name)
            self.memo[key] = found
        return found

    def row(self, index: int) -> Row:
        """One event, for the scalar evaluator."""
        found = self._rows.get(index)
        if found is None:
            columns = self.columns
            found = self._rows[index] = Row(
                columns.strings[:, index].tolist(),
                columns.numbers[:, index].tolist(),
                columns.bools[:, index].tolist(),
                self.matrix[:, index].tolist(),
                float(columns.time_ms[index]),
                TextOf(self, index),
                self._scores_of(index),
                self.lists,
                self.rates,
            )
        return found

    def forget_rows(self) -> None:
        """Drop the rows made so far: the matrix they were read from has changed."""
        self._rows.clear()


class TextOf:
    """The text of the fields of one event of a batch."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    def __call__(self, name: str) -> str | None:
        event = self._batch.columns.events[self._index]
        if name == "type":
            return str(event.__struct_config__.tag)
        if name.startswith(ir.METADATA):
            return metadata_text(event, name.removeprefix(ir.METADATA))
        found: str | None = getattr(event, name, None)
        return found


def metadata_text(event: Any, key: str) -> str | None:
    """An entry of an event's metadata: texts as they are, numbers and truth values as JSON writes them."""
    entries = getattr(event, "metadata", None)
    value = entries.get(key) if entries else None
    return value if value is None or isinstance(value, str) else json.dumps(value)
