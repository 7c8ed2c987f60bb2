"""The world of regulars, for what engagement does: customers who come back at their own pace, fall silent and return,
refer friends, answer surveys, spend points, move house and leave.

Baskets of one customer are much alike, more than in life: then what a campaign does to them shows with thousands of
customers instead of millions. Everything else (life cycles of payments, refunds, fraud, incidents) is that of the world
of payments.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from engine.domain.times import DAY_MS
from engine.generator.draw import Draw
from engine.generator.lifecycle import EVENTS_PER_SESSION, buy, price, session
from engine.generator.lift import Reach
from engine.generator.rhythm import weight
from engine.generator.simulation import HOUR_MS, MINUTE_MS, Origin, Simulation
from engine.generator.world import COUNTRIES, Customer

CUSTOMERS_MAX: Final = 1 << 20  # the next visit of each is kept
SPREAD: Final = 0.2  # of the amounts of one customer
TASTE: Final = 0.2  # how much of a trade's price shows in a basket
PACE_SPREAD: Final = 0.4  # of the customers' paces
GAP_SPREAD: Final = (0.1, 0.4)  # of the gaps of one customer (sigma of their log)
HOURS_TRIED: Final = 24
POINTS: Final = (100, 200, 500)

LAPSE: Final = 0.008  # of visits are followed by a silence of several gaps
GONE: Final = 0.003  # of visits are the last
NEWCOMERS: Final = 0.002  # a visit; with those who are referred about as many as go
REFERRALS: Final = 0.002  # a visit
REDEMPTIONS: Final = 0.04  # a visit
ANSWERS: Final = 0.03  # a visit, besides those after a payment
MOVES: Final = 0.0008  # a visit: another time zone
ERASURES: Final = 0.0003  # a visit


@dataclass(slots=True)
class Regulars:
    """Who comes when.

    Attributes:
        sim: the world and its events.
        meanwhile: lets happen at a visit's time what is no visit: frauds, shops that open.
        seed: of the paces; size: customers at the start; gap_ms: between visits of a typical customer.
        reach: whom a campaign reached, and what that does.
    """

    sim: Simulation
    meanwhile: Callable[[int], None]
    seed: int
    size: int
    gap_ms: float
    reach: Reach = field(default_factory=Reach)
    queue: list[tuple[int, int]] = field(default_factory=list)
    earned: dict[int, float] = field(default_factory=dict)

    def attempts(self, start_ms: int) -> Iterator[int]:
        """Let time pass for ever: yields each time at which everything queued up to then is final."""
        draw = self.sim.draw
        self.queue = [(start_ms + int(draw.uniform() * self.pace(n)[0]) + 1, n) for n in range(self.size)]
        heapq.heapify(self.queue)
        while self.queue:
            now_ms, number = self.queue[0]
            yield now_ms
            heapq.heappop(self.queue)
            self.meanwhile(now_ms)
            self._visit(now_ms, self.sim.world.customer(number))
        raise AssertionError("every visit brings the next, and who goes is replaced")

    def pace(self, number: int) -> tuple[float, float]:
        """A customer's typical gap between visits in milliseconds, and how much gaps differ (sigma of their log)."""
        draw = Draw(self.seed << 64 | number << 8 | 6)
        return self.gap_ms * draw.lognormal(1.0, PACE_SPREAD), draw.between(*GAP_SPREAD)

    def _visit(self, now_ms: int, who: Customer) -> None:
        sim, draw = self.sim, self.sim.draw
        session(sim, now_ms, who, self._shop)
        if draw.chance(REDEMPTIONS):
            self._redeem(now_ms + draw.whole(1 * MINUTE_MS, 30 * MINUTE_MS), who)
        if draw.chance(ANSWERS):
            self._answer(now_ms + draw.whole(1 * HOUR_MS, 9 * HOUR_MS), who)
        if draw.chance(MOVES):
            self._move(now_ms + draw.whole(1 * MINUTE_MS, 30 * MINUTE_MS), who)
        if draw.chance(REFERRALS):
            self._join(now_ms + draw.whole(1 * HOUR_MS, 72 * HOUR_MS), who)
        if draw.chance(NEWCOMERS):
            self._join(now_ms + draw.whole(1 * MINUTE_MS, 60 * MINUTE_MS))
        if draw.chance(ERASURES):
            sim.account(now_ms + draw.whole(1 * HOUR_MS, 4 * HOUR_MS), "erased", who)
        elif not draw.chance(GONE):
            self._come_back(now_ms, who, draw.between(3.0, 8.0) if draw.chance(LAPSE) else 1.0)
        if not self.queue:
            self._join(now_ms + HOUR_MS)

    def _come_back(self, now_ms: int, who: Customer, gaps: float) -> None:
        """The next visit: so many gaps from now, at an hour that is the customer's."""
        draw = self.sim.draw
        gap_ms, sigma = self.pace(who.number)
        due_ms = now_ms + int(gap_ms * gaps * draw.lognormal(1.0, sigma))
        for _ in range(HOURS_TRIED):
            time_ms = max(now_ms + HOUR_MS, due_ms + draw.whole(-12 * HOUR_MS, 12 * HOUR_MS))
            if draw.chance(weight(time_ms, who.home.zone, who.persona, who.peak_hour)):
                break
        heapq.heappush(self.queue, (time_ms, who.number))

    def _shop(self, sim: Simulation, time_ms: int, who: Customer, where: Origin) -> None:
        """A basket as the customer's baskets are, dearer since a campaign that works."""
        draw, shops = sim.draw, sim.world.by_country[who.home.code]
        merchant = draw.pick(who.favourites) if draw.chance(0.8) else shops[draw.rank(len(shops), 10.0)]
        euros = who.spend * merchant.price**TASTE * draw.lognormal(1.0, SPREAD)
        minor = round(price(sim, merchant, euros) * self.reach.factor(who.id, time_ms))  # draws stay as they are
        settled_ms = buy(sim, time_ms, who, where, merchant, minor)
        self.reach.settles(who.id, settled_ms)
        if settled_ms:
            self.earned[who.number] = self.earned.get(who.number, 0.0) + euros

    def _redeem(self, time_ms: int, who: Customer) -> None:
        """Spend points, as many as might be there by one a euro; now and then more than there are."""
        wanted = self.sim.draw.pick(POINTS)
        if self.earned.get(who.number, 0.0) < wanted and not self.sim.draw.chance(0.05):
            return
        self.earned[who.number] = max(0.0, self.earned.get(who.number, 0.0) - wanted)
        reference = self.sim.world.thing("red")
        members = f'"customer_id":"{who.id}","points":{wanted},"redemption_id":"{reference}"'
        self.sim.push(time_ms, "points.redeemed", members)

    def _answer(self, time_ms: int, who: Customer) -> None:
        kind, top = self.sim.draw.pick((("nps", 10), ("csat", 5)))
        score = top - min(top - 1, int(self.sim.draw.exponential(1.8)))
        self.sim.push(time_ms, "feedback.submitted", f'"customer_id":"{who.id}","kind":"{kind}","score":{score}')

    def _move(self, time_ms: int, who: Customer) -> None:
        """The customer tells of another time zone. What they buy and when stays as it was."""
        home = COUNTRIES[self.sim.draw.pick(sorted(COUNTRIES))]
        self.sim.account(time_ms, "updated", who, f',"timezone":"{home.zone}"')

    def _join(self, time_ms: int, referrer: Customer | None = None) -> None:
        """Somebody signs up, perhaps because a customer told them, and pays for the first time within the day."""
        sim, who = self.sim, self.sim.world.newcomer()
        if referrer is not None:
            members = f'"customer_id":"{referrer.id}","referee_id":"{who.id}"'
            sim.push(time_ms - sim.draw.whole(1 * MINUTE_MS, 50 * MINUTE_MS), "referral.created", members)
        sim.introduce(time_ms, who, "registered", referrer.id if referrer is not None else "")
        heapq.heappush(self.queue, (time_ms + sim.draw.whole(1 * MINUTE_MS, 24 * HOUR_MS), who.number))


def gap_ms(customers: int, rate: float) -> float:
    """The gap between visits at which so many customers make so many events a day."""
    return customers * EVENTS_PER_SESSION / rate * DAY_MS
