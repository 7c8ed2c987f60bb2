"""A micro-batch as columns: what the decoder fills and every later stage reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX, STRING_INDEX


@dataclass(slots=True)
class Columns:
    """`n` accepted-for-now events in log order, as columns.

    Attributes:
        n: number of events.
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
        )


def event_type(event: Any) -> str:
    """The `type` of a decoded event (the tag of its msgspec struct)."""
    tag: str = event.__struct_config__.tag
    return tag
