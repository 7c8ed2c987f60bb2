"""Features as JSON lines, for whoever wants to see them all."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.features.columns import Columns
from engine.ruleset.ruleset import RuleSet

_CASTS: Final[dict[str, Callable[[float], Any]]] = {"int": int, "number": float, "bool": bool}
_encode = msgspec.json.Encoder().encode


def feature_lines(ruleset: RuleSet, columns: Columns, matrix: NDArray[np.float64]) -> list[bytes]:
    """A JSON line of every declared feature for each event; `matrix` has the rows of `RuleSet.rows`."""
    names, kinds, rows = ruleset.declared_rows()
    table = matrix[rows].T.tolist()
    lines = []
    for event, values in zip(columns.events, table, strict=True):
        named = {
            name: None if value != value else _CASTS[kind](value)
            for name, kind, value in zip(names, kinds, values, strict=True)
        }
        lines.append(_encode({"event_id": event.event_id, "features": named}))
    return lines
