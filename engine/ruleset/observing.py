"""Observer rules over a micro-batch: which hit, which events they look at, and which events call their alerts off."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.domain.hashing import hash64
from engine.features.columns import Columns
from engine.ruleset.batch import Batch
from engine.ruleset.hits import hit_of, in_share
from engine.ruleset.lists import ValueList
from engine.ruleset.model import ANY, CANARY, SHADOW, Rule
from engine.ruleset.program import ROWS_SCALAR_MAX, Program
from engine.ruleset.scalar import Scalar


class Observing:
    """The observers of a rule set, compiled.

    Args:
        rows: feature name to its row of the matrix.
        lists: the value lists.
        observers: the rules.
    """

    def __init__(self, rows: Mapping[str, int], lists: Mapping[str, ValueList], observers: Sequence[Rule]) -> None:
        self._observers = observers
        self._deciding = [i for i, rule in enumerate(observers) if not rule.on]
        self._others = [i for i, rule in enumerate(observers) if rule.on]
        self._types = sorted({name for rule in observers for name in rule.on})
        scalar = Scalar(rows, lists)
        self._one = [scalar.condition(hit_of(rule)) for rule in observers]
        self._programs = [
            Program(rows, lists, [hit_of(observers[i]) for i in places]) for places in (self._deciding, self._others)
        ]

    def hits(self, batch: Batch) -> NDArray[np.bool_]:
        """Hits of every observer, bool `(observers, n)`."""
        found = np.zeros((len(self._observers), batch.n), np.bool_)
        if not self._observers:
            return found
        decides, everything = batch.columns.decides, np.ones(batch.n, np.bool_)
        if batch.n <= ROWS_SCALAR_MAX:
            for index in range(batch.n):
                row = batch.row(index)
                for place, (rule, hit) in enumerate(zip(self._observers, self._one, strict=True)):
                    found[place, index] = bool(rule.on or decides[index]) and hit(row)
            return found
        for program, places, among in zip(
            self._programs, (self._deciding, self._others), (decides, everything), strict=True
        ):
            if places:
                found[places] = program.run(batch, among)
        return found

    def looked_at(self, columns: Columns) -> NDArray[np.bool_]:
        """The events some observer looks at."""
        found = of_types(columns, self._types)
        return found | columns.decides if self._deciding else found

    def live(self, columns: Columns) -> NDArray[np.bool_]:
        """Where a hit counts."""
        found = np.ones((len(self._observers), columns.n), np.bool_)
        for index, rule in enumerate(self._observers):
            if rule.mode == SHADOW:
                found[index] = False
            elif rule.mode == CANARY:
                found[index] = in_share(columns.string("customer_id"), int(_hash(rule.id)), rule.share)
        return found

    def followed(self, columns: Columns) -> NDArray[np.bool_]:
        """Which events call off which observers' alerts."""
        found = np.zeros((len(self._observers), columns.n), np.bool_)
        for index, rule in enumerate(self._observers):
            if rule.follow is not None:
                found[index] = of_types(columns, rule.follow.types) & (columns.string(rule.follow.same) != 0)
        return found


def of_types(columns: Columns, types: Sequence[str]) -> NDArray[np.bool_]:
    """The events of any of these types; all of them where one is `ANY`."""
    if ANY in types:
        return np.ones(columns.n, np.bool_)
    found = np.zeros(columns.n, np.bool_)
    for name in types:
        found |= columns.string("type") == _hash(name)
    return found


@lru_cache(maxsize=1024)
def _hash(text: str) -> np.uint64:
    """A hash costs more than a batch of comparisons with it."""
    return np.uint64(hash64(text))
