"""What the logs of label aggregates hold: touches of label rows, in groups of their own beside those of events.

A group of their own, because the two have nothing in common but the entity: their times run apart, and the loops over
amounts are fastest where every touch of a log has one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import NUMBER_FIELDS
from engine.domain.labels import FIRST, FRAUDULENT, GENUINE, WITHDRAWN
from engine.features.columns import Columns
from engine.features.definition import Filter

ORDINARY: Final = "ordinary"
"""The column of `Columns.ordinary`."""
ORDINARY_ROW: Final = len(NUMBER_FIELDS)
"""Where the kernels find it: after the numbers of events."""


UNEXPLAINED_FROM: Final = 0.5
"""A fraud whose payment looked more ordinary than this is unexplained: nothing about the customer gave it away."""


def _unexplained(columns: Columns) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(columns.labels, FRAUDULENT) & (columns.ordinary > UNEXPLAINED_FROM)
    return found


def _one_of(name: str, kinds: tuple[int, ...]) -> Filter:
    return Filter(f"label rows: {name}", lambda columns: np.isin(columns.labels, kinds), of_labels=True)


FILTERS: Final = (
    _one_of("first", FIRST),
    _one_of("fraud", FRAUDULENT),
    _one_of("withdrawn", WITHDRAWN),
    _one_of("genuine", GENUINE),
    Filter("label rows: unexplained fraud", _unexplained, of_labels=True),
)
"""In order of the mask bits `LABEL_*` of `engine.features.tables`."""
