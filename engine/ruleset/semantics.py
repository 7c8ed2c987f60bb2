"""What the operators mean for two present-or-missing numbers: the one place the evaluators and folding share.

NaN is missing. A result that is not finite (a division by zero, an overflow) is missing. Comparisons with a missing
value are false, whichever comparison.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np


def _finite(value: float) -> float:
    return value + (value - value)


def divide(left: float, right: float) -> float:
    """True division."""
    return _finite(left / right) if right else math.nan


def floor_divide(left: float, right: float) -> float:
    """Division rounded down."""
    return _finite(left // right) if right else math.nan


def remainder(left: float, right: float) -> float:
    """The rest of `floor_divide`; it has the sign of `right`."""
    return left % right if right else math.nan


def power(left: float, right: float) -> float:
    """Power, through the loop the vector evaluator uses: the C library's may differ in the last bit."""
    with np.errstate(all="ignore"):
        return _finite(float(np.power(left, right)))


ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: _finite(left + right),
    "-": lambda left, right: _finite(left - right),
    "*": lambda left, right: _finite(left * right),
    "/": divide,
    "//": floor_divide,
    "%": remainder,
    "**": power,
}


def not_equal(left: Any, right: Any) -> bool:
    """`!=` of present values: NaN differs from nothing, for it is missing."""
    return bool(left != right and left == left and right == right)


COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": not_equal,
}
