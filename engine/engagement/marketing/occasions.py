"""When time sets a campaign off for a customer, and what occasion that is: one row for each kind of timer."""

from collections.abc import Callable
from typing import Final

from engine.engagement.calendar import DAY_MS, next_birthday, next_minute, parse_day
from engine.engagement.customer.customer import WINDOW_MS, Customer
from engine.engagement.customer.states import NEVER
from engine.ruleset.campaigns.model import Campaign, Trigger

Occasion = tuple[int, str]
"""When, and what for; `NEVER` where it does not come."""

NONE: Final[Occasion] = (NEVER, "")
PEAK_PAYMENTS: Final = 8
PEAK_SHARE: Final = 0.35
PEAK_IDLE_MS: Final = 60 * DAY_MS
"""Whoever has not paid for two months has no hour of their own any more."""
RHYTHM_PAYMENTS: Final = 4


def next_occasion(campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    """The next occasion of a campaign with a timer, later than `after_ms`."""
    row = _TIMERS.get(campaign.trigger.timer)
    return row(campaign.trigger, campaign, customer, after_ms) if row is not None else NONE


def _birthday(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    born = parse_day(customer.birth)
    if born is None:
        return NONE
    at, year = next_birthday(after_ms + 1, born, trigger.minute, customer.zone)
    return at, str(year)


def _since(moment: Callable[[Customer], int]) -> Callable[[Trigger, Campaign, Customer, int], Occasion]:
    def row(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
        since = moment(customer)
        due = [since + after for after in trigger.after_ms if since and since + after > after_ms]
        return (min(due), f"{since}+{min(due) - since}") if due else NONE

    return row


def _idle(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    history = customer.history
    gap = history.gap_ms()
    if history.payments < RHYTHM_PAYMENTS or not gap:
        return NONE
    at = history.last_ms + round(trigger.gaps * gap)
    return (at, str(history.last_ms)) if at > after_ms else NONE


def _personal_hour(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    history = customer.history
    if len(history.paid) < PEAK_PAYMENTS or after_ms >= history.last_ms + PEAK_IDLE_MS:
        return NONE
    hour, share = history.peak(customer.zone)
    if not share >= PEAK_SHARE:
        return NONE
    before = trigger.after_ms[0]
    earliest = max(after_ms + 1, customer.counts.next_room(campaign.id, campaign.caps, after_ms))
    at = next_minute(earliest + before, hour * 60, customer.zone) - before
    return (at, str(at // DAY_MS)) if at <= history.last_ms + PEAK_IDLE_MS else NONE


def _points_expiring(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    ends = {lot.terms.expires_ms for lot in customer.ledger.lots.values() if lot.active and lot.terms.expires_ms}
    due = [(end - before, f"{end}-{before}") for end in ends for before in trigger.after_ms if end - before > after_ms]
    return min(due, default=NONE)


def _window_closed(trigger: Trigger, campaign: Campaign, customer: Customer, after_ms: int) -> Occasion:
    first, last = customer.history.first_ms, customer.history.last_ms
    if not first:
        return NONE
    number = (max(after_ms, first) - first) // WINDOW_MS + 1
    at = first + number * WINDOW_MS
    return (at, str(number)) if at <= last + 3 * WINDOW_MS else NONE


_TIMERS: Final[dict[str, Callable[[Trigger, Campaign, Customer, int], Occasion]]] = {
    "birthday": _birthday,
    "since_first_payment": _since(lambda customer: customer.history.first_ms),
    "since_last_payment": _since(lambda customer: customer.history.last_ms),
    "since_refund": _since(lambda customer: customer.history.refund_ms),
    "since_registration": _since(lambda customer: customer.registered_ms),
    "idle": _idle,
    "personal_hour": _personal_hour,
    "points_expiring": _points_expiring,
    "window_closed": _window_closed,
}
