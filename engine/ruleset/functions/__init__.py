"""The functions of the rule language: one registry, one place a function.

Six more words look like functions and are part of the language itself (`BUILTINS`), for they look at what is missing,
take any type, or read something else than their arguments.
"""

from typing import Final

from engine.ruleset.functions import cards, money, numbers, texts, times
from engine.ruleset.functions.base import Function, Param

REGISTRY: Final[dict[str, Function]] = {
    function.name: function for module in (numbers, texts, cards, money, times) for function in module.FUNCTIONS
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
    "metadata": (
        "metadata(key)",
        "an entry of the event's metadata as text, numbers and truth values as in JSON; missing where there is none",
        "metadata('ip_type') in ['tor', 'vpn'] or number(metadata('basket_items')) > 50",
    ),
    "lookup": (
        "lookup(table, key)",
        "what a table of `tables` has for a text; missing where it has nothing",
        "lookup('risk_class', merchant_category) == 'high'",
    ),
}
"""Name to signature, meaning and example."""

INTERNAL: Final[dict[str, Function]] = {function.name: function for function in (texts.TO_NUMBER, numbers.TO_BOOL)}
"""Conversions that `number` and `bool` become where they convert at all."""


def find(name: str) -> Function:
    """A function of the registry or an internal one, by its name."""
    return INTERNAL.get(name) or REGISTRY[name]


__all__ = ["BUILTINS", "INTERNAL", "REGISTRY", "Function", "Param", "find"]
