"""Events as engagement sees them: which rows of a batch concern a customer's record, and what they say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final, TypeGuard

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Output
from engine.domain.events import Control, ControlAlertResolved, ControlBudget, ControlReward
from engine.domain.fields import NUMBER_INDEX, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ids import output_id
from engine.domain.outputs import LETTER, Alert, Lifecycle, Offer, Reward
from engine.engagement.ledger.keys import narrow
from engine.engagement.marketing.abuse import RESOLVED as LOOKED_AT
from engine.engagement.marketing.due import ranked
from engine.engagement.marketing.happening import Happening, Letter, Made, row_of_nothing
from engine.engagement.marketing.marketing import HANDLED
from engine.engagement.marketing.transitions import entry_id_of
from engine.features.columns import Columns, event_type
from engine.ruleset.batch import Batch
from engine.ruleset.campaigns.conditions import Conditions
from engine.ruleset.campaigns.model import ALERT_RESOLVED, Campaign
from engine.ruleset.row import Row

_ODD: Final = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio
_MASK: Final = 2**64 - 1
_PAYMENT, _REFUND, _EVENT, _REDEMPTION, _OFFER = (
    STRING_INDEX[name] for name in ("payment_id", "refund_id", "event_id", "redemption_id", "offer_id")
)
_REFERENCES: Final[Mapping[str, tuple[int, int]]] = {
    "payment.refunded": (_PAYMENT, _REFUND),
    "payment.chargeback": (_PAYMENT, _REFUND),
    "label.assigned": (_PAYMENT, _PAYMENT),
    "points.redeemed": (_REDEMPTION, _REDEMPTION),
    "offer.redeemed": (_OFFER, _REDEMPTION),
}
"""Fields that a business key is made of. Where the second is missing, the event stands for itself."""

_NUMBERS: Final = {"feedback.submitted": NUMBER_INDEX["score"], "points.redeemed": NUMBER_INDEX["points"]}

_encode: Final = msgspec.json.Encoder().encode

Seen = tuple[Callable[[], Row], list[int] | None]
"""Gives an event as conditions see it; and the places of the campaigns whose conditions may hold, whoever the customer
is, as `ranked`, None where that has not been looked at."""


class Concerning:
    """The types of event that concern customers' records: those that change them, and those that campaigns wait for."""

    def __init__(self, campaigns: Sequence[Campaign], conditions: Conditions) -> None:
        self._conditions = conditions
        self._handled = hashes_of(HANDLED)
        waiting = [{*campaign.trigger.events} - HANDLED for campaign in campaigns]
        self._waiting = [(place, hashes_of(names)) for place, names in enumerate(waiting) if names]
        self._types = hashes_of(HANDLED.union(*waiting))
        events = [place for place in ranked(campaigns) if campaigns[place].trigger.events]
        self._events = [(place, hashes_of(campaigns[place].trigger.events)) for place in events]
        self._order = np.array(events, np.intp)

    def rows(self, columns: Columns) -> NDArray[np.intp]:
        """Rows of such a type."""
        return np.flatnonzero(among(columns, self._types))

    def seen(self, batch: Batch) -> dict[int, Seen]:
        """Of rows of such a type those that come to something, in order, and how campaigns see them."""
        rows, sheet = self._places(batch), self._conditions.sheet(batch)
        if sheet is None or not len(rows):
            return {row: (partial(batch.row, row), None) for row in rows.tolist()}
        with np.errstate(all="ignore"):
            may = [among(batch.columns, types) & self._conditions.may(place, batch) for place, types in self._events]
        table = np.stack(may)[:, rows] if may else np.zeros((0, len(rows)), np.bool_)
        cells, ranks = np.nonzero(table.T)
        able: list[int] = self._order[ranks].tolist()
        ends = np.searchsorted(cells, np.arange(len(rows) + 1)).tolist()
        spans = zip(rows.tolist(), pairwise(ends), strict=True)
        return {row: (partial(sheet.row, row), able[start:end]) for row, (start, end) in spans}

    def _places(self, batch: Batch) -> NDArray[np.intp]:
        """Of rows of such a type those that come to something: not those that only campaigns wait for whose conditions
        do not hold, whoever the customer is."""
        found = among(batch.columns, self._handled)
        for place, types in self._waiting if not found.all() else ():
            waits = ~found & among(batch.columns, types)
            if waits.any():
                found |= waits & self._conditions.may(place, batch)
        return np.flatnonzero(found)


