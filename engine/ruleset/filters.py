"""Filters of aggregates: a `where` over event fields."""

from collections.abc import Callable

from engine.features.columns import Columns
from engine.ruleset import ir
from engine.ruleset.batch import Batch
from engine.ruleset.vector import Vector
from engine.ruleset.vector_ops import Mask


def compile_filter(node: ir.Node) -> Callable[[Columns], Mask]:
    """A `where` over event fields as a function of columns, to be called where NumPy's warnings are off."""
    run = Vector({}, {}, [node]).condition(node)

    return lambda columns: run(Batch(columns))
