"""Caps by identity: how often whoever has this device, card or address has had something, whichever customers they are.

What is granted is claimed: a claim names the lot, the time and how much. Claims of an identity are a set: one that is
made again, by the same event processed again, changes nothing, and lets through what it let through before. Refunds
give no claim back: who pays, earns and refunds has had their chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.domain.fields import ENTITY_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.engagement.calendar import DAY_MS, period
from engine.ruleset.campaigns.model import REFERRER, Campaign, Cap

CLAIMS_MAX: Final = 200
"""Claims that count, of an identity and a campaign, each remembered by itself: with so many any cap is reached."""
_SPANS_MS: Final = {"day": 2 * DAY_MS, "week": 8 * DAY_MS, "month": 32 * DAY_MS, "year": 367 * DAY_MS}
"""No period is longer, in any time zone."""
_CODE_BITS: Final = 32

Name = tuple[int, int]
"""An identity's hash, and the code of campaign and kind of identity."""


class Claim(NamedTuple):
    """What one lot of a campaign took of an identity's caps; `number` stands for customer and lot."""

    number: int
    at_ms: int
    amount: float


class Bound(NamedTuple):
    """The caps of a campaign by one kind of identity.

    Attributes:
        field: row of `Columns.strings` that names the identity.
        code: see `Name`; another where claims stay for ever, as what is stored of the others goes with time.
        caps: at least one; lasts_ms: claims of before that count for none of them, 0 where all count for ever.
        required: without the identity nothing is given.
    """

    field: int
    code: int
    caps: tuple[Cap, ...]
    lasts_ms: int
    required: bool


def bounds_of(campaign: Campaign) -> tuple[Bound, ...]:
    """The caps of a campaign that are neither the customer's nor the referrer's, kind by kind."""
    found: dict[str, list[Cap]] = {}
    for cap in campaign.caps:
        if cap.by not in ("customer", REFERRER):
            found.setdefault(cap.by, []).append(cap)
    return tuple(_bound(campaign, by, tuple(caps)) for by, caps in found.items())


def _bound(campaign: Campaign, by: str, caps: tuple[Cap, ...]) -> Bound:
    spans = [_SPANS_MS[cap.period] if cap.period else cap.per_ms for cap in caps]
    lasts_ms = 0 if 0 in spans else max(spans)
    code = hash64("\x00".join((campaign.id, by, "passes" if lasts_ms else "stays"))) >> 64 - _CODE_BITS
    return Bound(STRING_INDEX[ENTITY_FIELDS[by]], code, caps, lasts_ms, any(cap.required for cap in caps))


@dataclass(slots=True)
class Identities:
    """Claims that are at hand.

    Attributes:
        bounds: of the campaigns in force, by their place; only those that have some.
        held: claims of identities, by number.
        fresh: what was claimed since whoever stores claims took it.
    """

    bounds: dict[int, tuple[Bound, ...]] = field(default_factory=dict)
    held: dict[Name, dict[int, Claim]] = field(default_factory=dict)
    fresh: list[tuple[Name, Bound, Claim]] = field(default_factory=list)

    @classmethod
    def of(cls, campaigns: Sequence[Campaign]) -> "Identities":
        """For the campaigns in force."""
        found = ((place, bounds_of(campaign)) for place, campaign in enumerate(campaigns))
        return cls({place: bounds for place, bounds in found if bounds})

    def room(self, place: int, number: int, strings: Sequence[int], now_ms: int, zone: str) -> float:
        """How much a campaign may still give whoever has what an event names: infinity where no cap says how much, 0
        where one says how often is enough."""
        least = float("inf")
        for bound in self.bounds[place]:
            identity = strings[bound.field]
            if not identity:
                if bound.required:
                    return 0.0
                continue
            claims = self.held.get((identity, bound.code), {})
            if number in claims:
                least = min(least, claims[number].amount)
                continue
            for cap in bound.caps:
                amounts = [one.amount for one in claims.values() if _counts(one, cap, now_ms, zone)]
                if len(amounts) >= (cap.times or CLAIMS_MAX):
                    return 0.0
                if cap.amount:
                    least = min(least, max(0.0, cap.amount - sum(amounts)))
        return least

    def take(self, place: int, number: int, strings: Sequence[int], amount: float, now_ms: int) -> None:
        """A campaign gave so much."""
        for bound in self.bounds[place]:
            identity = strings[bound.field]
            if identity:
                name, claim = (identity, bound.code), Claim(number, now_ms, amount)
                claims = self.held.setdefault(name, {})
                if number not in claims:
                    claims[number] = claim
                    self.fresh.append((name, bound, claim))
                if bound.lasts_ms and len(claims) > 2 * CLAIMS_MAX:
                    since = now_ms - bound.lasts_ms - DAY_MS  # customers' clocks are less than a day apart
                    self.held[name] = {key: one for key, one in claims.items() if one.at_ms > since}


def _counts(claim: Claim, cap: Cap, now_ms: int, zone: str) -> bool:
    """Whether a claim counts for a cap now: periods are those of the customer who asks."""
    if cap.per_ms:
        return claim.at_ms > now_ms - cap.per_ms
    return not cap.period or period(claim.at_ms, cap.period, zone) == period(now_ms, cap.period, zone)
