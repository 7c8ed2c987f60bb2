"""Alarms in words: what moved, with the figures before and after."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring.drift.alarm import INPUTS, LABELS, SCORE, SKILL, DriftAlarm
from engine.scoring.drift.histogram import EDGES, MISSING, ZERO, moved
from engine.scoring.drift.inputs import InputWatch
from engine.scoring.drift.means import LOSS_MAX, Shift
from engine.scoring.figures import number, percent

NAMED_MAX: Final = 3
"""Inputs that an alarm names."""

EXCESS_MIN: Final = 0.02
"""An input that is no farther out than this beyond its calm days is not named as a cause of something else."""


_MEANS: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    SCORE: ("the mean fraud score", lambda mean: f"{mean:.4f}"),
    LABELS: ("the share of frauds among labels", percent),
    SKILL: ("the score that frauds had been given", lambda mean: f"{math.exp(-LOSS_MAX * mean):.3f}"),
}


def most_moved(names: Sequence[str], watch: InputWatch) -> tuple[str, ...]:
    """The inputs that are farthest out beyond their calm days, a line each; none where nothing stands out."""
    excess = np.nan_to_num(watch.excess, nan=0.0)
    order = np.argsort(-excess, kind="stable")[:NAMED_MAX]
    return tuple(line(names[i], watch, int(i)) for i in order if excess[i] >= EXCESS_MIN)


def line(name: str, watch: InputWatch, place: int) -> str:
    """How one input moved: at the place where both distributions differ most."""
    found = moved(watch.before[place], watch.fresh[place], watch.payments)
    if found.code == MISSING:
        return f"{name} missing in {percent(1.0 - found.after)} of payments, before in {percent(1.0 - found.before)}"
    edge = "above 0" if found.code == ZERO else f"from {number(float(EDGES[found.code + 1]))} up"
    return f"{name} {edge} in {percent(found.after)} of payments, before in {percent(found.before)}"


def of_inputs(names: Sequence[str], watch: InputWatch, places: NDArray[np.intp], size: float, at_ms: int) -> DriftAlarm:
    """The alarm about inputs: those that drifted, the one that moved most first."""
    named = [names[i] for i in places[:NAMED_MAX]]
    rest = len(places) - len(named)
    title = f"drift: {', '.join(named)}{f' and {rest} more' if rest > 0 else ''} not distributed as before"
    details = tuple(line(names[i], watch, int(i)) for i in places[:NAMED_MAX])
    return DriftAlarm(INPUTS, at_ms, size, title, details)


def of_shift(shift: Shift, moved_most: tuple[str, ...], at_ms: int) -> DriftAlarm:
    """The alarm about a mean that changed, and the inputs that moved most on that day."""
    what, show = _MEANS[shift.subject]
    text = f"{what} went from {show(shift.before)} to {show(shift.after)}"
    return DriftAlarm(shift.subject, at_ms, shift.size, f"drift: {text}", (text, *moved_most))
