"""Rewards that look like abuse: granted, but frozen, until somebody has looked.

A frozen lot stays pending. An alert of kind `abuse` says why; when it is resolved as legitimate its lots are released,
as fraud they are taken back. The customer's own money is never frozen. Findings of a customer on one day for the same
reasons are one alert.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.engagement.calendar import DAY_MS
from engine.engagement.ledger.keys import lot_id
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import Movement
from engine.ruleset.campaigns.suspecting import Crowd, Found

RESOLVED: Final = "abuse.resolved"
"""What a customer is told when somebody has looked: no type of event, so that no campaign waits for it."""
LEGITIMATE: Final = "legitimate"
FROZEN: Final = "; frozen"
"""Ends why an entry was made that grants what is frozen."""
CLEARED_MS: Final = 90 * DAY_MS
"""After somebody has found nothing wrong, the same reasons freeze nothing for so long."""
CROWDS_MAX: Final = 16
"""Payments of a customer of which it is remembered that their requests showed a crowd."""
CROWD_DAYS: Final = 30
"""So long what a payment showed tells against a reward that a customer is given once, for a payment or for several:
the longest window in which customers are counted."""
OPEN_MAX: Final = 32
"""Open alerts of a customer; what is found beyond them joins the latest."""

SELF_REFERRAL: Final = "SELF_REFERRAL"
MARKS: Final = (
    ("a device", "device_id"), ("a card", "card_id"), ("an address", "shipping_hash"), ("an e-mail", "email_hash"),
    ("payments", "counterparty_id"),
)  # fmt: skip
"""What a referrer and whom they referred should not share, and the field that names it. Of counterparties, that one of
them paid the other: people who pay the same landlord are two people."""
MARKS_KEPT: Final = 2
"""Of each kind, the latest."""
MARK_FIELDS: Final = [STRING_INDEX[name] for _, name in MARKS]
_PAID: Final = len(MARKS) - 1
_SELF: Final = len(MARKS)
_KIND: Final = 7


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
        cleared: until when a code freezes nothing, or of other alerts, is not told again.
        marks: what the customer was seen with (`marks_of`), the latest of each kind; only where a campaign asks.
        crowds: how many shared what the requests of the latest payments named, by payment: the UTC day, the numbers;
            only where they are more than some campaign lets pass (`engine.ruleset.campaigns.suspecting`).
    """

    open: dict[str, Open] = field(default_factory=dict)
    cleared: dict[str, int] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)
    crowds: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def ask(self, payment: int, day: int, crowd: Crowd) -> None:
        """A payment was asked for; of what was noted of it before, the larger numbers stay."""
        before = self.crowds.pop(payment, (day, *crowd))
        self.crowds[payment] = tuple(map(max, before, (day, *crowd)))
        if len(self.crowds) > CROWDS_MAX:
            del self.crowds[next(iter(self.crowds))]

    def shown(self, payment: int, once: bool, now_ms: int) -> Crowd:
        """The crowds that the request of a payment showed; for what is given `once` for all, those of other payments
        of the last `CROWD_DAYS` as well. Empty where nothing is noted."""
        if not self.crowds:
            return ()
        since = now_ms // DAY_MS - CROWD_DAYS
        found = [one[1:] for which, one in self.crowds.items() if which == payment or (once and one[0] > since)]
        return tuple(map(max, zip(*found, strict=False)))

    def see(self, marks: Iterable[int]) -> None:
        """The customer was seen with something."""
        for mark in marks:
            if mark not in self.marks:
                kind = [one for one in self.marks if (one ^ mark) & _KIND == 0]
                if len(kind) >= MARKS_KEPT:
                    self.marks.remove(kind[0])
                self.marks.append(mark)

    def of(self, found: Sequence[Found], now_ms: int) -> list[Found]:
        """Those of some findings that nobody has cleared."""
        return [one for one in found if self.cleared.get(one.code, 0) <= now_ms]

    def first(self, code: str, now_ms: int, until_ms: int) -> bool:
        """Whether a code is not told yet, and from now on it is until an instant."""
        if self.cleared.get(code, 0) > now_ms:
            return False
        self.cleared = {one: until for one, until in self.cleared.items() if until > now_ms} | {code: until_ms}
        return True

    def join(self, codes: tuple[str, ...], lot: int, day: int, ledger: Ledger) -> bool:
        """Put a lot to an open alert of that day and those reasons. False where a new one is to be raised. Of what is
        frozen no more, and alerts that hold nothing else, nothing is remembered."""
        same = [name for name, one in self.open.items() if one.day == day and set(codes) <= set(one.codes)]
        if not same:
            held = ((name, one._replace(lots=tuple(ledger.frozen(one.lots)))) for name, one in self.open.items())
            self.open = {name: one for name, one in held if one.lots}
            if len(self.open) < OPEN_MAX:
                return False
            same = list(self.open)
        one = self.open[same[-1]]
        self.open[same[-1]] = one._replace(lots=(*one.lots, lot))
        return True

    def raised(self, alert_id: str, codes: tuple[str, ...], lot: int, day: int) -> None:
        """A new alert."""
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
        if not (self.open or self.cleared or self.marks or self.crowds):
            return None
        opened = [(name, *one) for name, one in self.open.items()]
        return opened, self.cleared, self.marks, list(self.crowds.items())

    @classmethod
    def load(cls, stored: Any) -> "Suspected":
        """What `dump` gave."""
        if stored is None:
            return cls()
        opened, cleared, marks, *crowds = stored  # records of before crowds have none
        alerts = {name: Open(day, tuple(codes), tuple(lots)) for name, day, codes, lots in opened}
        asked = {payment: tuple(crowd) for payment, crowd in crowds[0]} if crowds else {}
        return cls(alerts, dict(cleared), list(marks), asked)


def freeze(
    suspected: Suspected, ledger: Ledger, customer_id: str, found: Sequence[Found], lot: int, campaign: str,
    event_id: str, now_ms: int,
) -> Alert | None:  # fmt: skip
    """Freeze a lot. Returns the alert that is to go out; None where one of that day stands for it."""
    ledger.freeze([lot], True)
    codes, day = tuple(one.code for one in found), now_ms // DAY_MS
    if suspected.join(codes, lot, day, ledger):
        return None
    alert_id = output_id("alert", "abuse", customer_id, f"{lot:016x}")
    suspected.raised(alert_id, codes, lot, day)
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


def marks_of(hashes: Iterable[int]) -> list[int]:
    """What an event shows of who somebody is, as numbers of 32 bits; the hashes are those of `MARK_FIELDS`, 0 where
    missing. Of two customers with ten of them each a mark is the same by chance with a probability of 2e-7."""
    return [_mark(hashed, kind) for kind, hashed in enumerate(hashes) if hashed]


def own_marks(customer_id: str, suspected: Suspected) -> list[int]:
    """What a customer was seen with, and who they are."""
    return [*suspected.marks, _mark(hash64(customer_id), _SELF)]


def common(one: Iterable[int], other: Iterable[int]) -> list[str]:
    """What two customers share, of `own_marks` of each: in words."""
    ours, theirs = set(one), set(other)
    kinds = {mark & _KIND for mark in ours & theirs} - {_PAID}
    flipped = _PAID ^ _SELF
    if any(mark ^ flipped in theirs for mark in ours if mark & _KIND in (_PAID, _SELF)):
        kinds.add(_PAID)
    return [name for kind, (name, _) in enumerate(MARKS) if kind in kinds]


def _mark(hashed: int, kind: int) -> int:
    return hashed >> 32 & ~_KIND | kind
