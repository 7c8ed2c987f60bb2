"""The features of one customer, read from their logs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from engine.core.adoption import HEAD_LAYOUT
from engine.core.decode import empty_columns
from engine.domain.events import AccountErased
from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.features.columns import Columns
from engine.features.definition import AGGREGATES, FeatureLimits
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset.ruleset import RuleSet

BY_CUSTOMER: Final = ("customer",)
_ROW: Final = "account.erased"


class CustomerFeatures:
    """Reads the values of the features that are by customer alone, as they would be at an event that matches none.

    Args:
        ruleset: that is in force.
        head: of the customer's shard: it says what the logs mean.
        limits: of the shard.
    """

    def __init__(
        self, ruleset: RuleSet, head: Mapping[bytes, bytes], limits: FeatureLimits, customer_id: str, at_ms: int
    ) -> None:
        self._plan = Plan.compile(ruleset.features, head.get(HEAD_LAYOUT), limits)
        self._state = FeatureState(self._plan)
        self._columns = _row(customer_id, at_ms)
        self.keys = self._state.missing(self._columns)

    def values(self, values: Sequence[bytes | None]) -> dict[str, Any]:
        """The features by name, of what is stored under `keys`; null for missing. Raises `ValueError` on damage."""
        self._state.load(self.keys, values)
        matrix, _ = self._state.update(self._columns)
        found = {}
        for row, definition in enumerate(self._plan.features):
            aggregate = AGGREGATES[definition.agg]
            # Whether a value is new is asked of an event that has one; label aggregates are asked of label rows.
            if definition.by == BY_CUSTOMER and not aggregate.labels and aggregate.kind != "bool":
                found[definition.name] = _value(float(matrix[row, 0]), aggregate.kind)
        return found


def _row(customer_id: str, at_ms: int) -> Columns:
    """An event that no filter is about: `account.erased`, which the engine itself never counts."""
    columns = empty_columns(1)
    columns.time_ms[0] = at_ms
    columns.strings[STRING_INDEX["customer_id"], 0] = hash64(customer_id)
    columns.strings[STRING_INDEX["type"], 0] = hash64(_ROW)
    columns.events = [AccountErased(event_id="", customer_id=customer_id, event_time=at_ms)]
    return columns


def _value(value: float, kind: str) -> Any:
    if np.isnan(value):
        return None
    return int(value) if kind == "int" else value
