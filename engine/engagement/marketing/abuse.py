"""Rewards that look like abuse: granted, but frozen, until somebody has looked.

A frozen lot stays pending. An alert of kind `abuse` says why; when it is resolved as legitimate its lots are released,
as fraud they are taken back. The customer's own money is never frozen. Findings of a customer on one day for the same
reasons are one alert.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.engagement.calendar import DAY_MS
from engine.engagement.ledger.keys import lot_id
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import Movement
from engine.ruleset.campaigns.suspecting import Found

RESOLVED: Final = "abuse.resolved"
"""What a customer is told when somebody has looked: no type of event, so that no campaign waits for it."""
LEGITIMATE: Final = "legitimate"
CLEARED_MS: Final = 90 * DAY_MS
"""After somebody has found nothing wrong, the same reasons freeze nothing for so long."""
OPEN_MAX: Final = 32
"""Open alerts of a customer; what is found beyond them joins the latest."""


class Open(NamedTuple):
    """An alert that nobody has resolved: UTC day on which it was raised, its reason codes, the lots it froze."""

    day: int
    codes: tuple[str, ...]
    lots: tuple[int, ...]


@dataclass(slots=True)
class Suspected:
    """What a customer is suspected of.

    Attributes:
        open: alerts by id, in the order in which they were raised.
        cleared: until when a code freezes nothing.
    """

    open: dict[str, Open] = field(default_factory=dict)
    cleared: dict[str, int] = field(default_factory=dict)

    def of(self, found: Sequence[Found], now_ms: int) -> list[Found]:
        """Those of some findings that nobody has cleared."""
        return [one for one in found if self.cleared.get(one.code, 0) <= now_ms]

    def join(self, codes: tuple[str, ...], lot: int, day: int) -> bool:
        """Put a lot to an open alert of that day and those reasons. False where a new one is to be raised."""
        same = [name for name, one in self.open.items() if one.day == day and set(codes) <= set(one.codes)]
        if not same and len(self.open) >= OPEN_MAX:
            same = list(self.open)
        if same:
            one = self.open[same[-1]]
            self.open[same[-1]] = one._replace(lots=(*one.lots, lot))
        return bool(same)

    def raised(self, alert_id: str, codes: tuple[str, ...], lot: int, day: int, ledger: Ledger) -> None:
        """A new alert; those of which nothing is frozen any more are forgotten."""
        for name, one in list(self.open.items()):
            if not ledger.frozen(one.lots):
                del self.open[name]
        self.open[alert_id] = Open(day, codes, (lot,))

    def resolve(self, alert_id: str, legitimate: bool, ledger: Ledger, now_ms: int) -> list[Movement]:
        """Release what an alert froze, or take it back; nothing of an alert that is not open."""
        one = self.open.pop(alert_id, None)
        if one is None:
            return []
        if not legitimate:
            return ledger.forfeit(one.lots, now_ms)
        self.cleared = {code: until for code, until in self.cleared.items() if until > now_ms}
        self.cleared.update(dict.fromkeys(one.codes, now_ms + CLEARED_MS))
        return ledger.release(one.lots, now_ms)

    def dump(self) -> Any:
        """As stored; None for nothing, as of most customers."""
        if not (self.open or self.cleared):
            return None
        return [(name, *one) for name, one in self.open.items()], self.cleared

    @classmethod
    def load(cls, stored: Any) -> "Suspected":
        """What `dump` gave."""
        if stored is None:
            return cls()
        opened, cleared = stored
        return cls({name: Open(day, tuple(codes), tuple(lots)) for name, day, codes, lots in opened}, dict(cleared))


def freeze(
    suspected: Suspected, ledger: Ledger, customer_id: str, found: Sequence[Found], lot: int, campaign: str,
    event_id: str, now_ms: int,
) -> Alert | None:  # fmt: skip
    """Freeze a lot. Returns the alert that is to go out; None where one of that day stands for it."""
    ledger.freeze([lot], True)
    codes, day = tuple(one.code for one in found), now_ms // DAY_MS
    if suspected.join(codes, lot, day):
        return None
    alert_id = output_id("alert", "abuse", customer_id, f"{lot:016x}")
    suspected.raised(alert_id, codes, lot, day, ledger)
    return Alert(
        alert_id=alert_id,
        kind="abuse",
        severity="medium",
        event_id=event_id,
        customer_id=customer_id,
        title=f"a reward of {campaign} is frozen",
        reasons=[Reason(one.code, campaign, f"{one.detail}; frozen: {lot_id(customer_id, lot)}") for one in found],
        suggested_action="look into it; resolved as legitimate it releases what is frozen, as fraud it takes that back",
    )
