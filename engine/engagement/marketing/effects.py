"""What campaigns do, measured while they run: everybody whom a campaign would have reached counts once an occasion,
whether they got it or were held out.

An exposure notes what the customer spent in the four weeks before; four weeks later what they have spent since is
counted, less refunds, and less what turned out to be fraud. Of one campaign a customer has one exposure at a time: one
that comes within the window of another is part of what that one did.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.history import History
from engine.engagement.models.effect import Effect

WINDOW_MS: Final = 28 * DAY_MS
"""Attribution: what is spent within it is counted. Four weeks have the same weekdays before and after."""
NEVER: Final = 2**62


class Exposure(NamedTuple):
    """A campaign's occasion: when it was, whether the customer was held out, minor units spent in the window before."""

    at_ms: int
    held: bool
    before: int


@dataclass(slots=True)
class Exposures:
    """A customer's open exposures, by campaign and version."""

    of: dict[str, Exposure] = field(default_factory=dict)

    def open(self, campaign: str, held: bool, at_ms: int, history: History) -> bool:
        """Note an occasion. False where another is open."""
        if campaign in self.of:
            return False
        self.of[campaign] = Exposure(at_ms, held, history.spend(at_ms - WINDOW_MS, at_ms))
        return True

    def next_due(self) -> int:
        """When the next window closes."""
        return min((one.at_ms + WINDOW_MS for one in self.of.values()), default=NEVER)

    def close(self, now_ms: int, history: History) -> list[tuple[str, bool, int, int]]:
        """Windows that have closed: campaign, held out, minor units spent in it and in the one before."""
        found = []
        for campaign, one in sorted(self.of.items()):
            ends = one.at_ms + WINDOW_MS
            if ends <= now_ms:
                found.append((campaign, one.held, history.spend(one.at_ms, ends), one.before))
        for campaign, *_ in found:
            del self.of[campaign]
        return found

    def dump(self) -> Any:
        """As stored."""
        return {campaign: tuple(one) for campaign, one in self.of.items()}

    @classmethod
    def load(cls, stored: Any) -> "Exposures":
        """What `dump` gave."""
        return cls({campaign: Exposure(*one) for campaign, one in stored.items()})


@dataclass(slots=True)
class Effects:
    """A shard's effects by campaign and version, in major units of the base currency.

    Attributes:
        exponent: of the base currency.
        cost: what was granted, less what was taken back, by campaign: minor units of the base currency, where the
            reward is money; points and coupons cost what the operator says they do.
    """

    exponent: int = 2
    of: dict[str, Effect] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)

    def observe(self, closed: list[tuple[str, bool, int, int]]) -> None:
        """Take in windows that have closed."""
        scale = 10.0**self.exponent
        for campaign, held, spent, before in closed:
            self.of.setdefault(campaign, Effect()).observe(held, spent / scale, before / scale)

    def paid(self, campaign: str, minor: int) -> None:
        """A reward was granted (or, below 0, taken back)."""
        self.cost[campaign] = self.cost.get(campaign, 0) + minor

    def add(self, other: "Effects") -> None:
        """Take in those of another shard."""
        for campaign, effect in other.of.items():
            self.of.setdefault(campaign, Effect()).add(effect)
        for campaign, minor in other.cost.items():
            self.paid(campaign, minor)

    def dump(self) -> Any:
        """As stored."""
        return {campaign: effect.dump() for campaign, effect in self.of.items()}, self.cost

    @classmethod
    def load(cls, stored: Any, exponent: int = 2) -> "Effects":
        """What `dump` gave."""
        effects, cost = stored
        return cls(exponent, {campaign: Effect(value) for campaign, value in effects.items()}, dict(cost))
