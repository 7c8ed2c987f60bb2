"""One event as the scalar evaluator sees it, and the closures that evaluator is made of."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX
from engine.domain.rates import Rates
from engine.ruleset.lists import ListState
from engine.ruleset.types import EVENT_TIME, SCORES

NAN: Final = math.nan
NO_SCORES: Final = (NAN,) * len(SCORES)


class Row:
    """One event as the closures see it.

    Attributes:
        strings: hashes by `STRING_INDEX`, 0 where missing.
        numbers: by `NUMBER_INDEX`, NaN where missing.
        bools: by `BOOL_INDEX`, -1 where missing.
        features: by row of the rule set's feature matrix, NaN where missing.
        time_ms: event time.
        scores: by `SCORE_INDEX`, NaN where not ready.
        text: the text of a string field, or of `metadata.KEY`, None where missing.
        lists, rates: as of a `Batch`.
        customer: the value of `customer.NAME`, None where missing; only where campaigns are evaluated.
    """

    __slots__ = ("bools", "customer", "features", "lists", "numbers", "rates", "scores", "strings", "text", "time_ms")

    halved: ClassVar[bool] = False  # of campaigns' trees only the half is left (`engine.ruleset.campaigns.sheet`)

    def __init__(
        self,
        strings: list[int],
        numbers: list[float],
        bools: list[int],
        features: list[float],
        time_ms: float,
        text: Callable[[str], str | None],
        scores: Sequence[float] = NO_SCORES,
        lists: Mapping[str, ListState] | None = None,
        rates: Rates | None = None,
        customer: Callable[[str], float | str | bool | None] = lambda name: None,
    ) -> None:
        self.strings = strings
        self.numbers = numbers
        self.bools = bools
        self.features = features
        self.time_ms = time_ms
        self.text = text
        self.scores = scores
        self.lists = lists
        self.rates = rates
        self.customer = customer


NumberOf: TypeAlias = Callable[[Row], float]
Holds: TypeAlias = Callable[[Row], bool]
HashOf: TypeAlias = Callable[[Row], int]
TextOf: TypeAlias = Callable[[Row], str | None]


def number_field(name: str) -> NumberOf:
    """A number or boolean field."""
    if name == EVENT_TIME:
        return lambda row: row.time_ms
    if name in BOOL_INDEX:
        flag = BOOL_INDEX[name]
        return lambda row: NAN if (value := row.bools[flag]) < 0 else float(value)
    index = NUMBER_INDEX[name]
    return lambda row: row.numbers[index]


def binary(op: Callable[[float, float], float], left: NumberOf, right: NumberOf) -> NumberOf:
    """An operator of two numbers, missing where either is."""

    def run(row: Row) -> float:
        a, b = left(row), right(row)
        return op(a, b) if a == a and b == b else NAN

    return run


def every(parts: list[Holds]) -> Holds:
    """All of the conditions."""

    def run(row: Row) -> bool:
        for part in parts:  # noqa: SIM110 - a generator costs more than the loop
            if not part(row):
                return False
        return True

    return run


def either(parts: list[Holds]) -> Holds:
    """Any of the conditions."""

    def run(row: Row) -> bool:
        for part in parts:  # noqa: SIM110 - a generator costs more than the loop
            if part(row):
                return True
        return False

    return run


def first_number(parts: list[NumberOf]) -> NumberOf:
    """The first number that is not missing."""

    def run(row: Row) -> float:
        for part in parts:
            value = part(row)
            if value == value:
                return value
        return NAN

    return run


def first_hash(parts: list[HashOf]) -> HashOf:
    """The first hash that is not missing."""

    def run(row: Row) -> int:
        for part in parts:
            value = part(row)
            if value:
                return value
        return 0

    return run


def first_text(parts: list[TextOf]) -> TextOf:
    """The first text that is not missing."""

    def run(row: Row) -> str | None:
        for part in parts:
            value = part(row)
            if value is not None:
                return value
        return None

    return run
