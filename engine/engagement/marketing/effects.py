"""What campaigns do, measured while they run: everybody whom a campaign would have reached counts once an occasion,
whether they got it or were held out.

An exposure notes what the customer spent in the four weeks before; four weeks later what they have spent since is
counted, less refunds, and less what turned out to be fraud. Of one campaign a customer has one exposure at a time: one
that comes within the window of another is part of what that one did.
"""

from dataclasses import astuple, dataclass, field, fields
from typing import Any, Final, NamedTuple

from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.history import History
from engine.engagement.models.effect import Effect

WINDOW_MS: Final = 28 * DAY_MS
"""Attribution: what is spent within it is counted. Four weeks have the same weekdays before and after."""
NEVER: Final = 2**62


class Exposure(NamedTuple):
    """A campaign's occasion: when it was, whether the customer was held out, minor units spent in the window before,
    and what it has given since, less what was taken back: units of the reward, or minor units that offers took off."""

    at_ms: int
    held: bool
    before: int
    given: int = 0


class Closed(NamedTuple):
    """A window that has closed: minor units spent in it and in the one before, and what was given in it."""

    campaign: str
    held: bool
    spent: int
    before: int
    given: int


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

    def give(self, campaign: str, units: int) -> bool:
        """So much more was given. False where nothing is open."""
        one = self.of.get(campaign)
        if one is None or one.held:
            return False
        self.of[campaign] = one._replace(given=one.given + units)
        return True

    def next_due(self) -> int:
        """When the next window closes."""
        return min([one.at_ms for one in self.of.values()]) + WINDOW_MS if self.of else NEVER

    def close(self, now_ms: int, history: History) -> list[Closed]:
        """Windows that have closed."""
        found = []
        for campaign, one in sorted(self.of.items()):
            ends = one.at_ms + WINDOW_MS
            if ends <= now_ms:
                found.append(Closed(campaign, one.held, history.spend(one.at_ms, ends), one.before, one.given))
        for closed in found:
            del self.of[closed.campaign]
        return found


@dataclass(slots=True)
class Tally:
    """What a campaign has given, of one kind and currency.

    Attributes:
        kind: of the reward, or "offer"; currency: of its money, "" for points.
        worth: what a coupon, or an offer that is used, costs at most, in major units of the currency.
        grants: how often it granted; granted, taken: units of the ledger that it granted and that were taken back.
        offers: that it issued, withdrawn ones too; used: minor units that redeemed ones took off.
        held: occasions of customers who were held out.
        reach: customers who got something of it.
        waiting: customers who got something and whose window is open; promised: what they were given in it.
        measured: what was given, in all, to those whose window has closed.
    """

    kind: str = ""
    currency: str = ""
    worth: float = 0.0
    grants: int = 0
    granted: int = 0
    taken: int = 0
    offers: int = 0
    used: int = 0
    held: int = 0
    reach: int = 0
    waiting: int = 0
    promised: int = 0
    measured: int = 0

    def add(self, other: "Tally") -> None:
        """Take in that of another shard."""
        self.describe(other.kind, other.currency, other.worth)
        for one in fields(self)[3:]:
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def describe(self, kind: str, currency: str, worth: float) -> None:
        """Say what it gives; the last that says so counts."""
        if kind:
            self.kind, self.currency, self.worth = kind, currency, worth


@dataclass(slots=True)
class Effects:
    """A shard's effects by campaign and version, in major units of the base currency.

    Attributes:
        exponent: of the base currency.
        tallies: what campaigns have given, in the units of their ledgers.
    """

    exponent: int = 2
    of: dict[str, Effect] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def observe(self, closed: list[Closed]) -> None:
        """Take in windows that have closed."""
        scale = 10.0**self.exponent
        for one in closed:
            self.of.setdefault(one.campaign, Effect()).observe(one.held, one.spent / scale, one.before / scale)
            if not one.held:
                tally = self.tally(one.campaign)
                tally.waiting -= 1
                tally.promised -= one.given
                tally.measured += one.given

    def open(self, campaign: str, held: bool, at_ms: int, exposures: Exposures, history: History) -> None:
        """Note an occasion of a customer, unless another is open."""
        if exposures.open(campaign, held, at_ms, history) and not held:
            self.tally(campaign).waiting += 1

    def give(self, campaign: str, units: int, exposures: Exposures) -> None:
        """A customer was given so much; less than nothing where it was taken back, and then, where no window is open,
        of what was given in one that has closed."""
        tally = self.tally(campaign)
        if exposures.give(campaign, units):
            tally.promised += units
        elif units < 0:
            tally.measured = max(0, tally.measured + units)

    def drop(self, exposures: Exposures) -> None:
        """A customer is forgotten: what is open never closes."""
        for campaign, one in exposures.of.items():
            if not one.held:
                tally = self.tally(campaign)
                tally.waiting -= 1
                tally.promised -= one.given

    def tally(self, campaign: str) -> Tally:
        """What a campaign has given, to be added to."""
        return self.tallies.setdefault(campaign, Tally())

    def add(self, other: "Effects") -> None:
        """Take in those of another shard."""
        for campaign, effect in other.of.items():
            self.of.setdefault(campaign, Effect()).add(effect)
        for campaign, tally in other.tallies.items():
            self.tally(campaign).add(tally)

    def dump(self) -> Any:
        """As stored."""
        tallies = {campaign: astuple(tally) for campaign, tally in self.tallies.items()}
        return {campaign: effect.dump() for campaign, effect in self.of.items()}, tallies

    @classmethod
    def load(cls, stored: Any, exponent: int = 2) -> "Effects":
        """What `dump` gave."""
        effects, tallies = stored
        return cls(
            exponent,
            {campaign: Effect(value) for campaign, value in effects.items()},
            {campaign: Tally(*values) for campaign, values in tallies.items()},
        )