def hashes_of(names: Iterable[str]) -> NDArray[np.uint64]:
    """Types of event as `among` takes them."""
    return np.array(sorted(hash64(name) for name in names), np.uint64)


def among(columns: Columns, types: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Where an event is of one of some types, as `hashes_of` gives them."""
    kind = columns.string("type")
    if not len(types):
        return np.zeros(len(kind), np.bool_)
    found: NDArray[np.bool_] = types[np.minimum(np.searchsorted(types, kind), len(types) - 1)] == kind
    return found


def happening(columns: Columns, row: int, seen: Seen, time_ms: int) -> Happening:
    """A row of a batch as campaigns are told it.

    Args:
        columns: the batch.
        row: which.
        seen: how campaigns see it.
        time_ms: when, as it is believed.
    """
    event = columns.events[row]
    kind, exponent = event_type(event), columns.base_exponent.item(row)
    minor = columns.minor.item(row)
    return Happening(
        event_id=event.event_id,
        type=kind,
        time_ms=time_ms,
        row=seen[0],
        able=seen[1],
        text=partial(getattr, event),
        number=columns.numbers.item(_NUMBERS.get(kind, 0), row),
        payment=narrow(columns.strings.item(_PAYMENT, row)),
        payment_id=event.payment_id or "",
        minor=minor,
        base_minor=columns.base_minor.item(row) if exponent >= 0 else 0,
        currency=event.currency or "",
        method=event.method or "",
        category=event.merchant_category or "",
        reference=_reference(columns, row, kind),
        consent=event.consent,
    )


def resolves(event: Control) -> TypeGuard[ControlAlertResolved]:
    """Whether it was found out if somebody was suspected rightly, and it says who."""
    return isinstance(event, ControlAlertResolved) and event.resolution != "dismissed" and bool(event.customer_id)


def closing(event: ControlAlertResolved, froze: bool, features: int, time_ms: int) -> Happening:
    """An alert that was closed, as campaigns are told it.

    Args:
        event: says so.
        froze: the alert had frozen rewards.
        features: how many there are.
        time_ms: when, as it is believed.
    """
    row = row_of_nothing(features, time_ms)
    text = {"alert_id": event.alert_id, "resolution": event.resolution}.get
    return Happening(event.event_id, LOOKED_AT if froze else ALERT_RESOLVED, time_ms, lambda: row, text,
                     payment_id=event.payment_id or event.alert_id)  # fmt: skip


def _reference(columns: Columns, row: int, kind: str) -> int:
    """Hash of the business key: the kind and two fields; 0 for events that have none."""
    fields = _REFERENCES.get(kind)
    if fields is None:
        return 0
    first, second = (columns.strings.item(field, row) for field in fields)
    second = second or columns.strings.item(_EVENT, row)
    return narrow(((hash64(kind) * _ODD + first) * _ODD + second) & _MASK or 1)


def output(made: Made) -> Output:
    """What engagement made, as it is put out."""
    time_ms, what = made
    return Output(_KINDS[type(what)], (what.customer_id or "").encode(), _identity(what), time_ms, _encode(what))


_KINDS: Final = {
    Reward: "reward", Offer: "offer", Lifecycle: "lifecycle", Alert: "alert",
    ControlReward: LETTER, ControlBudget: LETTER,
}  # fmt: skip


def _identity(what: Reward | Offer | Lifecycle | Alert | Letter) -> str:
    if isinstance(what, Control):
        return what.event_id
    if isinstance(what, Reward):
        return what.entry_id
    if isinstance(what, Offer):
        return what.offer_id if what.status == "issued" else output_id("offer", what.offer_id, what.status)
    return what.alert_id if isinstance(what, Alert) else entry_id_of(what.customer_id, what)
