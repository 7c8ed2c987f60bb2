"""Every decision of a backtest as columns: some 30 bytes each, whatever the rules said of it."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.currencies import EXPONENTS
from engine.service.backtest.pipeline import Judged, Judgement

SIDES: Final = ("baseline", "candidate")


class Combination(NamedTuple):
    """Rules that hit together, and what that comes to: rule indexes, as in `Verdicts`."""

    outcome: int
    rules: tuple[int, ...]
    shadow: tuple[int, ...]
    reasons: tuple[int, ...]


class Combinations:
    """The combinations of hits that a rule set has come to, numbered; 0 is no hit."""

    def __init__(self) -> None:
        self.known = [Combination(0, (), (), ())]
        self._numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {((), ()): 0}

    def number(self, side: Judgement) -> NDArray[np.int32]:
        """The number of each decision's combination."""
        verdicts = side.verdicts
        numbers = np.zeros(len(verdicts.outcome), np.int32)
        for row in np.flatnonzero(side.hits.matrix.any(axis=0)).tolist():
            key = (verdicts.rules[row], verdicts.shadow[row])
            found = self._numbers.get(key)
            if found is None:
                found = self._numbers[key] = len(self.known)
                self.known.append(Combination(int(verdicts.outcome[row]), *key, verdicts.reasons[row]))
            numbers[row] = found
        return numbers

    def outcomes(self) -> NDArray[np.int8]:
        """Outcome by number."""
        return np.array([combination.outcome for combination in self.known], np.int8)


class Table(NamedTuple):
    """The decisions, in log order.

    Attributes:
        payment: hash of the payment's id, uint64 `(n,)`.
        time_ms: event time, int64.
        minor: the amount in minor units of `currency`, int64: of the base currency where a rate is known.
        currency: index in `currencies`, int32.
        sides: the combination of hits of the baseline and of the candidate, int32.
        currencies: codes.
    """

    payment: NDArray[np.uint64]
    time_ms: NDArray[np.int64]
    minor: NDArray[np.int64]
    currency: NDArray[np.int32]
    sides: tuple[NDArray[np.int32], NDArray[np.int32]]
    currencies: list[str]


class Record:
    """Collects decisions batch by batch.

    Attributes:
        combinations: of the baseline and of the candidate.
        decisions: how many there are so far.
    """

    def __init__(self) -> None:
        self.combinations = (Combinations(), Combinations())
        self.decisions = 0
        self._currencies: dict[str, int] = {}
        self._parts: list[tuple[NDArray[np.generic], ...]] = []

    def add(self, judged: Judged) -> None:
        """Take the decisions of a batch."""
        columns = judged.picked
        in_base = columns.base_exponent >= 0
        self._parts.append(
            (
                columns.string("payment_id").copy(),
                columns.time_ms.copy(),
                np.where(in_base, columns.base_minor, columns.minor),
                self._currency(judged, in_base),
                *(known.number(side) for known, side in zip(self.combinations, judged.sides, strict=True)),
            )
        )
        self.decisions += columns.n

    def table(self) -> Table:
        """All decisions so far."""
        types = (np.uint64, np.int64, np.int64, np.int32, np.int32, np.int32)
        joined = [
            np.concatenate([part[place] for part in self._parts] or [np.empty(0, kind)]).astype(kind)
            for place, kind in enumerate(types)
        ]
        payment, time_ms, minor, currency, *sides = joined
        return Table(payment, time_ms, minor, currency, (sides[0], sides[1]), list(self._currencies))

    def _currency(self, judged: Judged, in_base: NDArray[np.bool_]) -> NDArray[np.int32]:
        numbers = np.zeros(len(in_base), np.int32)
        if in_base.any():
            numbers[in_base] = self._number(judged.base)
        rest = np.flatnonzero(~in_base)
        hashes, firsts, places = np.unique(
            judged.picked.string("currency")[rest], return_index=True, return_inverse=True
        )
        if len(hashes):
            codes = [judged.picked.events[rest[first]].currency for first in firsts.tolist()]
            numbers[rest] = np.array([self._number(code) for code in codes], np.int32)[places]
        return numbers

    def _number(self, code: str) -> int:
        return self._currencies.setdefault(code, len(self._currencies))


def money(minor: int, currency: str) -> str:
    """An amount in major units, exact."""
    digits = EXPONENTS[currency]
    if not digits:
        return str(minor)
    return f"{minor // 10**digits}.{minor % 10**digits:0{digits}d}"
