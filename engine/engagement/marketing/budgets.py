"""Budgets of campaigns in one shard: what is granted is reserved first, and never more than the shard's lease.

A budget is divided over the shards at birth: each may reserve up to its lease, and the leases add up to the budget. So
reserved + spent is never above it, whatever the shards know of each other. A shard that runs short asks another for a
part of what that has left (`control.budget`, docs/adr/0025). What is given is taken off before it is said, and each
letter says all that its sender ever gave to its receiver: lost ones are made up for by the next, repeated and late ones
change nothing.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.ruleset.campaigns.model import Campaign

AHEAD: Final = 8
"""Grants of the size of the last for which a lease should be good: with less, another shard is asked."""
PATIENCE_MS: Final = 3_600_000
"""So long an answer is waited for; and so long nobody is asked, once nobody had enough. Event time of the shard."""
ASKED_MAX: Final = 8
"""Shards in a row that did not have enough, after which nobody is asked for a while."""


class Transfer(NamedTuple):
    """What one shard tells another of a budget, `key` (`engine.domain.events.ControlBudget`)."""

    key: str
    sender: int
    receiver: int
    generation: int
    number: int
    wanted: int
    given: int


@dataclass(slots=True)
class Exchange:
    """What a shard has moved of one budget, and what it waits for.

    Attributes:
        got, gave: by shard, what that ever gave this one, and this one ever gave that: they only grow.
        answered: by shard, the number of its latest request that was answered.
        number: requests made; wanted: what the latest asks for, 0 once it was answered; since_ms: when it was made.
        short: answers in a row that brought less than was asked for.
    """

    got: dict[int, int] = field(default_factory=dict)
    gave: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)
    number: int = 0
    wanted: int = 0
    since_ms: int = 0
    short: int = 0

    def dump(self) -> Any:
        """As stored."""
        return self.got, self.gave, self.answered, self.number, self.wanted, self.since_ms, self.short


@dataclass(slots=True)
class Budget:
    """`lease`: what this shard may give; `reserved`: promised, but may still be taken back; `spent`: gone. `part`: what
    the campaign's file gave of the lease; the rest was moved here. `exchange`: None where nothing ever was moved."""

    lease: int = 0
    reserved: int = 0
    spent: int = 0
    part: int = 0
    exchange: Exchange | None = None

    @property
    def left(self) -> int:
        """What may still be promised."""
        return self.lease - self.reserved - self.spent

    @property
    def given(self) -> int:
        """What others were given, less what they gave: over all shards, what is on its way."""
        return 0 if self.exchange is None else sum(self.exchange.gave.values()) - sum(self.exchange.got.values())


