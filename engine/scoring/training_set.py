"""The labelled rows that a fraud model remembers, and how they are stored.

Rows are stored under a head key for each day in which they were learned, appended as they come, and go when all of a
day are older than the longest memory. What a boundary sees are the rows of the hours before it, so a restart that
reads the keys again sees the same.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.domain.times import DAY_MS
from engine.scoring.rows import LabelledRows, dump_rows, joined, load_rows, no_rows

HEAD_ROWS: Final = KEY_HEAD + b"fraud/rows/"  # + days since 1970, decimal: `dump_rows` one after another
HEAD_ROWS_QUARANTINED: Final = KEY_HEAD + b"fraud/quarantined/rows/"  # + days since 1970: what could not be read
ROWS_MAX: Final = 200_000
"""Rows held and stored; of more the newest. At 43 inputs 27 MB; with `FraudModel.draw` some 85,000 are held."""


class TrainingSet:
    """Rows in the order in which they were learned.

    Args:
        inputs: how many inputs a row has.
        memory_days: rows that arrived longer ago are of no use.
        backed: a state store stands behind.
        rows_max: held at most.
    """

    def __init__(self, inputs: int, memory_days: int, *, backed: bool, rows_max: int = ROWS_MAX) -> None:
        self._inputs = inputs
        self._memory_ms = memory_days * DAY_MS
        self._backed = backed
        self._rows_max = rows_max
        self._base = no_rows(inputs)  # rows of hours before the last daily boundary
        self._base_days = np.empty(0, np.int64)  # the day in which each was learned
        self._recent: list[tuple[int, LabelledRows]] = []  # hour in which they were learned, rows
        self._days: set[int] = set()  # that have a key
        self._ops: list[bytes] = []

    @property
    def n(self) -> int:
        """How many rows it holds; of a payment whose label was corrected, more than one."""
        return self._base.n + sum(rows.n for _, rows in self._recent)

    def append(self, hour_ms: int, rows: LabelledRows) -> None:
        """Remember rows that were learned in this hour; legitimate ones that were not drawn are passed over.

        Raises `ValueError` where the rows have another number of inputs.
        """
        if rows.inputs.shape != (rows.n, self._inputs):
            wanted = f"({rows.n}, {self._inputs})"
            raise ValueError(f"labelled rows with inputs of shape {rows.inputs.shape}; {wanted} expected")
        kept = rows.take((rows.share != 0.0) | (rows.fraud == 1))
        if kept.n:
            self._recent.append((hour_ms, kept))
            if self._backed:
                self._days.add(hour_ms // DAY_MS)
                self._ops.append(pack(Op(APPEND, _key(hour_ms // DAY_MS), dump_rows(hour_ms, kept))))

    def since(self, from_ms: int, before_ms: int) -> tuple[LabelledRows, ...]:
        """Rows learned in the hours `[from_ms, before_ms)`, in parts, at least one."""
        parts = tuple(rows for hour_ms, rows in self._recent if from_ms <= hour_ms < before_ms)
        return parts or (no_rows(self._inputs),)

    def close(self, boundary_ms: int) -> tuple[LabelledRows, ...]:
        """All rows of the hours before a boundary, in parts; what is too old for it is forgotten."""
        old = [(hour_ms, rows) for hour_ms, rows in self._recent if hour_ms < boundary_ms]
        self._recent = [(hour_ms, rows) for hour_ms, rows in self._recent if hour_ms >= boundary_ms]
        whole = joined([self._base, *(rows for _, rows in old)])
        days = np.concatenate([self._base_days, *(np.full(rows.n, hour_ms // DAY_MS) for hour_ms, rows in old)])
        young = whole.arrived_ms > boundary_ms - self._memory_ms
        first = max(int(np.argmax(young)) if young.any() else whole.n, whole.n - self._rows_max)
        self._base, self._base_days = whole.take(slice(first, None)), days[first:]
        oldest = int(self._base_days[0]) if self._base.n else boundary_ms // DAY_MS
        for day in sorted(day for day in self._days if day < oldest):
            self._days.discard(day)
            self._ops.append(pack(Op(DELETE, _key(day), b"")))
        return (self._base,)

    def ops(self) -> list[bytes]:
        """State operations for what changed since the last call."""
        ops, self._ops = self._ops, []
        return ops

    def restore(self, head: Mapping[bytes, bytes]) -> list[str]:
        """Read the stored rows. Returns what could not be read, in words; that is put aside, and the rest kept."""
        problems = []
        keys = [key for key in head if key.startswith(HEAD_ROWS)]
        for day, key in sorted((int(key[len(HEAD_ROWS) :]), key) for key in keys):
            found, good = load_rows(head[key], self._inputs)
            self._recent += found
            self._days.add(day)
            if good < len(head[key]):
                problems.append(f"labelled rows of day {day}: damaged from byte {good}")
                aside = HEAD_ROWS_QUARANTINED + key[len(HEAD_ROWS) :]
                self._ops += [pack(Op(SET, aside, head[key])), pack(Op(SET, key, head[key][:good]))]
        return problems

    def forget(self) -> list[bytes]:
        """State operations that delete all stored rows; those that are held stay."""
        return [pack(Op(DELETE, _key(day), b"")) for day in sorted(self._days)]


def _key(day: int) -> bytes:
    return HEAD_ROWS + str(day).encode()
