"""Rules while the state is away: what the event's own fields settle, and `on_degraded` for the rest.

Features and scores come from the state; fields, metadata, lists, tables, rates and features derived from fields alone
do not. A condition is held between two bounds: what it surely is, whatever the state would say, and what it may be.
`amount > 500 and cards_per_ip_1h >= 4` surely is not for an amount of 10 and may be for one of 900; with `or` in place
of `and` it surely is for 900. A rule that surely hits, hits; one that surely does not, does not; in between
`on_degraded` decides.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import build, ir
from engine.ruleset.hits import hit_of
from engine.ruleset.model import HIT
from engine.ruleset.row import Holds
from engine.ruleset.ruleset import Frame, Hits, RuleSet
from engine.ruleset.scalar import Scalar

SURELY: Final = False
MAYBE: Final = True


def stateful(ruleset: RuleSet) -> frozenset[str]:
    """Names of the features that come from the state, derived ones that build on such among them."""
    found = {definition.name for definition in ruleset.features}
    for entry in ruleset.derived:  # each after those it builds on
        if _needs_state(entry.expr, found):
            found.add(entry.name)
    return frozenset(found)


def bound(node: ir.Node, names: Collection[str], which: bool) -> ir.Node:
    """A condition without state: `SURELY` holds only where `node` does, `MAYBE` wherever it may.

    Only `and`, `or` and `not` are taken apart: any other part is known or not as a whole.
    """
    match node:
        case ir.And():
            return build.conjunction([bound(arg, names, which) for arg in node.args])
        case ir.Or():
            return build.disjunction([bound(arg, names, which) for arg in node.args])
        case ir.Not():
            return build.negation(bound(node.arg, names, not which))
    if not _needs_state(node, names):
        return node
    return build.TRUE if which is MAYBE else build.FALSE


class DegradedRules:
    """The rules of a rule set, for events whose state is not there. Immutable once made.

    Args:
        ruleset: compiled once here; a few microseconds a rule.

    Attributes:
        unknown: rows of the feature matrix that come from the state.
    """

    def __init__(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        names = stateful(ruleset)
        self.unknown = sorted(ruleset.rows[name] for name in names)
        scalar = Scalar(ruleset.rows, ruleset.lists)
        hits = [hit_of(rule) for rule in ruleset.rules]
        self._surely = [scalar.condition(bound(hit, names, SURELY)) for hit in hits]
        self._maybe: list[Holds | None] = [
            scalar.condition(bound(hit, names, MAYBE)) if rule.on_degraded == HIT else None
            for hit, rule in zip(hits, ruleset.rules, strict=True)
        ]

    def evaluate(self, frame: Frame) -> tuple[Hits, NDArray[np.bool_]]:
        """Hits, and which of them are assumed (`on_degraded: hit`), bool `(n_rules, n)`.

        `frame` has NaN for every feature that comes from the state, and no scores.
        """
        batch = frame.batch()
        surely = np.zeros((len(self._surely), batch.n), np.bool_)
        assumed = np.zeros_like(surely)
        for index in np.flatnonzero(frame.columns.decides).tolist():
            row = batch.row(index)
            for place, (sure, may_be) in enumerate(zip(self._surely, self._maybe, strict=True)):
                surely[place, index] = hit = sure(row)
                assumed[place, index] = not hit and may_be is not None and may_be(row)
        return Hits(surely | assumed, self.ruleset.canaries(frame.columns)), assumed


def _needs_state(node: ir.Node, names: Collection[str]) -> bool:
    return any(
        isinstance(part, ir.Score) or (isinstance(part, ir.Feature) and part.name in names) for part in ir.walk(node)
    )
