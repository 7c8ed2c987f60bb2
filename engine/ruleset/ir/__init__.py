"""Checked expressions as a tree of our own: what the two evaluators and the explanation work on.

Nothing here comes from text that was not checked: only `engine.ruleset.check` builds these nodes. A node's `text` is
its canonical form; two nodes with the same text mean the same, which is how rules share work and features share state.
"""

from engine.ruleset.ir.base import Node, number_text, string_text, walk
from engine.ruleset.ir.calls import Call, Coalesce, Lookup, Missing
from engine.ruleset.ir.leaves import METADATA, Const, Customer, Feature, Field, Metadata, Score
from engine.ruleset.ir.operators import (
    ARITHMETIC,
    COMPARISONS,
    FLIPPED,
    And,
    Arith,
    AsNumber,
    Compare,
    If,
    In,
    InList,
    Negate,
    Not,
    Or,
    Truth,
)  # fmt: skip

__all__ = [
    "ARITHMETIC", "COMPARISONS", "FLIPPED", "METADATA", "And", "Arith", "AsNumber", "Call", "Coalesce", "Compare",
    "Const", "Customer", "Feature", "Field", "If", "In", "InList", "Lookup", "Metadata", "Missing", "Negate", "Node",
    "Not", "Or", "Score", "Truth", "number_text", "string_text", "walk",
]  # fmt: skip
