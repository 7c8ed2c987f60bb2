"""Budgets of campaigns in one shard: what is granted is reserved first, and never more than the shard's lease.

A budget is divided over the shards at birth: each may reserve up to its lease, and the leases add up to the budget.
What one shard does not need can be moved to another by control events on both logs. So reserved + spent is never above
the cap, whatever the shards know of each other.
"""

from dataclasses import dataclass, field
from typing import Any

from engine.ruleset.campaigns.model import Campaign


@dataclass(slots=True)
class Budget:
    """`lease`: what this shard may give; `reserved`: promised, but may still be taken back; `spent`: gone. `part`: what
    the campaign's file gave of the lease; the rest was moved here."""

    lease: int = 0
    reserved: int = 0
    spent: int = 0
    part: int = 0

    @property
    def left(self) -> int:
        """What may still be promised."""
        return self.lease - self.reserved - self.spent


@dataclass(slots=True)
class Budgets:
    """By campaign and version."""

    of: dict[str, Budget] = field(default_factory=dict)

    def adopt(self, campaigns: list[Campaign], shard: int, shards: int) -> None:
        """Give each campaign with a budget this shard's part; the first shards get what does not divide. Where the
        file has another budget than before, the lease changes by the difference; what is promised stays promised."""
        for campaign in campaigns:
            if campaign.budget is not None:
                whole, rest = divmod(campaign.budget.minor, shards)
                budget = self.of.setdefault(key_of(campaign), Budget())
                part = whole + (shard < rest)
                budget.lease += part - budget.part
                budget.part = part

    def allows(self, campaign: Campaign, minor: int) -> bool:
        """Whether so much could be promised."""
        return campaign.budget is None or minor <= self.of[key_of(campaign)].left

    def reserve(self, campaign: Campaign, minor: int) -> bool:
        """Promise so much. False, and nothing is promised, where it is not there."""
        if not self.allows(campaign, minor):
            return False
        if campaign.budget is not None:
            self.of[key_of(campaign)].reserved += minor
        return True

    def release(self, key: str, minor: int) -> None:
        """A promise was taken back."""
        budget = self.of.get(key)
        if budget is not None:
            budget.reserved -= min(minor, budget.reserved)

    def spend(self, key: str, minor: int) -> None:
        """A promise was kept."""
        budget = self.of.get(key)
        if budget is not None:
            kept = min(minor, budget.reserved)
            budget.reserved -= kept
            budget.spent += kept

    def move(self, key: str, minor: int) -> int:
        """Change the lease, by control events: what is added, or taken as far as it is not promised. Returns it."""
        budget = self.of.setdefault(key, Budget())
        moved = minor if minor >= 0 else -min(-minor, max(budget.left, 0))
        budget.lease += moved
        return moved

    def dump(self) -> Any:
        """As stored."""
        return {key: (b.lease, b.reserved, b.spent, b.part) for key, b in self.of.items()}

    @classmethod
    def load(cls, stored: Any) -> "Budgets":
        """What `dump` gave."""
        return cls({key: Budget(*values) for key, values in stored.items()})


def key_of(campaign: Campaign) -> str:
    """What budgets and business keys know a campaign by."""
    return f"{campaign.id}:{campaign.version}"
