"""A micro-batch as columns: what the decoder fills and every later stage reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import BOOL_FIELDS, BOOL_INDEX, NUMBER_FIELDS, NUMBER_INDEX, STRING_INDEX


@dataclass(slots=True)
class Columns:
    """`n` accepted-for-now events in log order, as columns; on their way through the features, label rows among them.

    Attributes:
        n: number of events, or of events and label rows.
        time_ms: event time, milliseconds since 1970, int64 `(n,)`.
        strings: 64-bit hashes of the string fields (`engine.domain.hashing`), 0 where missing, uint64
            `(len(STRING_FIELDS), n)`.
        numbers: numbers, NaN where missing, float64 `(len(NUMBER_FIELDS), n)`; money in major units.
        bools: -1 missing, 0 false, 1 true, int8 `(len(BOOL_FIELDS), n)`.
        minor, exponent: the exact amount in minor units, int64, and its currency's exponent, int8, -1 where missing.
        base_minor, base_exponent: the same of `amount_base`.
        decides: the event carries a decision, bool; filled by admission.
        late: beyond the allowed lateness of its customer, bool; filled by admission.
        events: the decoded messages (msgspec structs), for the text of a field and for the rare fields.
        labels: 0 an event, else what a label row says of its payment (`engine.domain.labels`), int8 `(n,)`. Left out,
            all are events.
        ordinary: of label rows how ordinary the payment looked when it was decided on, 0 to 1, float64 `(n,)`; NaN
            where not known, and of events. It is no event field: nothing but label aggregates reads it.
    """

    n: int
    time_ms: NDArray[np.int64]
    strings: NDArray[np.uint64]
    numbers: NDArray[np.float64]
    bools: NDArray[np.int8]
    minor: NDArray[np.int64]
    exponent: NDArray[np.int8]
    base_minor: NDArray[np.int64]
    base_exponent: NDArray[np.int8]
    decides: NDArray[np.bool_]
    late: NDArray[np.bool_]
    events: Sequence[Any] = field(repr=False)
    labels: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    ordinary: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))

    def __post_init__(self) -> None:
        """Fill in the label columns of a batch of events."""
        if not len(self.labels):
            self.labels = np.zeros(self.n, np.int8)
        if not len(self.ordinary):
            self.ordinary = np.full(self.n, np.nan)

    def string(self, name: str) -> NDArray[np.uint64]:
        """Hashes of a string field, 0 where missing."""
        row: NDArray[np.uint64] = self.strings[STRING_INDEX[name]]
        return row

    def number(self, name: str) -> NDArray[np.float64]:
        """A number field, NaN where missing."""
        row: NDArray[np.float64] = self.numbers[NUMBER_INDEX[name]]
        return row

    def boolean(self, name: str) -> NDArray[np.int8]:
        """A boolean field: -1 missing, 0, 1."""
        row: NDArray[np.int8] = self.bools[BOOL_INDEX[name]]
        return row

    def text(self, name: str) -> list[str | None]:
        """The text of a string field, row by row. Slow: for functions that need characters, not equality."""
        if name == "type":
            return [event_type(event) for event in self.events]
        return [getattr(event, name, None) for event in self.events]

    def take(self, rows: NDArray[np.intp]) -> "Columns":
        """The given rows, in that order, as a new batch."""
        return Columns(
            n=len(rows),
            time_ms=self.time_ms[rows],
            strings=self.strings[:, rows],
            numbers=self.numbers[:, rows],
            bools=self.bools[:, rows],
            minor=self.minor[rows],
            exponent=self.exponent[rows],
            base_minor=self.base_minor[rows],
            base_exponent=self.base_exponent[rows],
            decides=self.decides[rows],
            late=self.late[rows],
            events=[self.events[i] for i in rows],
            labels=self.labels[rows],
            ordinary=self.ordinary[rows],
        )

    def insert(self, rows: "Columns", before: NDArray[np.intp]) -> tuple["Columns", NDArray[np.intp]]:
        """Put further rows into the batch.

        Args:
            rows: the rows, in the order in which they are to stand.
            before: for each of them the row of this batch it goes before, 0 to `n`, ascending.

        Returns:
            The merged batch, and the row in it of each row of this one.

        Raises:
            ValueError: `before` does not fit.
        """
        if len(before) != rows.n or (rows.n and (before[0] < 0 or before[-1] > self.n or (np.diff(before) < 0).any())):
            raise ValueError(f"{len(before)} places for {rows.n} rows: each 0 to {self.n}, ascending")
        own = np.arange(self.n) + np.searchsorted(before, np.arange(self.n), side="right")
        order = np.empty(self.n + rows.n, np.intp)
        order[own] = np.arange(self.n)
        added = np.ones(len(order), np.bool_)
        added[own] = False
        order[added] = self.n + np.arange(rows.n)
        return _end_to_end(self, rows).take(order), own


def _end_to_end(first: Columns, second: Columns) -> Columns:
    """The rows of two batches, one after the other."""
    return Columns(
        n=first.n + second.n,
        time_ms=np.concatenate([first.time_ms, second.time_ms]),
        strings=np.concatenate([first.strings, second.strings], axis=1),
        numbers=np.concatenate([first.numbers, second.numbers], axis=1),
        bools=np.concatenate([first.bools, second.bools], axis=1),
        minor=np.concatenate([first.minor, second.minor]),
        exponent=np.concatenate([first.exponent, second.exponent]),
        base_minor=np.concatenate([first.base_minor, second.base_minor]),
        base_exponent=np.concatenate([first.base_exponent, second.base_exponent]),
        decides=np.concatenate([first.decides, second.decides]),
        late=np.concatenate([first.late, second.late]),
        events=[*first.events, *second.events],
        labels=np.concatenate([first.labels, second.labels]),
        ordinary=np.concatenate([first.ordinary, second.ordinary]),
    )


def label_rows(
    time_ms: NDArray[np.int64], labels: NDArray[np.int8], ordinary: NDArray[np.float64], strings: NDArray[np.uint64]
) -> Columns:
    """Label rows as a batch.

    Args:
        time_ms: when each label arrived, int64 `(n,)`.
        labels: what it says, one of `engine.domain.labels` but `NOT_A_LABEL`, int8 `(n,)`.
        ordinary: see `Columns`, float64 `(n,)`.
        strings: hashes of the fields that name the entities of its payment, uint64 `(len(STRING_FIELDS), n)`.
    """
    n = len(time_ms)
    none = np.full(n, -1, np.int8)
    return Columns(
        n=n,
        time_ms=time_ms,
        strings=strings,
        numbers=np.full((len(NUMBER_FIELDS), n), np.nan),
        bools=np.full((len(BOOL_FIELDS), n), -1, np.int8),
        minor=np.zeros(n, np.int64),
        exponent=none,
        base_minor=np.zeros(n, np.int64),
        base_exponent=none.copy(),
        decides=np.zeros(n, np.bool_),
        late=np.zeros(n, np.bool_),
        events=[None] * n,
        labels=labels,
        ordinary=ordinary,
    )


def event_type(event: Any) -> str:
    """The `type` of a decoded event (the tag of its msgspec struct)."""
    tag: str = event.__struct_config__.tag
    return tag
