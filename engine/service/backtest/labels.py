"""What payments turned out to be: labels and chargebacks of the history, a file of labels, and silence."""

import csv
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core import cases
from engine.core.decode import hash_text
from engine.core.tidings import CHARGEBACK, tidings
from engine.domain import chargebacks
from engine.features.columns import Columns

LEGITIMATE: Final = 0
FRAUD: Final = 1
UNKNOWN: Final = 2
NAMES: Final = ("legitimate", "fraud", "unknown")

_SAID: Final = {cases.LEGITIMATE: LEGITIMATE, cases.FRAUD: FRAUD}
_ROWS_MAX: Final = 100_000_000


class LabelsError(ValueError):
    """A file of labels that cannot be used; the message names the line."""


class Labels:
    """Labels by payment, from weakest to strongest: a fraudulent chargeback, the last label assigned, the file.

    Args:
        reasons: further reason codes of chargebacks that mean fraud.

    Attributes:
        frauds: payment and event time of every label and chargeback that said fraud, in log order.
    """

    def __init__(self, reasons: Iterable[str] = ()) -> None:
        self._reasons = chargebacks.DEFAULT | chargebacks.canonical(reasons)
        self._charged: dict[int, int] = {}
        self._assigned: dict[int, int] = {}
        self._filed: dict[int, int] = {}
        self.frauds: list[tuple[int, int]] = []

    def observe(self, columns: Columns) -> None:
        """Take the labels and chargebacks among accepted events, in log order."""
        rows, said = tidings(columns, self._reasons)
        payments, charged = columns.string("payment_id"), columns.string("type") == CHARGEBACK
        for row, value in zip(rows, said.tolist(), strict=True):
            if value not in _SAID:
                continue  # the payment came to nothing
            payment = payments.item(row)
            (self._charged if charged[row] else self._assigned)[payment] = _SAID[value]
            if value == cases.FRAUD:
                self.frauds.append((payment, columns.time_ms.item(row)))

    def read(self, lines: Iterable[str]) -> None:
        """Take a file of `payment_id,label` (further columns are passed over; a header is recognised).

        Raises:
            LabelsError: a line without a payment or with another label than fraud or legitimate.
        """
        try:
            for number, row in enumerate(csv.reader(lines), 1):
                if not row or (number == 1 and row[:2] == ["payment_id", "label"]):
                    continue
                if len(row) < 2 or not row[0]:
                    raise LabelsError(f"line {number}: expected payment_id,label")
                if row[1] not in NAMES[:UNKNOWN]:
                    raise LabelsError(f"line {number}: label is fraud or legitimate, not {row[1][:40]!r}")
                if number > _ROWS_MAX:
                    raise LabelsError(f"more than {_ROWS_MAX:,} lines")
                self._filed[hash_text(row[0])] = NAMES.index(row[1])
        except (csv.Error, UnicodeDecodeError) as error:
            raise LabelsError(f"not a CSV file in UTF-8: {error}") from error

    def filed(self, payments: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which payments the file tells the label of."""
        return np.isin(payments, np.fromiter(self._filed, np.uint64, len(self._filed)))

    def of(self, payments: NDArray[np.uint64], times_ms: NDArray[np.int64], as_of_ms: int, maturity_ms: int) -> "Found":
        """The label of each decision: a payment without one is legitimate once mature, and unknown before."""
        known = {**self._charged, **self._assigned, **self._filed}
        found = np.where(times_ms <= as_of_ms - maturity_ms, LEGITIMATE, UNKNOWN).astype(np.int8)
        labelled = np.zeros(len(payments), np.bool_)
        if known and len(payments):
            keys = np.fromiter(known, np.uint64, len(known))
            values = np.fromiter(known.values(), np.int8, len(known))
            order = np.argsort(keys)
            keys, values = keys[order], values[order]
            places = np.minimum(np.searchsorted(keys, payments), len(keys) - 1)
            labelled = keys[places] == payments
            found[labelled] = values[places[labelled]]
        return Found(found, int(np.count_nonzero(labelled)))


class Found:
    """Labels of the decisions (`LEGITIMATE`, `FRAUD`, `UNKNOWN`), and how many were told rather than concluded."""

    __slots__ = ("told", "values")

    def __init__(self, values: NDArray[np.int8], told: int) -> None:
        self.values = values
        self.told = told


def present(times_ms: NDArray[np.int64]) -> int:
    """The present of a history: its greatest event time, but for the latest thousandth of its events.

    An event or two from the far future so mature nothing.
    """
    if len(times_ms) == 0:
        return 0
    place = len(times_ms) - 1 - len(times_ms) // 1000
    return int(np.partition(times_ms, place)[place])