@dataclass(slots=True)
class Budgets:
    """By campaign and version.

    Attributes:
        shard, shards: which of how many this is.
        generation: how often they have been made others: what shards of before say is passed over.
        short: by campaign, how much more it could do with; for whoever asks (`requests`).
    """

    of: dict[str, Budget] = field(default_factory=dict)
    generation: int = 0
    shard: int = field(default=0, compare=False)
    shards: int = field(default=1, compare=False)
    short: dict[str, int] = field(default_factory=dict, compare=False)

    def adopt(self, campaigns: list[Campaign], shard: int, shards: int) -> None:
        """Give each campaign with a budget this shard's part; the first shards get what does not divide. Where the
        file has another budget than before, the lease changes by the difference; what is promised stays promised."""
        self.shard, self.shards = shard, shards
        for campaign in campaigns:
            if campaign.budget is not None:
                whole, rest = divmod(campaign.budget.minor, shards)
                budget = self.of.setdefault(campaign.key, Budget())
                part = whole + (shard < rest)
                budget.lease += part - budget.part
                budget.part = part

    def know(self, campaign: Campaign) -> None:
        """See that a campaign that is in force in another shard has its part here."""
        if campaign.budget is not None and campaign.key not in self.of:
            self.adopt([campaign], self.shard, self.shards)

    def allows(self, campaign: Campaign, minor: int) -> bool:
        """Whether so much could be promised."""
        return campaign.budget is None or minor <= self.of[campaign.key].left

    def reserve(self, campaign: Campaign, minor: int) -> bool:
        """Promise so much. False, and nothing is promised, where it is not there."""
        if campaign.budget is None:
            return True
        key = campaign.key
        budget = self.of[key]
        allowed = minor <= budget.left
        if allowed:
            budget.reserved += minor
        if self.shards > 1 and budget.left < AHEAD * minor:
            self.short[key] = AHEAD * minor - max(budget.left, 0)
        return allowed

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

    # Between shards

    def requests(self, now_ms: int) -> list[Transfer]:
        """What to ask other shards for now: of each budget that ran short one at a time, and none for a while where
        enough of them had too little."""
        short, self.short = self.short, {}
        found = []
        for key, wanted in short.items():
            budget = self.of[key]
            if budget.exchange is None:
                budget.exchange = Exchange()
            mine = budget.exchange
            waits = mine.wanted or mine.short >= min(self.shards - 1, ASKED_MAX)
            if waits and now_ms < mine.since_ms + PATIENCE_MS:
                continue
            if mine.short >= min(self.shards - 1, ASKED_MAX):
                mine.short = 0
            mine.number += 1
            mine.wanted, mine.since_ms = wanted, now_ms
            peer = (self.shard + 1 + (mine.number - 1) % (self.shards - 1)) % self.shards
            found.append(self._transfer(key, peer, mine.number, wanted))
        return found

    def take(self, told: Transfer) -> Transfer | None:
        """Take in what another shard tells; the answer to a request, None for none."""
        others = told.sender != self.shard and 0 <= told.sender < self.shards
        if not others or told.receiver != self.shard or told.generation != self.generation:
            return None
        budget = self.of.setdefault(told.key, Budget())
        if budget.exchange is None:
            budget.exchange = Exchange()
        mine = budget.exchange
        more = max(0, told.given - mine.got.get(told.sender, 0))
        if more:
            budget.lease += more
            mine.got[told.sender] = told.given
        if told.wanted:
            return self._give(budget, mine, told)
        if told.number == mine.number and mine.wanted:
            mine.short = 0 if more >= mine.wanted else mine.short + 1
            mine.wanted = 0
        return None

    def _give(self, budget: Budget, mine: Exchange, told: Transfer) -> Transfer | None:
        """Give half of what is left, or what is wanted where that is more; all where it is less than that."""
        if told.number <= mine.answered.get(told.sender, 0):
            return None
        mine.answered[told.sender] = told.number
        left = max(budget.left, 0)
        given = min(left, max(left // 2, told.wanted))
        if given:
            budget.lease -= given
            mine.gave[told.sender] = mine.gave.get(told.sender, 0) + given
        return self._transfer(told.key, told.sender, told.number, 0)

    def _transfer(self, key: str, receiver: int, number: int, wanted: int) -> Transfer:
        mine = self.of[key].exchange
        given = mine.gave.get(receiver, 0) if mine is not None else 0
        return Transfer(key, self.shard, receiver, self.generation, number, wanted, given)

    # As stored

    def dump(self) -> Any:
        """As stored."""
        stored = {
            key: (b.lease, b.reserved, b.spent, b.part, *(() if b.exchange is None else (b.exchange.dump(),)))
            for key, b in self.of.items()
        }
        return {**stored, GENERATION: self.generation} if self.generation else stored

    @classmethod
    def load(cls, stored: Any) -> "Budgets":
        """What `dump` gave."""
        generation = stored.pop(GENERATION, 0)
        found = {
            key: Budget(*values[:4], *(Exchange(*exchange) for exchange in values[4:]))
            for key, values in stored.items()
        }
        return cls(found, generation)


GENERATION: Final = ""
"""Stands among campaigns as stored, none of which is called so."""
