"""How often a customer has had something: the counters behind a campaign's caps, one for each cap."""

from dataclasses import dataclass, field
from typing import Final

from engine.engagement.calendar import period, period_end
from engine.ruleset.campaigns.model import Cap

RECENT_MAX: Final = 200
"""Grants that a cap by elapsed time remembers one by one: as many as it may count. Of a cap by amount older ones are
added up under the time of the latest of them, so that they count for a little longer and never for less."""


@dataclass(slots=True)
class Counter:
    """One cap's count: in the calendar period of `token`, or of all time; or the grants within an elapsed time."""

    token: str = ""
    times: int = 0
    amount: float = 0.0
    recent: list[tuple[int, float]] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """A customer's counters, by campaign and place of the cap, as `engine.engagement.customer.codec` stores them, and
    the campaigns whose counters have changed since."""

    of: dict[str, dict[int, Counter]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set, compare=False)

    def room(self, campaign: str, caps: tuple[Cap, ...], now_ms: int, zone: str) -> float:
        """How much may still be granted: infinity where no cap says how much, 0 where one says how often is enough."""
        least = float("inf")
        for place, cap in enumerate(caps):
            if cap.by != "customer":
                continue
            times, amount = self._so_far(campaign, place, cap, now_ms, zone)
            if cap.times and times >= cap.times:
                return 0.0
            if cap.amount:
                least = min(least, max(0.0, cap.amount - amount))
        return least

    def count(self, campaign: str, caps: tuple[Cap, ...], amount: float, now_ms: int, zone: str) -> None:
        """A grant of so much."""
        mine = self.of.setdefault(campaign, {})
        self.changed.add(campaign)
        for place, cap in enumerate(caps):
            if cap.by != "customer":
                continue
            counter = mine.setdefault(place, Counter())
            if cap.per_ms:
                recent = [one for one in counter.recent if one[0] > now_ms - cap.per_ms]
                counter.recent = _folded([*recent, (now_ms, amount)])
                continue
            token = _token(cap, now_ms, zone)
            if not _goes_on(counter, token):
                counter.token, counter.times, counter.amount = token, 0, 0.0
            counter.times += 1
            counter.amount += amount

    def next_room(self, campaign: str, caps: tuple[Cap, ...], now_ms: int, zone: str) -> int:
        """From when on caps by how often leave room again; `now_ms` where they do, or never will."""
        at = now_ms
        mine = self.of.get(campaign)
        for place, cap in enumerate(caps) if mine else ():
            counter = mine.get(place) if mine else None
            if counter is None or not cap.times:
                continue
            if cap.per_ms and len(counter.recent) >= cap.times:
                at = max(at, counter.recent[-cap.times][0] + cap.per_ms)
            if cap.period and counter.times >= cap.times and _goes_on(counter, _token(cap, now_ms, zone)):
                at = max(at, period_end(now_ms, cap.period, zone))
        return at

    def _so_far(self, campaign: str, place: int, cap: Cap, now_ms: int, zone: str) -> tuple[int, float]:
        counter = self.of.get(campaign, {}).get(place)
        if counter is None:
            return 0, 0.0
        if cap.per_ms:
            recent = [much for at, much in counter.recent if at > now_ms - cap.per_ms]
            return len(recent), sum(recent)
        goes_on = _goes_on(counter, _token(cap, now_ms, zone))
        return (counter.times, counter.amount) if goes_on else (0, 0.0)


def _goes_on(counter: Counter, token: str) -> bool:
    """Whether a period is that of a count, or an earlier one: who travels back over midnight, or says so, is still in
    the later period, or they could have each of the two as often as they come. Tokens of one kind sort by time."""
    return counter.token == token or (len(counter.token) == len(token) and counter.token > token)


def _folded(recent: list[tuple[int, float]]) -> list[tuple[int, float]]:
    old, kept = recent[: -RECENT_MAX + 1], recent[-RECENT_MAX + 1 :]
    return [(old[-1][0], sum(amount for _, amount in old)), *kept] if old else kept


def _token(cap: Cap, now_ms: int, zone: str) -> str:
    return period(now_ms, cap.period, zone) if cap.period else ""
