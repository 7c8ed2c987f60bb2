"""Frauds with accounts and wallets: takeovers, mules, money split, money rushed through, accounts made by the dozen."""

from itertools import pairwise

from engine.generator.crooks import attacker, come_out, impostor
from engine.generator.lifecycle import follow_up, price, purchase, send
from engine.generator.simulation import HOUR_MS, MINUTE_MS, SECOND_MS, Origin, Simulation
from engine.generator.world import Customer, address


def _wire(sim: Simulation, time_ms: int, who: Customer, to: Customer, euros: float, where: Origin, fraud: str) -> None:
    """A fraudulent transfer of about so much, in the sender's money, which comes out."""
    minor = int(euros * who.home.per_euro) * 10**who.home.exponent
    come_out(sim, time_ms, send(sim, time_ms, who, to, max(minor, 1), where, fraud=fraud), charged_back=False)


def _home(who: Customer) -> Origin:
    return Origin(who.devices[0], who.ips[0], who.home.code, "residential")


def _guess_passwords(sim: Simulation, time_ms: int, who: Customer, where: Origin) -> int:
    """Many passwords for one account, or one list of leaked ones for many; returns when the way in is found."""
    draw = sim.draw
    stuffed = draw.whole(6, 20) if draw.chance(0.4) else 0
    for _ in range(stuffed or draw.whole(4, 14)):
        tried = sim.world.anyone(draw) if stuffed else who
        sim.introduce(time_ms, tried)
        sim.access(time_ms, "login_failed", tried, where)
        time_ms += draw.whole(3 * SECOND_MS, 45 * SECOND_MS)
    return time_ms


def account_takeover(sim: Simulation, time_ms: int) -> None:
    """Guessed passwords, then a new password and contact, and the money leaves from a new device within the day.

    Later on: the password was phished, the contact stays, the address is of the victim's country, and sums are smaller.
    """
    draw, where, later = sim.draw, attacker(sim), sim.drifted(time_ms)
    busy = draw.chance(0.7)
    who = sim.world.anyone(draw) if busy else sim.world.customer(draw.whole(0, sim.world.size - 1))
    mule = impostor(sim)
    sim.introduce(time_ms, who)
    if later:
        where = Origin(where.device, where.ip, who.home.code, "residential")
    else:
        time_ms = _guess_passwords(sim, time_ms, who, where)
    changes = ("password_changed", "contact_changed", "contact_changed")[: 3 if draw.chance(0.4) else 2]
    for kind in ("login",) if later else ("login", *changes):
        sim.access(time_ms, kind, who, where)
        time_ms += draw.whole(20 * SECOND_MS, 400 * SECOND_MS)
    sim.introduce(time_ms, mule, "registered")
    time_ms += int(draw.exponential(3.0) * HOUR_MS)
    drained = draw.chance(0.15)  # as fast as hands can type
    for _ in range(draw.whole(6, 9) if drained else draw.whole(1, 3)):
        time_ms += draw.whole(15, 50) * SECOND_MS if drained else draw.whole(1 * MINUTE_MS, 40 * MINUTE_MS)
        _wire(sim, time_ms, who, mule, draw.lognormal(250.0 if later else 700.0, 0.5), where, "account_takeover")


def mule_fan_in(sim: Simulation, time_ms: int) -> None:
    """Many people, tricked, send to one young account within a day or two; it passes nearly all on at once.

    Later on: fewer of them with larger sums, and the money rests for a day or two.
    """
    draw, where, later = sim.draw, attacker(sim), sim.drifted(time_ms)
    mule, boss = impostor(sim), impostor(sim)
    for account in (mule, boss):
        sim.introduce(time_ms, account, "registered")
    total = 0
    for _ in range(draw.whole(2, 4) if later else draw.whole(5, 14)):
        time_ms += int(draw.exponential(2.0) * HOUR_MS) + SECOND_MS
        victim = sim.world.anyone(draw)
        sim.introduce(time_ms, victim)
        euros = draw.whole(4, 40) * (40 if later else 10) + draw.pick((0, 0, 5, 9))
        origin = Origin(draw.pick(victim.devices), draw.pick(victim.ips), victim.home.code, "residential")
        minor = max(1, int(euros * mule.home.per_euro)) * 10**mule.home.exponent
        sent = send(sim, time_ms, victim, mule, minor, origin, fraud="mule_fan_in", money=mule.home)
        come_out(sim, time_ms, sent, charged_back=False)
        total += minor
    time_ms += sim.days(1.0, 2.0) if later else 0
    for part in (0.55, 0.37):
        time_ms += draw.whole(3 * MINUTE_MS, 25 * MINUTE_MS)
        sent = send(sim, time_ms, mule, boss, max(1, int(total * part)), where, fraud="mule_fan_in")
        come_out(sim, time_ms, sent, charged_back=False)


