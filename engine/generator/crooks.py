"""What the stories of fraud have in common: where attackers come from, where they shop, how they come out."""

from typing import Final

from engine.generator.lifecycle import assign
from engine.generator.simulation import Origin, Payment, Simulation
from engine.generator.world import THROWAWAY, Customer, Merchant, address

FRAUD_REASONS: Final = (
    "10.4",
    "10.4",
    "10.5",
    "4837",
    "4863",
)  # Visa and Mastercard: card-absent fraud, not authorised
RESALE: Final = ("5732", "4511", "5816", "5947", "4829")  # what turns into money: electronics, tickets, gift cards
NETWORKS: Final = ("residential",) * 9 + ("vpn",) * 5 + ("hosting",) * 4 + ("tor",) * 2


def come_out(sim: Simulation, time_ms: int, payment: Payment, charged_back: bool = True) -> None:
    """How a fraud becomes known: a report or an analyst's label after days, a chargeback after weeks; some never."""
    draw = sim.draw
    if draw.chance(0.75):
        assign(sim, time_ms + sim.days(0.5, 7.5), payment, "fraud")
    if charged_back and draw.chance(0.75):
        reason = draw.pick(FRAUD_REASONS)
        sim.step(time_ms + sim.days(5.0, 21.0), "payment.chargeback", payment, f',"reason_code":"{reason}"')


def attacker(sim: Simulation) -> Origin:
    """A device never seen before, an address, its country and its kind of network."""
    draw = sim.draw
    country = draw.pick(("US", "BR", "GB", "FR", "DE", "SG"))
    return Origin(sim.world.thing("dev"), address(draw), country, draw.pick(NETWORKS))


def impostor(sim: Simulation, thrown_away: float = 0.4) -> Customer:
    """An account signed up for the crime, with that chance under an address that lives for minutes."""
    who = sim.world.stranger()
    if sim.draw.chance(thrown_away):
        who.email_domain = sim.draw.pick(THROWAWAY)
    return who


def shop_for(sim: Simulation, categories: tuple[str, ...], country: str) -> Merchant:
    """A merchant of one of the categories, of that country if there is one."""
    fitting = [m for m in sim.world.by_country[country] if m.category in categories]
    return sim.draw.pick(fitting or [m for m in sim.world.merchants if m.category in categories])
