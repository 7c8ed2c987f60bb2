"""Which features of which events somebody reads: what nobody looks at is taken in and not worked out."""

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import DECISION_TYPES
from engine.features import tables as t
from engine.features.columns import Columns
from engine.features.plan import Plan
from engine.ruleset.observing import of_types
from engine.ruleset.ruleset import RuleSet


class Wanted:
    """Decisions read every feature of the events that carry one; observers those they name, of the types they are on.

    Args:
        ruleset: in force.
        plan: compiled from its features.
    """

    def __init__(self, ruleset: RuleSet, plan: Plan) -> None:
        self._of = ruleset, plan
        by_row = [ruleset.read_by.get(definition.name, frozenset()) for definition in plan.features]
        types = [frozenset[str]().union(*(by_row[row] for row in group.features[:, t.F_OUT])) for group in plan.groups]
        self._types = [tuple(sorted(found - {""})) for found in types]  # "": those that carry a decision, in any case

    def stands_for(self, ruleset: RuleSet, plan: Plan) -> bool:
        """Whether it was made for these."""
        return self._of[0] is ruleset and self._of[1] is plan

    def masks(self, columns: Columns) -> list[NDArray[np.bool_]]:
        """For each group of the plan the events whose features are read, bool `(n,)`."""
        return self._masks(columns, columns.decides)

    def possible(self, columns: Columns) -> list[NDArray[np.bool_]]:
        """The same before it is known which events carry a decision: those whose features may be read."""
        return self._masks(columns, of_types(columns, DECISION_TYPES))

    def _masks(self, columns: Columns, decides: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        known: dict[tuple[str, ...], NDArray[np.bool_]] = {(): decides}
        for types in self._types:
            if types not in known:
                known[types] = decides | of_types(columns, types)
        return [known[types] for types in self._types]
