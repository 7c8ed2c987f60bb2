"""Reward abuse that is planted in the world of engagement: rings of accounts after what campaigns give.

They pay for what they buy, so that no payment of theirs is fraud; who they are is told in a list of their own. A ring
has draws, customers, cards and devices of its own, and its events are numbered apart from everybody's: the events of
the others are those of the same stream without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.domain.times import DAY_MS
from engine.generator.draw import Draw
from engine.generator.lifecycle import PURCHASES_PER_SESSION, follow_up, price, purchase
from engine.generator.simulation import HOUR_MS, MINUTE_MS, Origin, Payment, Simulation
from engine.generator.world import Card, Customer, Merchant, World

SHARE_MAX: Final = 0.5
FIRST_CUSTOMER: Final = 1 << 27  # beyond any customer of the others, and what it owns beyond what they own
FIRST_THING: Final = 1 << 30
FIRST_EVENT: Final = 1 << 31
LAST: Final = 1 << 62  # of events of one millisecond theirs leave last

DEVICE, CARD, ADDRESS = "device", "card", "address"


class Ring:
    """Accounts of one person.

    Args:
        sim: their world.
        kind: of abuse.
        shared: what the accounts have in common, of `DEVICE`, `CARD` and `ADDRESS`.
        tell: told the lines of the truth.
    """

    def __init__(self, sim: Simulation, kind: str, shared: tuple[str, ...], tell: Callable[[str], object]) -> None:
        self.sim, self._kind, self._shared, self._tell = sim, kind, shared, tell
        self._first: Customer | None = None

    def account(self, time_ms: int, referrer: Customer | None = None) -> Customer:
        """Another account signs up; it has what the ring shares."""
        who = self.sim.world.stranger()
        first = self._first = self._first or who
        if DEVICE in self._shared:
            who.devices, who.ips = first.devices[:1], first.ips[:1]
        if CARD in self._shared:
            who.cards = first.cards[:1]
        if ADDRESS in self._shared:
            who.shipping = first.shipping[:1]
        who.home = first.home  # one person
        self._tell(f"{who.id},{self._kind},{first.id}\n")
        if referrer is not None:
            members = f'"customer_id":"{referrer.id}","referee_id":"{who.id}"'
            self.sim.push(time_ms - 1, "referral.created", members)
        self.sim.introduce(time_ms, who, "registered", referrer.id if referrer is not None else "")
        return who

    def shop(self, online: float = 1.0) -> Merchant:
        """A shop of the ring's country, with that chance one that delivers."""
        assert self._first is not None
        home = self._first.home.code
        on_site = not self.sim.draw.chance(online)
        shops = [shop for shop in self.sim.world.by_country[home] if shop.on_site == on_site]
        return self.sim.draw.pick(shops or self.sim.world.by_country[home])

    def buy(self, time_ms: int, who: Customer, merchant: Merchant, euros: float) -> tuple[Payment, int] | None:
        """Pay by card; the payment and when it settles, where it does."""
        sim, draw = self.sim, self.sim.draw
        where = Origin(draw.pick(who.devices), draw.pick(who.ips), who.home.code, "residential")
        if draw.chance(0.4):
            sim.access(time_ms - draw.whole(1, 3) * MINUTE_MS, "login", who, where)
        card: Card = draw.pick(who.cards)
        payment = purchase(sim, time_ms, who, merchant, card, price(sim, merchant, euros), where)
        settled_ms = follow_up(sim, time_ms, payment, refunded=0.0) if payment is not None else 0
        return (payment, settled_ms) if payment is not None and settled_ms else None


def farm(sim: Simulation, time_ms: int, tell: Callable[[str], object]) -> None:
    """New accounts, four to twelve, on one device or card or both, an hour to a day apart, each for what a first
    payment earns."""
    draw = sim.draw
    ring = Ring(sim, "farm", draw.pick(((DEVICE,), (DEVICE, ADDRESS), (CARD,), (DEVICE, CARD))), tell)
    apart_ms = draw.pick((1, 6, 24)) * HOUR_MS
    for _ in range(draw.whole(4, 12)):
        time_ms += HOUR_MS // 4 + int(draw.exponential(apart_ms))
        who = ring.account(time_ms)
        ring.buy(time_ms + draw.whole(10, 50) * MINUTE_MS, who, ring.shop(), draw.between(15.0, 45.0))


