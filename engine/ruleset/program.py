"""All rules of a rule set over a micro-batch: each a row of conditions, the cheap ones first."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import ir
from engine.ruleset.batch import Batch
from engine.ruleset.lists import ValueList
from engine.ruleset.vector import ROWS_SHARE, Vector

ROWS_SCALAR_MAX: Final = 8
"""Batches up to so many events are evaluated one by one: columns only pay beyond."""


class Program:
    """Compiled hit conditions.

    Args:
        rows: feature name to its row of the matrix.
        lists: the value lists.
        hits: one condition a rule.
    """

    def __init__(self, rows: Mapping[str, int], lists: Mapping[str, ValueList], hits: Sequence[ir.Node]) -> None:
        vector = Vector(rows, lists, [part for hit in hits for part in _parts(hit)])
        self._rules = []
        for hit in hits:
            parts = _parts(hit)
            fast = [vector.condition(part) for part in parts if not part.slow]
            slow = [(vector.condition(part), vector.scalar.condition(part)) for part in parts if part.slow]
            self._rules.append((fast, slow))

    def run(self, batch: Batch, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Hits, bool `(n_rules, n)`, of the events that are `among` those to be looked at.

        A rule stops at the first condition that leaves no event. Conditions that read characters come last, and one
        by one where few events are left.
        """
        count = np.count_nonzero
        hits = np.zeros((len(self._rules), batch.n), np.bool_)
        if not count(among):
            return hits
        with np.errstate(all="ignore"):
            for index, (fast, slow) in enumerate(self._rules):
                mask = among
                for part in fast:
                    mask = mask & part(batch)
                    if not count(mask):
                        break
                else:
                    for columns, single in slow:
                        left = np.flatnonzero(mask)
                        if len(left) * ROWS_SHARE > batch.n:
                            mask = mask & columns(batch)
                        elif len(left):
                            kept = [row for row in left.tolist() if single(batch.row(row))]
                            mask = np.zeros(batch.n, np.bool_)
                            mask[kept] = True
                    hits[index] = mask
        return hits


def _parts(hit: ir.Node) -> tuple[ir.Node, ...]:
    return hit.args if isinstance(hit, ir.And) else (hit,)
