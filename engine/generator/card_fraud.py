"""Frauds with cards: numbers tried out, sprees on stolen ones, copies used abroad, shops that are none."""

from typing import Final

from engine.generator.crooks import RESALE, attacker, come_out, impostor, shop_for
from engine.generator.draw import Draw
from engine.generator.lifecycle import follow_up, price, purchase
from engine.generator.simulation import HOUR_MS, MINUTE_MS, SECOND_MS, Origin, Payment, Simulation
from engine.generator.world import Card, address

CHEAP_SHOPS: Final = ("5999", "5942", "4121", "5816")


def _aftermath(sim: Simulation, time_ms: int, payment: Payment | None) -> None:
    """A fraudulent purchase settles and comes out, if it went through."""
    if payment is not None:
        settled_ms = follow_up(sim, time_ms, payment, refunded=0.0)
        come_out(sim, time_ms, payment, charged_back=settled_ms > 0)


def card_testing(sim: Simulation, time_ms: int) -> None:
    """Stolen card numbers tried one after the other with tiny amounts, from one device, at one shop.

    Later on: slowly, with larger amounts, changing the device and the address every few cards.
    """
    draw, where, later = sim.draw, attacker(sim), sim.drifted(time_ms)
    who = impostor(sim)
    sim.introduce(time_ms, who, "registered")
    merchant = shop_for(sim, CHEAP_SHOPS, who.home.code)
    for number in range(draw.whole(8, 30)):
        time_ms += draw.whole(4, 25) * MINUTE_MS if later else draw.whole(4 * SECOND_MS, 150 * SECOND_MS)
        if later and number % 3 == 2:
            where = attacker(sim)
        minor = price(sim, merchant, draw.between(6.0, 18.0) if later else draw.between(0.5, 4.0))
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
        _aftermath(sim, time_ms, payment)


def bin_attack(sim: Simulation, time_ms: int) -> None:
    """Guessed numbers of one issuer's range, tried by a network of machines under a few accounts at one shop."""
    draw, later = sim.draw, sim.drifted(time_ms)
    crew = [impostor(sim) for _ in range(draw.whole(3, 6))]
    for who in crew:
        sim.introduce(time_ms, who, "registered")
    home = crew[0].home.code
    merchant = shop_for(sim, CHEAP_SHOPS, home)
    issuer = sim.world.stolen_card(draw, home).bin
    for _ in range(draw.whole(20, 60)):
        time_ms += draw.whole(60, 400) * SECOND_MS if later else draw.whole(2 * SECOND_MS, 40 * SECOND_MS)
        guessed = Card(sim.world.stolen_card(draw, home).id, issuer, home)
        minor = price(sim, merchant, draw.between(1.0, 12.0))
        payment = purchase(
            sim, time_ms, draw.pick(crew), merchant, guessed, minor, attacker(sim), fraud="bin_attack", declined=0.85
        )
        _aftermath(sim, time_ms, payment)


def stolen_card(sim: Simulation, time_ms: int) -> None:
    """A customer's card spent by somebody else, quickly, on what can be sold on.

    Later on: fewer and smaller sums, over hours, through an address of the victim's country and to the victim's door.
    """
    draw, where, later = sim.draw, attacker(sim), sim.drifted(time_ms)
    who = sim.world.anyone(draw)
    sim.introduce(time_ms, who)
    taken, drop = draw.pick(who.cards), sim.world.thing("sh")
    growth = 0.6
    if later:
        where, drop, growth = Origin(where.device, where.ip, who.home.code, "residential"), who.shipping[0], 0.3
    for _ in range(draw.whole(2, 5) if later else draw.whole(3, 9)):
        time_ms += draw.whole(30, 240) * MINUTE_MS if later else draw.whole(1 * MINUTE_MS, 25 * MINUTE_MS)
        merchant = shop_for(sim, RESALE, who.home.code)
        minor = price(sim, merchant, who.spend * draw.lognormal(6.0 * growth, 0.4))
        growth *= 1.25
        payment = purchase(
            sim, time_ms, who, merchant, taken, minor, where, fraud="stolen_card", shipping=drop, declined=0.2
        )
        _aftermath(sim, time_ms, payment)


def cloned_card(sim: Simulation, time_ms: int) -> None:
    """A copied card used at terminals of another continent within the hours after its holder paid at home."""
    draw, who = sim.draw, sim.world.anyone(sim.draw)
    sim.introduce(time_ms, who)
    taken, at_home = who.cards[0], Origin(who.devices[0], who.ips[0], who.home.code, "residential")
    local = [m for m in sim.world.by_country[who.home.code] if m.on_site]
    shop = draw.pick(local)
    honest = purchase(sim, time_ms, who, shop, taken, price(sim, shop, who.spend * shop.price), at_home, present=True)
    if honest is not None:
        follow_up(sim, time_ms, honest)
    far = draw.pick([code for code in ("US", "BR", "SG", "JP") if code != who.home.code])
    shops = [m for m in sim.world.by_country[far] if m.on_site]
    time_ms += draw.whole(40 * MINUTE_MS, 240 * MINUTE_MS)
    for _ in range(draw.whole(2, 4)):
        time_ms += draw.whole(3 * MINUTE_MS, 40 * MINUTE_MS)
        merchant = draw.pick(shops)
        minor = price(sim, merchant, who.spend * draw.lognormal(3.0, 0.5))
        payment = purchase(
            sim, time_ms, who, merchant, taken, minor, at_home, fraud="cloned_card", declined=0.15, present=True
        )
        _aftermath(sim, time_ms, payment)


def _customer_abroad(sim: Simulation, draw: Draw, country: str) -> tuple[int, Card]:
    """Somebody who lives elsewhere, as number and card."""
    while True:
        who = sim.world.anyone(draw)
        if who.home.code != country:
            return who.number, draw.pick(who.cards)


def false_shop(sim: Simulation, time_ms: int) -> None:
    """A shop opened to sell nothing: cheap offers at one price lure people from other countries for a few days."""
    draw = sim.draw
    merchant = sim.world.opening(draw, draw.pick(("GB", "SG", "US", "BR")))._replace(category="5999", on_site=False)
    euros, later = draw.pick((39.9, 59.9, 89.9, 119.0)), sim.drifted(time_ms)
    for _ in range(draw.whole(15, 40)):
        time_ms += int(draw.exponential(6.0 if later else 1.8) * HOUR_MS) + SECOND_MS
        number, paid_with = _customer_abroad(sim, draw, merchant.country.code)
        who = sim.world.customer(number)
        sim.introduce(time_ms, who)
        where = Origin(draw.pick(who.devices), address(draw), who.home.code, "mobile")
        minor = int(euros * merchant.country.per_euro * 10**merchant.country.exponent)
        if later:
            minor = price(sim, merchant, euros * draw.between(0.5, 2.0))
        _aftermath(sim, time_ms, purchase(sim, time_ms, who, merchant, paid_with, minor, where, fraud="false_shop"))
