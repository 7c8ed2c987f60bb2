"""The expressions of campaigns, compiled: evaluated one event and customer at a time, for few events reach them."""

import math
from collections.abc import Sequence

from engine.ruleset import build
from engine.ruleset.campaigns.model import CASHBACK, Campaign, Reward
from engine.ruleset.row import Row
from engine.ruleset.scalar import Scalar


class Conditions:
    """Conditions and amounts of campaigns, by their place among them."""

    def __init__(self, scalar: Scalar, campaigns: Sequence[Campaign]) -> None:
        self._holds = [scalar.condition(campaign.when) for campaign in campaigns]
        self._amounts = [
            scalar.number(build.as_number(campaign.reward.amount)) if campaign.reward is not None else None
            for campaign in campaigns
        ]
        self._most = [campaign.reward.most if campaign.reward is not None else None for campaign in campaigns]

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


def units(reward: Reward, amount: float, exponent: int) -> int:
    """An amount as the ledger has it: whole points and coupons, minor units of a currency with that exponent.

    What is less than one is not granted. The hair that is added makes up for decimals that binary cannot hold.
    """
    return int(amount * 10**exponent + 1e-6) if reward.kind == CASHBACK else int(amount + 1e-9)
