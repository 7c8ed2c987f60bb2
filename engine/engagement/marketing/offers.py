"""Offers that a customer has: issued, to be sent at an instant, withdrawn before it where their ground is gone."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.ruleset.campaigns.model import campaign_key

OPEN_MAX: Final = 32
"""Offers of one customer that are open at a time; the oldest are forgotten, they have been sent long since."""
NEVER: Final = 2**62


class Open(NamedTuple):
    """One offer.

    Attributes:
        offer_id, campaign, version, spec: what it is; `spec` is the id of the offer within its campaign.
        send_ms, expires_ms: when it goes out and how long it stands.
        payment: hash of the payment it is about, 0 for none: a refund of it takes its ground away.
        purpose: consent it needs, "" for none.
        minor: of the campaign's budget, reserved for it.
        sent: its time has come and its ground still stood.
    """

    offer_id: str
    campaign: str
    version: int
    spec: str
    send_ms: int
    expires_ms: int
    payment: int
    purpose: str
    minor: int
    sent: bool

    @property
    def key(self) -> str:
        """Of the campaign, by which budgets and tallies know it."""
        return campaign_key(self.campaign, self.version)


@dataclass(slots=True)
class Offers:
    """A customer's open offers, by id."""

    of: dict[str, Open] = field(default_factory=dict)

    def issue(self, offer: Open) -> list[Open]:
        """Hold an offer. Returns those that are forgotten for it."""
        self.of[offer.offer_id] = offer
        old = sorted(self.of.values(), key=lambda one: (one.send_ms, one.offer_id))[:-OPEN_MAX]
        for one in old:
            del self.of[one.offer_id]
        return old

    def next_due(self) -> int:
        """When the next offer is to be sent, or one is over."""
        return min((one.expires_ms if one.sent else one.send_ms for one in self.of.values()), default=NEVER)

    def due(self, now_ms: int) -> list[Open]:
        """Those whose time to be sent has come, in order."""
        found = [one for one in self.of.values() if not one.sent and one.send_ms <= now_ms]
        return sorted(found, key=lambda one: (one.send_ms, one.offer_id))

    def over(self, now_ms: int) -> list[Open]:
        """Those that nobody used while they stood. They are forgotten."""
        found = [one for one in self.of.values() if one.sent and one.expires_ms <= now_ms]
        for one in found:
            del self.of[one.offer_id]
        return found

    def sent(self, offer: Open) -> None:
        """It goes out."""
        self.of[offer.offer_id] = offer._replace(sent=True)

    def take(self, offer_id: str) -> Open | None:
        """It is redeemed, or withdrawn."""
        return self.of.pop(offer_id, None)

    def unsent(self) -> list[Open]:
        """Those that can still be withdrawn, in order."""
        return sorted((one for one in self.of.values() if not one.sent), key=lambda one: (one.send_ms, one.offer_id))
