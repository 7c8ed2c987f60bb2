"""Every decision of an evaluation as columns, and the truth about it: some 60 bytes each."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Effects
from engine.features.columns import Columns
from engine.service.backtest.labels import FRAUD, LEGITIMATE, Labels, present
from engine.service.evaluate.metrics import Bools, Floats

DAY_MS: Final = 86_400_000
CHAMPION: Final = ("fraud", "anomaly", "blended")
"""The scores of every decision."""
OTHER: Final = "(other)"
MISSING: Final = "(none)"
SEGMENT_VALUES_MAX: Final = 100_000
"""Distinct values of the segment field that are told apart; what comes later is `OTHER`."""
VALUE_CHARS_MAX: Final = 80


class _Scores(msgspec.Struct, frozen=True, gc=False):
    anomaly: float | None
    fraud: float | None


class _Decision(msgspec.Struct, frozen=True, gc=False):
    score: float
    scores: _Scores


_decode: Final = msgspec.json.Decoder(_Decision).decode


class Table(NamedTuple):
    """The decisions that can be judged, in log order.

    Attributes:
        card: number of the customer, int64 `(n,)`.
        day: UTC days since 1970, int64.
        fraud: what they turned out to be, bool.
        scores: float64 by name, NaN where there was none.
        segment: number of the segment value in `values`, int32.
        values: of the segment field, as text.
        told: the card of each fraud label, int64 `(labels,)`.
        told_ms: when each arrived, milliseconds since 1970.
        unripe: decisions that are left out because their labels may still arrive.
        as_of_ms: the present they were judged by.
    """

    card: NDArray[np.int64]
    day: NDArray[np.int64]
    fraud: Bools
    scores: dict[str, Floats]
    segment: NDArray[np.int32]
    values: list[str]
    told: NDArray[np.int64]
    told_ms: NDArray[np.int64]
    unripe: int
    as_of_ms: int


class Record:
    """Collects decisions batch by batch.

    Args:
        challengers: names of the challengers, whose fraud scores are kept beside the champion's scores.
        segment: a string field of events to break the figures down by; empty for none.
    """

    def __init__(self, challengers: Sequence[str] = (), segment: str = "") -> None:
        self.names = (*CHAMPION, *challengers)
        self.segment = segment
        self._values: dict[str, int] = {}
        self._known: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]] = []
        self._scores: dict[str, list[Floats]] = {name: [] for name in self.names}
        self._seen: list[NDArray[np.int64]] = []

    def add(self, columns: Columns, index: NDArray[np.intp], sides: Mapping[str, Effects], champion: Effects) -> None:
        """Take a batch: the decoded events, the record each came from, and what the champion and others made of it."""
        self._seen.append(columns.time_ms.copy())
        positions = [position for position, _ in champion.decisions]
        if not positions:
            return
        rows = np.searchsorted(index, positions)
        segment = self._segment(columns, rows) if self.segment else np.zeros(len(rows), np.int32)
        payment, card = columns.string("payment_id")[rows], columns.string("customer_id")[rows]
        self._known.append((payment, card, columns.time_ms[rows], segment))
        decided = [_decode(body) for _, body in champion.decisions]
        self._put("fraud", [one.scores.fraud for one in decided])
        self._put("anomaly", [one.scores.anomaly for one in decided])
        self._put("blended", [one.score for one in decided])
        for name, effects in sides.items():
            self._put(name, [_decode(body).scores.fraud for _, body in effects.decisions])

    @property
    def decisions(self) -> int:
        """How many there are so far."""
        return sum(len(part[0]) for part in self._known)

    def table(self, labels: Labels, maturity_ms: int, as_of_ms: int | None) -> Table:
        """The decisions that can be judged: whole days whose labels have all had their time, or of a file of labels.

        The present is the end of the day of the last event, where it is not given. A decision younger than
        `maturity_ms` is left out although its label may be there: of such days only the frauds would be known.
        """
        types = (np.uint64, np.uint64, np.int64, np.int32)
        payment, customer, time_ms, segment = (
            np.concatenate([part[place] for part in self._known] or [np.empty(0, kind)]).astype(kind)
            for place, kind in enumerate(types)
        )
        if as_of_ms is None:
            seen = present(np.concatenate(self._seen or [np.empty(0, np.int64)]))
            as_of_ms = (seen // DAY_MS + 1) * DAY_MS
        found = labels.of(payment, time_ms, as_of_ms, maturity_ms)
        whole = (time_ms // DAY_MS + 1) * DAY_MS + maturity_ms <= as_of_ms
        judged = (whole | labels.filed(payment)) & ((found.values == FRAUD) | (found.values == LEGITIMATE))
        _, card = np.unique(customer, return_inverse=True)
        told, told_ms = _told(labels, payment, card.astype(np.int64))
        scores = {name: np.concatenate(parts or [np.empty(0)])[judged] for name, parts in self._scores.items()}
        return Table(
            card[judged].astype(np.int64),
            time_ms[judged] // DAY_MS,
            found.values[judged] == FRAUD,
            scores,
            segment[judged],
            list(self._values),
            told,
            told_ms,
            int(np.count_nonzero(~judged)),
            as_of_ms,
        )

    def _put(self, name: str, values: Sequence[float | None]) -> None:
        self._scores[name].append(np.array(values, np.float64))  # None is NaN

    def _segment(self, columns: Columns, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        """The number of each row's value of the segment field."""
        texts = [getattr(columns.events[row], self.segment, None) for row in rows.tolist()]
        return np.array([self._number(MISSING if text is None else str(text)) for text in texts], np.int32)

    def _number(self, text: str) -> int:
        text = text[:VALUE_CHARS_MAX]
        if text not in self._values and len(self._values) >= SEGMENT_VALUES_MAX:
            text = OTHER
        return self._values.setdefault(text, len(self._values))


def _told(
    labels: Labels, payment: NDArray[np.uint64], card: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The card of each fraud label that arrived, and when; labels of payments without a decision are left out."""
    payments = np.array([one for one, _ in labels.frauds], np.uint64)
    times = np.array([when for _, when in labels.frauds], np.int64)
    if not len(payment) or not len(payments):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(payment, kind="stable")
    place = np.minimum(np.searchsorted(payment[order], payments), len(payment) - 1)
    known = payment[order[place]] == payments
    return card[order[place]][known], times[known]
