"""The loops of the vector evaluator: closures over columns, made from the closures of their operands."""

import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX
from engine.ruleset.batch import Batch
from engine.ruleset.lists import ListState
from engine.ruleset.types import EVENT_TIME

Mask: TypeAlias = NDArray[np.bool_]
NumbersOf: TypeAlias = Callable[[Batch], Any]
MaskOf: TypeAlias = Callable[[Batch], Mask]
HashesOf: TypeAlias = Callable[[Batch], Any]
TextsOf: TypeAlias = Callable[[Batch], list[str | None]]

FEW_MEMBERS: Final = 6  # up to here comparing with each is faster than a search


def _divide(left: Any, right: Any) -> Any:
    return np.divide(left, np.where(right == 0.0, np.nan, right))


def _floor_divide(left: Any, right: Any) -> Any:
    return np.floor_divide(left, np.where(right == 0.0, np.nan, right))


def _remainder(left: Any, right: Any) -> Any:
    return np.remainder(left, np.where(right == 0.0, np.nan, right))


ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "//": _floor_divide,
    "%": _remainder,
    "**": np.power,
}
_UFUNCS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
}


def number_field(name: str) -> NumbersOf:
    """A number or boolean field."""
    if name == EVENT_TIME:
        return lambda batch: batch.time_ms
    if name in BOOL_INDEX:
        flag = BOOL_INDEX[name]
        return lambda batch: batch.flag(flag)
    index = NUMBER_INDEX[name]
    return lambda batch: batch.numbers[index]


def arithmetic(op: Callable[[Any, Any], Any], left: NumbersOf, right: NumbersOf) -> NumbersOf:
    """An operator; what is infinite becomes missing."""

    def run(batch: Batch) -> Any:
        value = op(left(batch), right(batch))
        return value + (value - value)

    return run


def call(function: Callable[..., Any], args: list[NumbersOf]) -> NumbersOf:
    """A vectorised function."""
    if len(args) == 1:
        only = args[0]
        return lambda batch: function(only(batch))
    return lambda batch: function(*[arg(batch) for arg in args])


def first(parts: list[Callable[[Batch], Any]], absent: Callable[[Any], Any]) -> Callable[[Batch], Any]:
    """The first value of each row that is not `absent`."""

    def run(batch: Batch) -> Any:
        value = parts[0](batch)
        for part in parts[1:]:
            value = np.where(absent(value), part(batch), value)
        return value

    return run


def listed(number: NumbersOf) -> Callable[[Batch], list[Any]]:
    """Numbers as a list, row by row."""

    def run(batch: Batch) -> list[Any]:
        value = number(batch)
        return [value] * batch.n if isinstance(value, float) else value.tolist()

    return run


def each(function: Callable[..., Any], columns: list[list[Any]]) -> list[Any]:
    """A function row by row, None where an argument is missing."""
    rows = zip(*columns, strict=True)
    return [None if any(x is None or x != x for x in row) else function(*row) for row in rows]


def compare_numbers(word: str, left: NumbersOf, right: NumbersOf) -> MaskOf:
    """A comparison, false where an operand is missing."""
    if word == "!=":
        return lambda batch: ((x := left(batch)) != (y := right(batch))) & (x == x) & (y == y)
    op = _UFUNCS[word]
    return lambda batch: op(left(batch), right(batch))


def compare_with(word: str, left: NumbersOf, constant: float) -> MaskOf:
    """A comparison with a literal: the commonest condition, so without a call for the right side."""
    if word == "!=":
        return compare_numbers(word, left, lambda batch: constant)
    op, right = _UFUNCS[word], np.array(constant)  # an array without dimensions spares the conversion of a float
    return lambda batch: op(left(batch), right)


def among_numbers(number: NumbersOf, members: NDArray[np.float64], negated: bool) -> MaskOf:
    """Membership of sorted numbers."""

    def run(batch: Batch) -> Mask:
        values = number(batch)
        found: Mask = np.zeros(batch.n, np.bool_)
        if len(members):
            places = np.minimum(np.searchsorted(members, values), len(members) - 1)
            found = members[places] == values
        return ~found & (values == values) if negated else found

    return run


def among_hashes(hashes: HashesOf, members: list[int], negated: bool) -> MaskOf:
    """Membership of hashes."""
    ordered = np.array(sorted(members), np.uint64)
    few = [np.uint64(member) for member in sorted(members)]

    def run(batch: Batch) -> Mask:
        values = hashes(batch)
        if len(few) <= FEW_MEMBERS:
            found = values == few[0] if few else np.zeros(batch.n, np.bool_)
            for member in few[1:]:
                found = found | (values == member)
        else:
            found = ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
        return ~found & (values != 0) if negated else found

    return run


def among_texts(texts: TextsOf, has: Callable[[str], bool], negated: bool) -> MaskOf:
    """Membership by text, row by row."""
    return lambda batch: np.array([t is not None and has(t) != negated for t in texts(batch)], np.bool_)


def among_state(texts: list[str | None], state: ListState, batch: Batch, negated: bool) -> Mask:
    """Membership of a changed list by text, row by row."""
    times = batch.columns.time_ms.tolist()
    found = [t is not None and state.has_text(t, at) != negated for t, at in zip(texts, times, strict=True)]
    return np.array(found, np.bool_)


def until(values: Any, columns: tuple[NDArray[Any], NDArray[np.float64]], batch: Batch, negated: bool) -> Mask:
    """Membership of a changed list: `columns` are its members, ascending, and the event time at which each ends."""
    members, ends = columns
    found = np.zeros(batch.n, np.bool_)
    if len(members):
        places = np.minimum(np.searchsorted(members, values), len(members) - 1)
        found = (members[places] == values) & (batch.time_ms < ends[places])
    present = values == values if members.dtype == np.float64 else values != 0
    result: Mask = ~found & present if negated else found
    return result
