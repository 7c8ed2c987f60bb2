"""The functions of the rule language: one registry, one place a function.

Four more words look like functions and are part of the language itself, for they look at what is missing or take any
type: `missing`, `coalesce`, `number` and `bool` (`BUILTINS`).
"""

from typing import Final

from engine.ruleset.functions import numbers, texts, times
from engine.ruleset.functions.base import Function, Param

REGISTRY: Final[dict[str, Function]] = {
    function.name: function for module in (numbers, texts, times) for function in module.FUNCTIONS
}

BUILTINS: Final[dict[str, tuple[str, str, str]]] = {
    "missing": ("missing(x)", "x has no value on this event; never missing itself", "missing(device_id)"),
    "coalesce": (
        "coalesce(x, y, …)",
        "the first that is not missing; all of one type",
        "amount / coalesce(cust_mean_30d, amount)",
    ),
    "number": (
        "number(x)",
        "a condition as 0 or 1, a text as the number it spells; missing where it spells none",
        "number(three_ds) + number(amount > 100)",
    ),
    "bool": ("bool(x)", "a number as a condition: not 0; missing stays missing", "bool(score)"),
}
"""Name to signature, meaning and example."""

INTERNAL: Final[dict[str, Function]] = {function.name: function for function in (texts.TO_NUMBER, numbers.TO_BOOL)}
"""Conversions that `number` and `bool` become where they convert at all."""


def find(name: str) -> Function:
    """A function of the registry or an internal one, by its name."""
    return INTERNAL.get(name) or REGISTRY[name]


__all__ = ["BUILTINS", "INTERNAL", "REGISTRY", "Function", "Param", "find"]
