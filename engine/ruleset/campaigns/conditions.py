"""The expressions of campaigns, compiled: evaluated one event and customer at a time, for few events reach them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import build, ir
from engine.ruleset.batch import Batch
from engine.ruleset.build import TRUE
from engine.ruleset.campaigns.model import CASHBACK, Campaign, Reward
from engine.ruleset.row import Row
from engine.ruleset.scalar import Scalar
from engine.ruleset.vector import Vector


class Conditions:
    """Conditions and amounts of campaigns, by their place among them."""

    def __init__(self, scalar: Scalar, vector: Vector, campaigns: Sequence[Campaign]) -> None:
        self._may = [vector.condition(_of_events(campaign.when)) for campaign in campaigns]
        self._holds = [scalar.condition(campaign.when) for campaign in campaigns]
        self._amounts = [
            scalar.number(build.as_number(campaign.reward.amount)) if campaign.reward is not None else None
            for campaign in campaigns
        ]
        self._most = [campaign.reward.most if campaign.reward is not None else None for campaign in campaigns]

    def may(self, place: int, batch: Batch) -> NDArray[np.bool_]:
        """Where a campaign's condition may hold, whoever the customer is: bool `(n,)`."""
        return self._may[place](batch)

    def holds(self, place: int, row: Row) -> bool:
        """Whether a campaign's condition holds."""
        return self._holds[place](row)

    def amount(self, place: int, row: Row) -> float:
        """What it grants, in points, coupons or major units of its currency; 0 of nothing, or where that is missing."""
        find = self._amounts[place]
        found = find(row) if find is not None else 0.0
        if not math.isfinite(found) or found <= 0.0:
            return 0.0
        most = self._most[place]
        return found if most is None else min(found, most)


def _of_events(node: ir.Node) -> ir.Node:
    """What a condition asks of the event alone, of the parts that have to hold together."""
    parts = node.args if isinstance(node, ir.And) else (node,)
    alone = [part for part in parts if not any(isinstance(inner, ir.Customer) for inner in ir.walk(part))]
    return TRUE if not alone else alone[0] if len(alone) == 1 else ir.And(node.kind, tuple(alone))


def units(reward: Reward, amount: float, exponent: int) -> int:
    """An amount as the ledger has it: whole points and coupons, minor units of a currency with that exponent.

    What is less than one is not granted. The hair that is added makes up for decimals that binary cannot hold.
    """
    return int(amount * 10**exponent + 1e-6) if reward.kind == CASHBACK else int(amount + 1e-9)
