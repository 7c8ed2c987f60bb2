"""The queue of events to come, and the shapes events are written in."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.domain.money import format_minor
from engine.domain.times import DAY_MS, rfc3339
from engine.generator.draw import Draw, token
from engine.generator.incidents import Incidents
from engine.generator.world import Card, Customer, Merchant, World

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DELAY_MS_MAX: Final = 50 * MINUTE_MS
"""The longest an event is held back with `late_share`: within the default allowed lateness of an hour."""


LEDGER: Final = ("payment.captured", "payment.settled", "payment.refunded", "payment.chargeback")
"""Types that the source `settlements` reports; the others of a payment come from where it began."""


class Origin(NamedTuple):
    """Where an action comes from: a device, an address, its country and what kind of network it belongs to."""

    device: str
    ip: str
    ip_country: str
    ip_type: str


@dataclass(slots=True)
class Payment:
    """A payment or transfer under way: what its later events repeat.

    Attributes:
        common: the JSON members of every event of it, without the amount; ends with a comma.
        minor: the amount in minor units of a currency with `exponent`.
        fraud: the planted pattern, empty for a legitimate one.
        mishap: what goes wrong with an honest one later on, `settlement_missing` or `settlement_differs`; else empty.
        source: the system that reports it until it is captured.
    """

    id: str
    customer: Customer
    currency: str
    exponent: int
    minor: int
    common: str
    fraud: str = ""
    mishap: str = ""
    source: str = "checkout"


@dataclass(slots=True)
class Simulation:
    """The world, its randomness, and events in the order they are to be sent.

    `haste` divides the long delays of a life cycle (capture, settlement, refund, labels). From `drift_ms` on frauds
    are told in their later manner.
    """

    world: World
    draw: Draw
    noise: Draw
    incidents: Incidents
    haste: float = 1.0
    late_share: float = 0.0
    duplicate_share: float = 0.0
    drift_ms: int = 1 << 63
    queue: list[tuple[int, int, str, str]] = field(default_factory=list)
    events: int = 0
    payments: int = 0
    pushed: int = 0

    def push(self, time_ms: int, kind: str, members: str, truth: str = "") -> None:
        """Queue an event of type `kind`; `members` are its further JSON members, `truth` a line of the label file."""
        self.events += 1
        event_id = token("evt", self.events)
        line = f'{{"event_id":"{event_id}","type":"{kind}","event_time":"{rfc3339(time_ms)}",{members}}}\n'
        send = time_ms
        if self.late_share and self.noise.chance(self.late_share):
            send += self.noise.whole(MINUTE_MS, DELAY_MS_MAX)
        self._queue(send, line, truth)
        if self.duplicate_share and self.noise.chance(self.duplicate_share):
            self._queue(send + self.noise.whole(1, 10 * MINUTE_MS), line, "")

    def _queue(self, send_ms: int, line: str, truth: str) -> None:
        self.pushed += 1  # ties in time leave in the order they were made
        heapq.heappush(self.queue, (send_ms, self.pushed, line, truth))

    def drain(self, until_ms: int, take: Callable[[str, str], None]) -> None:
        """Hand over every queued event due by `until_ms`."""
        queue = self.queue
        while queue and queue[0][0] <= until_ms:
            _, _, line, truth = heapq.heappop(queue)
            take(line, truth)

    def days(self, low: float, high: float) -> int:
        """A long delay in milliseconds, made shorter by `haste`."""
        return int(self.draw.between(low, high) * DAY_MS / self.haste) + 1

    def account(self, time_ms: int, kind: str, who: Customer, members: str = "") -> None:
        """An account event; `members` are further JSON members, each with a comma before it."""
        self.push(time_ms, f"account.{kind}", f'"customer_id":"{who.id}"{members}')

    def access(self, time_ms: int, kind: str, who: Customer, where: Origin) -> None:
        """A login, a failed one or a change, with where it came from."""
        device, ip, ip_country, _ = where
        origin = f',"device_id":"{device}","ip":"{ip}","ip_country":"{ip_country}","source":"accounts"'
        self.account(time_ms, kind, who, origin)

    def introduce(self, time_ms: int, who: Customer, kind: str = "updated", referrer: str = "") -> None:
        """The profile of a customer: `registered` for a new one, `updated` for one whose account is older.

        Once, unless a story set in the future was the first to need it.
        """
        if who.known_ms <= time_ms:
            return
        who.known_ms = time_ms
        self.account(
            time_ms,
            kind,
            who,
            f',"timezone":"{who.home.zone}","locale":"{who.home.locale}","birth_date":"{who.birth_date}"'
            f',"country":"{who.home.code}","consent":{{"marketing":{str(who.marketing).lower()},"service":true}}'
            f',"source":"{"app" if kind == "registered" else "crm"}"'
            + (f',"referrer_id":"{referrer}"' if referrer else ""),
        )

    def begin(self, who: Customer, currency: str, exponent: int, minor: int, common: str, fraud: str = "") -> Payment:
        """A new payment; `common` are JSON members, ended by a comma, that every event of it carries."""
        self.payments += 1
        number = token("pay", self.payments)
        head = f'"customer_id":"{who.id}","payment_id":"{number}","currency":"{currency}",'
        return Payment(number, who, currency, exponent, minor, head + common, fraud)

    def step(self, time_ms: int, kind: str, payment: Payment, members: str = "", minor: int = 0) -> None:
        """An event of a payment, of its own amount or of `minor`; `members` have a comma before each.

        The first event of a payment carries its truth.
        """
        amount = format_minor(minor or payment.minor, payment.exponent)
        truth = ""
        if kind in ("payment.requested", "transfer.sent", "transfer.received"):
            label = "fraud" if payment.fraud else "legitimate"
            truth = f"{payment.id},{label},{payment.fraud or payment.mishap}\n"
        source = "settlements" if kind in LEDGER else payment.source
        self.push(time_ms, kind, f'{payment.common}"amount":"{amount}","source":"{source}"{members}', truth)

    def drifted(self, time_ms: int) -> bool:
        """Whether the frauds of that time are told in their later manner."""
        return time_ms >= self.drift_ms


def purchase_members(
    merchant: Merchant, card: Card | None, method: str, channel: str, where: Origin | None, who: Customer
) -> tuple[str, str]:
    """The JSON members of a purchase: those every event of it carries, and those of its request.

    `where` is missing for a sale on site.
    """
    common = (
        f'"method":"{method}","channel":"{channel}","merchant_id":"{merchant.id}",'
        f'"merchant_category":"{merchant.category}","merchant_country":"{merchant.country.code}",'
        f'"acquirer":"{merchant.acquirer}",'
    )
    if card is not None:
        common += f'"card_id":"{card.id}","card_bin":"{card.bin}","card_country":"{card.country}",'
    request = f',"email_hash":"{who.email}"'
    if where is not None:
        request += f',"device_id":"{where.device}","ip":"{where.ip}","ip_country":"{where.ip_country}"'
    return common, request
