"""Filters of aggregates: a `where` over event fields."""

from collections.abc import Callable

import numpy as np

from engine.features.columns import Columns
from engine.ruleset import ir
from engine.ruleset.batch import Batch
from engine.ruleset.vector import Vector
from engine.ruleset.vector_ops import Mask


def compile_filter(node: ir.Node) -> Callable[[Columns], Mask]:
    """A `where` over event fields as a function of columns."""
    run = Vector({}, {}, [node]).condition(node)

    def evaluate(columns: Columns) -> Mask:
        with np.errstate(all="ignore"):
            return run(Batch(columns))

    return evaluate