def self_referral(sim: Simulation, time_ms: int, tell: Callable[[str], object]) -> None:
    """A customer brings up to three accounts of their own, who buy what the reward asks for, with the same device, card
    or address; one purchase in five in a shop, where only the card shows."""
    draw = sim.draw
    ring = Ring(sim, "self_referral", (draw.pick((DEVICE, CARD, ADDRESS)),), tell)
    time_ms += HOUR_MS
    referrer = ring.account(time_ms)
    first_ms = time_ms + draw.whole(10, 20) * DAY_MS
    last_ms = first_ms + draw.whole(20, 40) * DAY_MS
    for _ in range(draw.whole(1, 3)):
        at_ms = first_ms = first_ms + draw.whole(1, 72) * HOUR_MS
        who = ring.account(at_ms, referrer)
        for _ in range(draw.whole(3, 5)):
            at_ms += draw.whole(2, 60) * HOUR_MS
            ring.buy(at_ms, who, ring.shop(0.8), draw.between(35.0, 60.0))
    while time_ms < last_ms:
        ring.buy(time_ms + HOUR_MS // 2, referrer, ring.shop(0.8), referrer.spend * draw.lognormal(1.0, 0.3))
        time_ms += HOUR_MS + int(draw.exponential(4.0) * DAY_MS)


def refund_cycling(sim: Simulation, time_ms: int, tell: Callable[[str], object]) -> None:
    """Pays, earns and gives it back, six to twelve times: within days, or once the points are there and spent."""
    draw = sim.draw
    ring = Ring(sim, "refund_cycling", (), tell)
    time_ms += HOUR_MS
    who, spends = ring.account(time_ms), draw.chance(0.5)
    for _ in range(draw.whole(6, 12)):
        time_ms += draw.whole(1, 5) * DAY_MS + draw.whole(1, 9) * HOUR_MS
        euros = draw.between(60.0, 180.0)
        bought = ring.buy(time_ms, who, ring.shop(), euros)
        if bought is None:
            continue
        payment, back_ms = bought
        back_ms += sim.days(15.0, 18.0) if spends else sim.days(0.5, 4.0)
        if spends:
            members = f'"customer_id":"{who.id}","points":{int(euros)},"redemption_id":"{sim.world.thing("red")}"'
            sim.push(back_ms - HOUR_MS, "points.redeemed", members)
        sim.step(back_ms, "payment.refunded", payment, f',"refund_id":"{sim.world.thing("ref")}"', payment.minor)


def coupon_cluster(sim: Simulation, time_ms: int, tell: Callable[[str], object]) -> None:
    """Accounts, four to ten, that have slept for a week or two, then one after the other buy for just over a hundred
    with one card or device, on one to three days."""
    draw = sim.draw
    ring = Ring(sim, "coupon_cluster", draw.pick(((DEVICE,), (CARD,), (DEVICE, CARD))), tell)
    accounts = []
    for _ in range(draw.whole(4, 10)):
        time_ms += draw.whole(20, 400) * MINUTE_MS
        accounts.append(ring.account(time_ms))
    time_ms += draw.whole(8, 16) * DAY_MS
    merchant = ring.shop()
    for _ in range(draw.whole(1, 3)):
        at_ms = time_ms
        for who in accounts:
            at_ms += draw.whole(10, 90) * MINUTE_MS
            ring.buy(at_ms, who, merchant, draw.between(115.0, 140.0))
        time_ms += draw.whole(1, 5) * DAY_MS


class Kind(NamedTuple):
    """A kind of abuse: its story, how often it is told, and how many payments one telling makes on average."""

    name: str
    tell: Callable[[Simulation, int, Callable[[str], object]], None]
    share: float
    payments: float


KINDS: Final = (
    Kind("farm", farm, 0.3, 8.0),
    Kind("self_referral", self_referral, 0.3, 21.0),
    Kind("refund_cycling", refund_cycling, 0.2, 9.0),
    Kind("coupon_cluster", coupon_cluster, 0.2, 14.0),
)
PAYMENTS_PER_STORY: Final = sum(kind.share * kind.payments for kind in KINDS)


@dataclass(slots=True)
class Abuse:
    """Begins rings as time goes by.

    Attributes:
        sim: their world; its queue is everybody's.
        chance: that a ring begins, at each look.
        begun: lines of the truth that nobody has taken yet, `customer_id,kind,ring` and a newline.
    """

    sim: Simulation
    chance: float
    begun: list[str]

    @classmethod
    def beside(cls, others: Simulation, seed: int, share: float) -> "Abuse":
        """In the world of the others, so that about that share of all payments is theirs; looked at once a visit."""
        sim = Simulation(
            World(seed, FIRST_CUSTOMER, things=FIRST_THING),
            Draw(seed << 64 | 7),
            Draw(seed << 64 | 8),
            others.incidents,
            others.haste,
            others.late_share,
            others.duplicate_share,
            queue=others.queue,
            events=FIRST_EVENT,
            payments=FIRST_EVENT,
            pushed=LAST,
        )
        return cls(sim, PURCHASES_PER_SESSION * share / (1.0 - share) / PAYMENTS_PER_STORY, [])

    def look(self, now_ms: int) -> None:
        """Begin a ring, perhaps."""
        if not self.chance or not self.sim.draw.chance(self.chance):
            return
        point = self.sim.draw.uniform()
        for kind in KINDS:
            point -= kind.share
            if point < 0.0:
                break
        kind.tell(self.sim, now_ms, self.begun.append)
