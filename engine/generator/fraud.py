"""The planted fraud: six patterns, each a story told in the same events as ordinary life.

Nothing in an event says that it is fraud: ids of attackers come from the same counters as everybody's, and the truth is
in the label file, in chargebacks and in labels that arrive days later.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.generator.lifecycle import assign, follow_up, price, purchase, refund, send
from engine.generator.simulation import HOUR_MS, MINUTE_MS, SECOND_MS, Payment, Simulation
from engine.generator.world import Merchant, address

FRAUD_REASONS: Final = (
    "10.4",
    "10.4",
    "10.5",
    "4837",
    "4863",
)  # Visa and Mastercard: card-absent fraud, not authorised
RESALE: Final = ("5732", "4511", "5816", "5947", "4829")  # what turns into money: electronics, tickets, gift cards


class Pattern(NamedTuple):
    """A kind of fraud: its story, how often it is told, and how many payments one telling makes on average."""

    name: str
    tell: Callable[[Simulation, int], None]
    share: float
    payments: float


def come_out(sim: Simulation, time_ms: int, payment: Payment, charged_back: bool = True) -> None:
    """How a fraud becomes known: a report or an analyst's label after days, a chargeback after weeks; some never."""
    draw = sim.draw
    if draw.chance(0.75):
        assign(sim, time_ms + sim.days(0.5, 7.5), payment, "fraud")
    if charged_back and draw.chance(0.75):
        reason = draw.pick(FRAUD_REASONS)
        sim.step(time_ms + sim.days(5.0, 21.0), "payment.chargeback", payment, f',"reason_code":"{reason}"')


def attacker(sim: Simulation) -> tuple[str, str, str]:
    """A device never seen before, an address and its country."""
    draw = sim.draw
    return sim.world.thing("dev"), address(draw), draw.pick(("US", "BR", "GB", "FR", "DE", "SG"))


def shop_for(sim: Simulation, categories: tuple[str, ...], country: str) -> Merchant:
    """A merchant of one of the categories, of that country if there is one."""
    fitting = [m for m in sim.world.by_country[country] if m.category in categories]
    return sim.draw.pick(fitting or [m for m in sim.world.merchants if m.category in categories])


def card_testing(sim: Simulation, time_ms: int) -> None:
    """Stolen card numbers tried one after the other with tiny amounts, from one device, at one shop."""
    draw, where = sim.draw, attacker(sim)
    who = sim.world.stranger()
    sim.introduce(time_ms, who, "registered")
    merchant = shop_for(sim, ("5999", "5942", "4121", "5816"), who.home.code)
    for _ in range(draw.whole(8, 30)):
        time_ms += draw.whole(4 * SECOND_MS, 150 * SECOND_MS)
        minor = price(sim, merchant, draw.between(0.5, 4.0))
        stolen = sim.world.stolen_card(draw, who.home.code)
        payment = purchase(
            sim,
            time_ms,
            who,
            merchant,
            stolen,
            minor,
            where,
            fraud="card_testing",
            shipping=who.shipping[0],
            declined=0.7,
        )
        if payment is not None:
            settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
            come_out(sim, time_ms, payment, charged_back=settled_ms > 0)


def stolen_card(sim: Simulation, time_ms: int) -> None:
    """A customer's card spent by somebody else, quickly, on what can be sold on."""
    draw, where = sim.draw, attacker(sim)
    who = sim.world.anyone(draw)
    sim.introduce(time_ms, who)
    taken, drop = draw.pick(who.cards), sim.world.thing("sh")
    growth = 0.6
    for _ in range(draw.whole(3, 9)):
        time_ms += draw.whole(1 * MINUTE_MS, 25 * MINUTE_MS)
        merchant = shop_for(sim, RESALE, who.home.code)
        minor = price(sim, merchant, who.spend * draw.lognormal(6.0 * growth, 0.4))
        growth *= 1.25
        payment = purchase(
            sim, time_ms, who, merchant, taken, minor, where, fraud="stolen_card", shipping=drop, declined=0.2
        )
        if payment is not None:
            settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
            come_out(sim, time_ms, payment, charged_back=settled_ms > 0)


def account_takeover(sim: Simulation, time_ms: int) -> None:
    """Guessed passwords, then a new password and contact, and the money leaves from a new device within the day."""
    draw, where = sim.draw, attacker(sim)
    who, mule = sim.world.anyone(draw), sim.world.stranger()
    sim.introduce(time_ms, who)
    for _ in range(draw.whole(4, 14)):
        sim.access(time_ms, "login_failed", who, *where)
        time_ms += draw.whole(3 * SECOND_MS, 45 * SECOND_MS)
    for kind in ("login", "password_changed", "contact_changed"):
        sim.access(time_ms, kind, who, *where)
        time_ms += draw.whole(20 * SECOND_MS, 400 * SECOND_MS)
    sim.introduce(time_ms, mule, "registered")
    time_ms += int(draw.exponential(3.0) * HOUR_MS)
    for _ in range(draw.whole(1, 3)):
        time_ms += draw.whole(1 * MINUTE_MS, 40 * MINUTE_MS)
        minor = int(draw.lognormal(700.0, 0.5) * who.home.per_euro) * 10**who.home.exponent
        sent = send(sim, time_ms, who, mule, max(minor, 1), where, fraud="account_takeover")
        come_out(sim, time_ms, sent, charged_back=False)


