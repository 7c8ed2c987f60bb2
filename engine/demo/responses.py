"""What the demo's customers make of offers: some are looked at, some used, after they have been sent."""

import heapq
from datetime import datetime
from typing import Final

import msgspec

from engine.domain.draws import drawn
from engine.domain.times import rfc3339

WAITING_MAX: Final = 10_000  # answers that are to come; further offers go unanswered
VIEWED: Final = 0.6  # share of the offers that are looked at
REDEEMED: Final = 0.35  # of those
HOURS_MAX: Final = 6.0  # after an offer was sent
HOUR_MS: Final = 3_600_000


class Offered(msgspec.Struct):
    """What is read of an offer."""

    offer_id: str
    customer_id: str
    send_at: str
    status: str
    holdout: bool


class Answer(msgspec.Struct):
    """An event of a customer who saw or used an offer."""

    event_id: str
    type: str
    event_time: str
    customer_id: str
    offer_id: str
    source: str = "app"


class Responses:
    """Answers that are to come, in event time. An offer that is withdrawn gets none.

    Attributes:
        issued, withdrawn, held_out, viewed, redeemed: how many offers so far.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str, Answer]] = []
        self._withdrawn: set[str] = set()
        self.issued = 0
        self.withdrawn = 0
        self.held_out = 0
        self.viewed = 0
        self.redeemed = 0

    def offered(self, offer: Offered) -> None:
        """An offer has come out."""
        if offer.status == "withdrawn":
            self.withdrawn += 1
            self._withdrawn.add(offer.offer_id)
        elif offer.holdout:
            self.held_out += 1
        else:
            self.issued += 1
            self._plan(offer)

    def due(self, event_time: str) -> list[Answer]:
        """What is answered by then."""
        now_ms, found = milliseconds(event_time), []
        while self._waiting and self._waiting[0][0] <= now_ms:
            _, _, answer = heapq.heappop(self._waiting)
            if answer.offer_id in self._withdrawn:
                continue
            self.viewed += answer.type == "offer.viewed"
            self.redeemed += answer.type == "offer.redeemed"
            found.append(answer)
        return found

    def _plan(self, offer: Offered) -> None:
        if len(self._waiting) >= WAITING_MAX or drawn("demo", "viewed", offer.offer_id) >= VIEWED:
            return
        wait = drawn("demo", "wait", offer.offer_id) * HOURS_MAX
        self._add("viewed", offer, wait)
        if drawn("demo", "redeemed", offer.offer_id) < REDEEMED:
            self._add("redeemed", offer, wait + 1.0)

    def _add(self, what: str, offer: Offered, hours: float) -> None:
        at_ms = milliseconds(offer.send_at) + int(hours * HOUR_MS)
        event_id = f"demo-{what}-{offer.offer_id}"
        answer = Answer(event_id, f"offer.{what}", rfc3339(at_ms), offer.customer_id, offer.offer_id)
        heapq.heappush(self._waiting, (at_ms, event_id, answer))


def milliseconds(time: str) -> int:
    """An RFC 3339 time in milliseconds since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
