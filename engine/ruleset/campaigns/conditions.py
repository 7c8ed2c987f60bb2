"""The expressions of campaigns, compiled: what follows from events alone for a batch at once, the rest one event and
customer at a time (`engine.ruleset.campaigns.sheet`)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.ruleset import build, ir
from engine.ruleset.batch import Batch
from engine.ruleset.build import TRUE
from engine.ruleset.campaigns.model import CASHBACK, Campaign, Reward
from engine.ruleset.campaigns.sheet import Halves, Sheet, asks
from engine.ruleset.campaigns.suspecting import Crowd, Found, Suspecting
from engine.ruleset.program import ROWS_SCALAR_MAX
from engine.ruleset.row import Row
from engine.ruleset.scalar import Scalar
from engine.ruleset.vector import Vector


class Conditions:
    """Conditions and amounts of campaigns, and what they suspect, by their place among them."""

    def __init__(self, scalar: Scalar, vector: Vector, campaigns: Sequence[Campaign]) -> None:
        self._halves = halves = Halves(scalar.rows, scalar.lists, vector)
        whens = [_halved(campaign.when) for campaign in campaigns]
        self._may = [vector.condition(of_event) for of_event, _ in whens]
        self._holds = [
            (scalar.condition(campaign.when), halves.condition(rest))
            for campaign, (_, rest) in zip(campaigns, whens, strict=True)
        ]
        self._stands = [None if rest is TRUE else scalar.condition(rest) for _, rest in whens]
        amounts = [
            build.as_number(campaign.reward.amount) if campaign.reward is not None else None for campaign in campaigns
        ]
        self._amounts = [None if node is None else (scalar.number(node), halves.number(node)) for node in amounts]
        self._most = [campaign.reward.most if campaign.reward is not None else None for campaign in campaigns]
        self._suspecting = Suspecting(scalar, campaigns), Suspecting(halves, campaigns)

    def may(self, place: int, batch: Batch) -> NDArray[np.bool_]:
        """Where a campaign's condition may hold, whoever the customer is: bool `(n,)`."""
        return np.broadcast_to(self._may[place](batch), batch.n)

    def sheet(self, batch: Batch) -> Sheet | None:
        """A batch whose rows need only be asked about campaigns that `may`; None for one so small that columns cost
        more than they spare."""
        return self._halves.sheet(batch) if batch.n > ROWS_SCALAR_MAX else None

    def holds(self, place: int, row: Row) -> bool:
        """Whether a campaign's condition holds; of a row of a sheet, where it `may`."""
        return self._holds[place][row.halved](row)

    def asks_customer(self, place: int) -> bool:
        """Whether a campaign's condition has a part that asks something of the customer."""
        return self._stands[place] is not None

    def stands(self, place: int, row: Row) -> bool:
        """Whether those parts of a campaign's condition hold that ask something of the customer; true of none. Parts
        that ask something of the event as well do not hold where the row has none."""
        holds = self._stands[place]
        return holds is None or holds(row)

    def amount(self, place: int, row: Row) -> float:
        """What it grants, in points, coupons or major units of its currency; 0 of nothing, or where that is missing."""
        find = self._amounts[place]
        found = find[row.halved](row) if find is not None else 0.0
        if not math.isfinite(found) or found <= 0.0:
            return 0.0
        most = self._most[place]
        return found if most is None else min(found, most)

    def suspected(self, place: int, row: Row, crowd: Crowd = ()) -> list[Found]:
        """What makes its grant suspicious; most often nothing. `crowd`: that the request of its payment showed."""
        if crowd:
            row = self._suspecting[False].asked(row, crowd)
        return self._suspecting[row.halved].found(place, row)


def _halved(node: ir.Node) -> tuple[ir.Node, ir.Node]:
    """What a condition asks of the event alone, of the parts that have to hold together; and of the customer, too."""
    parts = node.args if isinstance(node, ir.And) else (node,)
    of_event = [part for part in parts if not asks(part)]
    return _all_of(node, of_event), _all_of(node, [part for part in parts if asks(part)])


def _all_of(node: ir.Node, some: list[ir.Node]) -> ir.Node:
    """Some parts of a condition, of which all have to hold."""
    return TRUE if not some else some[0] if len(some) == 1 else ir.And(node.kind, tuple(some))


def read_of_customer(campaign: Campaign) -> set[str]:
    """Names of the customer that its condition, amount and suspicions read."""
    amount = [campaign.reward.amount] if campaign.reward is not None else []
    trees = [campaign.when, *amount, *(tree for one in campaign.abuse for tree in (one.when, one.value))]
    return {node.name for tree in trees for node in ir.walk(tree) if isinstance(node, ir.Customer)}


def units(reward: Reward, amount: float, exponent: int) -> int:
    """An amount as the ledger has it: whole points and coupons, minor units of a currency with that exponent.

    What is less than one is not granted. The hair that is added makes up for decimals that binary cannot hold.
    """
    return int(amount * 10**exponent + 1e-6) if reward.kind == CASHBACK else int(amount + 1e-9)