def mule_fan_in(sim: Simulation, time_ms: int) -> None:
    """Many people, tricked, send to one young account within a day or two; it passes nearly all on at once."""
    draw, where = sim.draw, attacker(sim)
    mule, boss = sim.world.stranger(), sim.world.stranger()
    for account in (mule, boss):
        sim.introduce(time_ms, account, "registered")
    total = 0
    for _ in range(draw.whole(5, 14)):
        time_ms += int(draw.exponential(2.0) * HOUR_MS) + SECOND_MS
        victim = sim.world.anyone(draw)
        sim.introduce(time_ms, victim)
        euros = draw.whole(4, 40) * 10 + draw.pick((0, 0, 5, 9))
        origin = (draw.pick(victim.devices), draw.pick(victim.ips), victim.home.code)
        minor = max(1, int(euros * mule.home.per_euro)) * 10**mule.home.exponent
        sent = send(sim, time_ms, victim, mule, minor, origin, fraud="mule_fan_in", money=mule.home)
        come_out(sim, time_ms, sent, charged_back=False)
        total += minor
    for part in (0.55, 0.37):
        time_ms += draw.whole(3 * MINUTE_MS, 25 * MINUTE_MS)
        sent = send(sim, time_ms, mule, boss, max(1, int(total * part)), where, fraud="mule_fan_in")
        come_out(sim, time_ms, sent, charged_back=False)


def refund_abuse(sim: Simulation, time_ms: int) -> None:
    """Goods ordered to be claimed back: refund after refund once they have settled."""
    draw = sim.draw
    who = sim.world.stranger() if draw.chance(0.5) else sim.world.anyone(draw)
    sim.introduce(time_ms, who, "registered" if who.number >= sim.world.size else "updated")
    where = (who.devices[0], who.ips[0], who.home.code)
    for _ in range(draw.whole(3, 7)):
        time_ms += sim.days(0.1, 1.5)
        merchant = shop_for(sim, ("5732", "5651", "5999"), who.home.code)
        minor = price(sim, merchant, who.spend * draw.lognormal(4.0, 0.4))
        payment = purchase(sim, time_ms, who, merchant, who.cards[0], minor, where, fraud="refund_abuse")
        if payment is None:
            continue
        settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
        if settled_ms:
            refund(sim, settled_ms, payment, partial=0.25)
            come_out(sim, settled_ms + sim.days(1.0, 4.0), payment, charged_back=False)


def bust_out(sim: Simulation, time_ms: int) -> None:
    """A new account that pays small sums for weeks, then spends all it can in two days and is gone."""
    draw, who = sim.draw, sim.world.stranger()
    sim.introduce(time_ms, who, "registered")
    where = (who.devices[0], who.ips[0], who.home.code)
    for _ in range(draw.whole(5, 9)):
        time_ms += sim.days(0.4, 2.5)
        merchant = draw.pick(who.favourites)
        good = purchase(sim, time_ms, who, merchant, who.cards[0], price(sim, merchant, draw.between(5, 25)), where)
        if good is not None:
            follow_up(sim, time_ms, good, refunded=0.0)
    time_ms += sim.days(0.5, 2.0)
    for _ in range(draw.whole(6, 14)):
        time_ms += int(draw.exponential(3.0) * HOUR_MS) + MINUTE_MS
        merchant = shop_for(sim, RESALE, who.home.code)
        minor = price(sim, merchant, draw.between(250.0, 900.0))
        payment = purchase(sim, time_ms, who, merchant, who.cards[0], minor, where, fraud="bust_out", declined=0.15)
        if payment is not None:
            settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
            come_out(sim, time_ms, payment, charged_back=settled_ms > 0)


PATTERNS: Final = (
    Pattern("card_testing", card_testing, 0.18, 19.0),
    Pattern("stolen_card", stolen_card, 0.40, 6.0),
    Pattern("account_takeover", account_takeover, 0.20, 4.0),
    Pattern("mule_fan_in", mule_fan_in, 0.06, 23.0),
    Pattern("refund_abuse", refund_abuse, 0.10, 5.0),
    Pattern("bust_out", bust_out, 0.06, 10.0),
)
PAYMENTS_PER_STORY: Final = sum(pattern.share * pattern.payments for pattern in PATTERNS)


def tell_one(sim: Simulation, time_ms: int) -> None:
    """Start one fraud, of a pattern drawn by share."""
    point = sim.draw.uniform()
    for pattern in PATTERNS:
        point -= pattern.share
        if point < 0.0:
            break
    pattern.tell(sim, time_ms)
