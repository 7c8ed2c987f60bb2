"""A micro-batch as the kernels take it: which of its rows match, and their numbers."""

import numpy as np
from numpy.typing import NDArray

from engine.domain.labels import FRAUDULENT, NOT_A_LABEL
from engine.features.columns import Columns
from engine.features.plan import Plan


def numbers(columns: Columns) -> NDArray[np.float64]:
    """The numbers of the events, and below them those of label rows: `engine.features.labelled.ORDINARY_ROW`."""
    ordinary = columns.ordinary
    if columns.labels.any():
        ordinary = np.where(np.isin(columns.labels, FRAUDULENT), ordinary, np.nan)  # of others nothing reads it
    return np.concatenate([columns.numbers, ordinary[np.newaxis]])


def matches(plan: Plan, columns: Columns) -> NDArray[np.bool_]:
    """Every distinct filter over the batch, bool `(filters, n)`: those of events over events, those of labels over
    label rows."""
    matrix = np.zeros((max(1, len(plan.filters)), columns.n), np.bool_)
    events = np.flatnonzero(columns.labels == NOT_A_LABEL)
    labelled = len(events) < columns.n
    picked = columns.take(events) if labelled else columns  # a label row has no event to look at
    with np.errstate(all="ignore"):  # what is infinite or not a number matches nothing
        for row, where in enumerate(plan.filters):
            if where is None:
                matrix[row, events] = picked.decides
            elif not where.of_labels:
                matrix[row, events] = where.evaluate(picked)
            elif labelled:
                matrix[row] = where.evaluate(columns)
    return matrix
