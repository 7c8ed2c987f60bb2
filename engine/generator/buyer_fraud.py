"""Frauds by buyers who are who they say: goods claimed back, and accounts run up to disappear."""

from engine.generator.crooks import RESALE, come_out, impostor, shop_for
from engine.generator.lifecycle import follow_up, price, purchase, refund
from engine.generator.simulation import HOUR_MS, MINUTE_MS, Origin, Simulation


def refund_abuse(sim: Simulation, time_ms: int) -> None:
    """Goods ordered to be claimed back, week after week: refund after refund soon after they have settled."""
    draw = sim.draw
    who = impostor(sim) if draw.chance(0.5) else sim.world.anyone(draw)
    sim.introduce(time_ms, who, "registered" if who.number >= sim.world.size else "updated")
    where = Origin(who.devices[0], who.ips[0], who.home.code, "residential")
    for _ in range(draw.whole(5, 11)):
        time_ms += sim.days(0.6, 2.5)
        merchant = shop_for(sim, ("5732", "5651", "5999"), who.home.code)
        minor = price(sim, merchant, who.spend * draw.lognormal(4.0, 0.4))
        payment = purchase(sim, time_ms, who, merchant, who.cards[0], minor, where, fraud="refund_abuse")
        if payment is None:
            continue
        settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
        if settled_ms:
            refund(sim, settled_ms, payment, partial=0.15, slowest=3.0)
            come_out(sim, settled_ms + sim.days(1.0, 4.0), payment, charged_back=False)


def bust_out(sim: Simulation, time_ms: int) -> None:
    """A new account that pays small sums for weeks, then spends all it can in two days and is gone.

    Later on: in a week.
    """
    draw, who = sim.draw, impostor(sim, 0.15)
    hours = 14.0 if sim.drifted(time_ms) else 3.0
    sim.introduce(time_ms, who, "registered")
    where = Origin(who.devices[0], who.ips[0], who.home.code, "residential")
    for _ in range(draw.whole(5, 9)):
        time_ms += sim.days(0.4, 2.5)
        merchant = draw.pick(who.favourites)
        good = purchase(sim, time_ms, who, merchant, who.cards[0], price(sim, merchant, draw.between(5, 25)), where)
        if good is not None:
            follow_up(sim, time_ms, good, refunded=0.0)
    time_ms += sim.days(0.5, 2.0)
    for _ in range(draw.whole(6, 14)):
        time_ms += int(draw.exponential(hours) * HOUR_MS) + MINUTE_MS
        merchant = shop_for(sim, RESALE, who.home.code)
        minor = price(sim, merchant, draw.between(250.0, 900.0))
        payment = purchase(sim, time_ms, who, merchant, who.cards[0], minor, where, fraud="bust_out", declined=0.15)
        if payment is not None:
            settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
            come_out(sim, time_ms, payment, charged_back=settled_ms > 0)
