"""When a rule hits: its whole condition as one, and the customers of a canary."""

import numpy as np
from numpy.typing import NDArray

from engine.domain.times import rfc3339
from engine.ruleset import build, ir
from engine.ruleset.model import ANY, Rule
from engine.ruleset.types import EVENT_TIME, Kind


def hit_of(rule: Rule) -> ir.Node:
    """`when` and not `unless`, as one condition, for the types it is `on`; outside of the rule's own time it does
    not hold."""
    parts: list[ir.Node] = []
    if rule.on and ANY not in rule.on:
        names = [ir.Const(Kind.STRING, name) for name in rule.on]
        parts.append(build.member(ir.Field(Kind.STRING, "type"), names, False))
    time = ir.Field(Kind.NUMBER, EVENT_TIME)
    for op, at in ((">=", rule.valid_from_ms), ("<", rule.valid_to_ms)):
        if at is not None:
            parts.append(build.compare(op, time, ir.Const(Kind.NUMBER, float(at), rfc3339(at))))
    parts.append(rule.when)
    if rule.unless is not None:
        parts.append(build.negation(rule.unless))
    return build.conjunction(parts)


def in_share(customers: NDArray[np.uint64], seed: int, share: float) -> NDArray[np.bool_]:
    """Whether each customer is in a rule's canary: a stable share by hash (splitmix64 of both), not by chance."""
    mixed = customers ^ np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed = mixed ^ (mixed >> np.uint64(31))
    chosen: NDArray[np.bool_] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
    return chosen
