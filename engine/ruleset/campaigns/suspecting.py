"""The conditions of abuse, compiled: asked of an event and customer to whom a campaign is about to give something.

Systems that settle payments seldom say which device one was made with. So what its request showed counts as well: how
many customers shared its device, card or address then (`Crowd`), remembered only where that is more than some campaign
lets pass.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import ir
from engine.ruleset.campaigns.model import SHARED, Campaign
from engine.ruleset.row import Holds, NumberOf, Row
from engine.ruleset.scalar import Scalar


class Found(NamedTuple):
    """What makes a grant suspicious: the reason code, and a line for people."""

    code: str
    detail: str


Crowd: TypeAlias = tuple[int, ...]
"""How many customers share each of `SHARED`; 0 where the event does not name it, or nobody asks."""
COUNTED_MAX: Final = 65_535


class Crowds:
    """Of decisions, those that show more customers who share something than a campaign lets pass.

    Args:
        rows: feature name to its row of the matrix.
        campaigns: in force.
    """

    def __init__(self, rows: Mapping[str, int], campaigns: Sequence[Campaign]) -> None:
        least: dict[str, tuple[int, int]] = {}
        for one in (one for campaign in campaigns for one in campaign.abuse if one.shared):
            most, row = least.get(one.shared, (one.most, row_of(rows, one.value)))
            least[one.shared] = min(most, one.most), row
        self._places = [SHARED.index(name) for name in least]
        self._most = np.array([[most] for most, _ in least.values()], np.float64)
        self.rows = np.array([row for _, row in least.values()], np.intp)

    def of(self, matrix: NDArray[np.float64]) -> dict[int, Crowd]:
        """By column of the matrix of features; most often none."""
        if not len(self.rows):
            return {}
        counts = matrix.take(self.rows, axis=0)
        over = counts > self._most
        if not over.any():
            return {}
        return {column: self._crowd(counts[:, column]) for column in np.flatnonzero(over.any(axis=0)).tolist()}

    def _crowd(self, counts: NDArray[np.float64]) -> Crowd:
        crowd = [0] * len(SHARED)
        for place, count in zip(self._places, np.nan_to_num(counts).tolist(), strict=True):
            crowd[place] = min(int(count), COUNTED_MAX)
        return tuple(crowd)


def row_of(rows: Mapping[str, int], node: ir.Node) -> int:
    """The row of the feature that a suspicion shows."""
    return next(rows[inner.name] for inner in ir.walk(node) if isinstance(inner, ir.Feature))


class Suspecting:
    """Suspicions of campaigns, by their place among them."""

    def __init__(self, scalar: Scalar, campaigns: Sequence[Campaign]) -> None:
        self._of: list[list[tuple[Holds, NumberOf, str, str]]] = [
            [(scalar.condition(one.when), scalar.number(one.value), one.code, one.what) for one in campaign.abuse]
            for campaign in campaigns
        ]
        shown = {one.shared: one.value for campaign in campaigns for one in campaign.abuse if one.shared}
        self._rows = {SHARED.index(name): row_of(scalar.rows, value) for name, value in shown.items()}

    def asked(self, row: Row, crowd: Crowd) -> Row:
        """An event whose payment's request showed these crowds: the larger ones count."""
        features = list(row.features)
        for place, at in self._rows.items():
            count = float(crowd[place]) if place < len(crowd) else 0.0
            features[at] = count if count and not features[at] >= count else features[at]
        return Row(
            row.strings, row.numbers, row.bools, features, row.time_ms, row.text, row.scores, row.lists, row.rates,
            row.customer,
        )  # fmt: skip

    def found(self, place: int, row: Row) -> list[Found]:
        """Those that hold; most often none."""
        return [Found(code, what.format(value(row))) for holds, value, code, what in self._of[place] if holds(row)]
