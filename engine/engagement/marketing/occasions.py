"""When time sets a campaign off for a customer, and what occasion that is: one row for each kind of timer.

What takes long to find is noted with the customer (`Customer.noted`), with what it depends on: an instant that was the
next one after a time is the next one after any later time that it is still ahead of.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.engagement.calendar import DAY_MS, local_date, next_birthday, next_minute, parse_day
from engine.engagement.customer.customer import WINDOW_MS, Customer
from engine.engagement.customer.states import NEVER
from engine.ruleset.campaigns.model import Campaign, Trigger

PEAK_PAYMENTS: Final = 8
PEAK_SHARE: Final = 0.35
PEAK_IDLE_MS: Final = 60 * DAY_MS
"""Whoever has not paid for two months has no hour of their own any more."""
RHYTHM_PAYMENTS: Final = 4


Find = Callable[[Trigger, Campaign, Customer, int], int]


class Timer(NamedTuple):
    """A kind of timer: `next` gives the first instant after a time, `NEVER` where none comes; `text` gives the occasion
    of such an instant."""

    next: Find
    text: Callable[[Trigger, Customer, int], str]


def timer_of(campaign: Campaign) -> Timer | None:
    """The kind of timer of a campaign; None where it has none."""
    return _TIMERS.get(campaign.trigger.timer)


def _noted(
    customer: Customer, campaign: Campaign, by: tuple[object, ...], after_ms: int, find: Callable[[], int]
) -> int:
    """What `find` gives, or gave when it was asked for a time not after this one and all it depends on was the same."""
    known = customer.noted.get(campaign.id)
    if known is not None and known[0] == by and known[1] <= after_ms < known[2]:
        return known[2]
    at = find()
    customer.noted[campaign.id] = by, after_ms, at
    return at


def _birthday(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
    born, zone, minute = parse_day(customer.birth), customer.zone, trigger.minute
    if born is None:
        return NEVER
    by = born, zone, minute
    return _noted(customer, campaign, by, after_ms, lambda: next_birthday(after_ms + 1, born, minute, zone)[0])


def _birthday_of(trigger: Trigger, customer: Customer, at_ms: int) -> str:
    born = parse_day(customer.birth)
    assert born is not None
    return str(next_birthday(at_ms, born, trigger.minute, customer.zone)[1])


def passed_over(trigger: Trigger, customer: Customer, before: str, now_ms: int) -> str | None:
    """The occasion of a birthday that was ahead in the time zone `before` and is over in the customer's zone of now:
    whoever moves east jumps over it. None where there is none, or the year that it was of is over there, too."""
    born = parse_day(customer.birth) if trigger.timer == "birthday" else None
    if born is None:
        return None
    year = next_birthday(now_ms + 1, born, trigger.minute, before)[1]
    ahead = next_birthday(now_ms + 1, born, trigger.minute, customer.zone)[1]
    return str(year) if ahead > year == local_date(now_ms, customer.zone).year else None


def _since(moment: Callable[[Customer], int]) -> Timer:
    def row(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
        since = moment(customer)
        if not since:
            return NEVER
        for after in reversed(trigger.after_ms):  # the longest is the first
            if since + after > after_ms:
                return since + after
        return NEVER

    def text(trigger: Trigger, customer: Customer, at_ms: int) -> str:
        since = moment(customer)
        return f"{since}+{at_ms - since}"

    return Timer(row, text)


def _idle(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
    history = customer.history
    gap = history.gap_ms()
    if history.payments < RHYTHM_PAYMENTS or not gap:
        return NEVER
    at = history.last_ms + round(trigger.gaps * gap)
    return at if at > after_ms else NEVER


def _personal_hour(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
    history, before, zone = customer.history, trigger.after_ms[0], customer.zone
    until = history.last_ms + PEAK_IDLE_MS
    if len(history.paid) < PEAK_PAYMENTS or after_ms >= until:
        return NEVER
    hour, share = history.peak(zone)
    if not share >= PEAK_SHARE:
        return NEVER
    room = customer.counts.next_room(campaign.id, campaign.caps, after_ms, zone)
    at = next_minute(max(after_ms + 1, room) + before, hour * 60, zone) - before
    return at if at <= until else NEVER


def _ends(trigger: Trigger, customer: Customer) -> list[tuple[int, int]]:
    """When points, or whatever of a customer's ends, expire, and how long before each the customer is told."""
    ends = {lot.terms.expires_ms for lot in customer.ledger.lots.values() if lot.active and lot.terms.expires_ms}
    return [(end, before) for end in ends for before in trigger.after_ms]


def _points_expiring(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
    def find() -> int:
        return min((end - told for end, told in _ends(trigger, customer) if end - told > after_ms), default=NEVER)

    return _noted(customer, campaign, (customer.ledger.turn, trigger.after_ms), after_ms, find)


def _expiring_of(trigger: Trigger, customer: Customer, at_ms: int) -> str:
    return min(f"{end}-{told}" for end, told in _ends(trigger, customer) if end - told == at_ms)


def _window_closed(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> int:
    first, last = customer.history.first_ms, customer.history.last_ms
    if not first:
        return NEVER
    at = first + ((max(after_ms, first) - first) // WINDOW_MS + 1) * WINDOW_MS
    return at if at <= last + 3 * WINDOW_MS else NEVER


_TIMERS: Final[dict[str, Timer]] = {
    "birthday": Timer(_birthday, _birthday_of),
    "since_first_payment": _since(lambda customer: customer.history.first_ms),
    "since_last_payment": _since(lambda customer: customer.history.last_ms),
    "since_refund": _since(lambda customer: customer.history.refund_ms),
    "since_registration": _since(lambda customer: customer.registered_ms),
    "idle": Timer(_idle, lambda trigger, customer, at_ms: str(customer.history.last_ms)),
    "personal_hour": Timer(_personal_hour, lambda trigger, customer, at_ms: str(at_ms // DAY_MS)),
    "points_expiring": Timer(_points_expiring, _expiring_of),
    "window_closed": Timer(
        _window_closed, lambda trigger, customer, at_ms: str((at_ms - customer.history.first_ms) // WINDOW_MS)
    ),
}
