"""What campaigns are told: an event, or that time has come to an instant; and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engine.domain.events import ControlBudget, ControlReward
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.outputs import Alert, Lifecycle, Offer, Reward
from engine.ruleset.row import Row

Letter: TypeAlias = ControlReward | ControlBudget
"""A control event for the log of another shard."""
Made: TypeAlias = tuple[int, Reward | Offer | Lifecycle | Alert | Letter]
"""An output and its event time."""


@dataclass(slots=True)
class Happening:
    """One event of a customer.

    Attributes:
        event_id, type: of the event; time_ms: its event time.
        row: gives the event as conditions see it, but for the customer; asked only where a campaign is.
        text: the text of a field, None where it is missing; number: of feedback its score, of a redemption the points.
        payment: hash of the payment it is about, payment_id its text; 0 and "" for none.
        minor: amount in minor units of its own currency; base_minor: in those of the base currency, 0 where
            there is no rate.
        currency, method, category: as in the event, "" where missing.
        reference: hash of the refund or redemption; 0 for none.
        consent: by purpose, as the event has it; None where it has none.
        able: places of campaigns that it may set off, those of the highest priority first; None: all that wait for it.
    """

    event_id: str
    type: str
    time_ms: int
    row: Callable[[], Row]
    text: Callable[[str], str | None]
    number: float = float("nan")
    payment: int = 0
    payment_id: str = ""
    minor: int = 0
    base_minor: int = 0
    currency: str = ""
    method: str = ""
    category: str = ""
    reference: int = 0
    consent: dict[str, bool] | None = None
    able: Sequence[int] | None = None


def row_of_nothing(rows: int, time_ms: int) -> Row:
    """What conditions see where time alone sets a campaign off: no event, no features (`rows` of them)."""
    nan = float("nan")
    numbers, bools = [nan] * len(NUMBER_FIELDS), [-1] * len(BOOL_FIELDS)
    return Row([0] * len(STRING_FIELDS), numbers, bools, [nan] * rows, float(time_ms), _no_text)


def _no_text(name: str) -> str | None:
    return None