def structuring(sim: Simulation, time_ms: int) -> None:
    """A sum that would be reported, sent within a day in parts that are not, to one or two payees."""
    draw, who = sim.draw, sim.world.anyone(sim.draw)
    payees = [impostor(sim, 0.0) for _ in range(draw.whole(1, 2))]
    for account in (who, *payees):
        sim.introduce(time_ms, account, "registered" if account.number >= sim.world.size else "updated")
    low, high = (4000.0, 7500.0) if sim.drifted(time_ms) else (8200.0, 9900.0)
    for _ in range(draw.whole(3, 6)):
        time_ms += draw.whole(20 * MINUTE_MS, 300 * MINUTE_MS)
        euros = draw.between(low, high)
        local = euros * who.home.per_euro
        if draw.chance(0.5):
            euros = (int(local / 100) * 100 + 0.5) / who.home.per_euro  # a whole hundred of their money, cut to units
        _wire(sim, time_ms, who, draw.pick(payees), euros, _home(who), "structuring")


def layering(sim: Simulation, time_ms: int) -> None:
    """A large sum handed through a chain of young accounts, each of which keeps a little and waits for minutes."""
    draw = sim.draw
    chain = [sim.world.anyone(draw), *(impostor(sim) for _ in range(draw.whole(3, 5)))]
    for account in chain:
        sim.introduce(time_ms, account, "registered" if account.number >= sim.world.size else "updated")
    euros, where = draw.between(1500.0, 7000.0), attacker(sim)
    later = sim.drifted(time_ms)
    for sender, payee in pairwise(chain):
        time_ms += draw.whole(20, 40) * HOUR_MS if later else draw.whole(4 * MINUTE_MS, 50 * MINUTE_MS)
        minor = max(1, int(euros)) * 100
        origin = _home(sender) if sender is chain[0] else where
        sent = send(sim, time_ms, sender, payee, minor, origin, fraud="layering", money=sim.world.euro)
        come_out(sim, time_ms, sent, charged_back=False)
        euros *= draw.between(0.92, 0.98)


def account_farm(sim: Simulation, time_ms: int) -> None:
    """Accounts made by the dozen on one device, each for a newcomer's discount, goods sent to one door.

    Later on: each on a device of its own, from an address of its own.
    """
    draw, where, drop = sim.draw, attacker(sim), sim.world.thing("sh")
    later = sim.drifted(time_ms)
    shops = [m for m in sim.world.by_country["FR"] if not m.on_site]
    merchant, shared = draw.pick(shops), sim.world.stolen_card(draw, "FR")
    for _ in range(draw.whole(6, 12)):
        time_ms += draw.whole(10 * MINUTE_MS, 400 * MINUTE_MS)
        who = impostor(sim, 0.7)
        sim.introduce(time_ms, who, "registered")
        if later:
            where = where._replace(device=sim.world.thing("dev"), ip=address(draw))
        at_ms = time_ms + draw.whole(2 * MINUTE_MS, 9 * MINUTE_MS)
        minor = price(sim, merchant, draw.between(18.0, 45.0))
        paid_with = shared if draw.chance(0.4) else who.cards[0]
        bought = purchase(sim, at_ms, who, merchant, paid_with, minor, where, fraud="account_farm", shipping=drop)
        if bought is not None:
            follow_up(sim, at_ms, bought, refunded=0.0)
            come_out(sim, at_ms, bought, charged_back=False)
