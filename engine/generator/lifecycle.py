"""Ordinary life: sessions of purchases and transfers, and what follows from them over days."""

from collections.abc import Callable
from typing import Final

from engine.generator.draw import token
from engine.generator.incidents import OUTAGE, SILENCE
from engine.generator.simulation import MINUTE_MS, SECOND_MS, Origin, Payment, Simulation, purchase_members
from engine.generator.world import THINGS, Card, Country, Customer, Merchant, address

Shop = Callable[[Simulation, int, Customer, Origin], None]
"""A customer shops at a time (milliseconds since 1970), from somewhere."""
DECLINES: Final = ("insufficient_funds", "insufficient_funds", "do_not_honor", "expired_card", "incorrect_cvc")
DISPUTES: Final = ("13.1", "13.3", "12.6.1", "13.7")  # not received, not as described, paid twice, cancelled
ENDINGS: Final = (0, 0, 50, 90, 95, 99, 99)
PURCHASES_PER_SESSION: Final = 1.09
"""Payments a session makes on average, transfers and retries included; sets how often fraud must start."""
EVENTS_PER_SESSION: Final = 4.35
"""Events a session makes on average with all that follows; sets how often sessions must start."""


def price(sim: Simulation, merchant: Merchant, euros: float) -> int:
    """About `euros` as a plausible price in minor units of the merchant's currency, at least the smallest coin."""
    country = merchant.country
    minor = int(euros * country.per_euro * 10**country.exponent + 0.5)
    if country.exponent == 2 and minor > 300 and sim.draw.chance(0.6):
        return minor // 100 * 100 + sim.draw.pick(ENDINGS)
    if country.exponent == 3:
        minor -= minor % 5
    return max(minor, 5 if country.exponent == 3 else 1)


def session(sim: Simulation, time_ms: int, who: Customer, shop: Shop | None = None) -> None:
    """One visit: perhaps a login, a purchase or a transfer, perhaps a change of settings; `shop` is how they shop."""
    draw = sim.draw
    sim.introduce(time_ms, who)
    where = _origin(sim, who)
    if draw.chance(0.4):
        time_ms = _log_in(sim, time_ms, who, where)
    if draw.chance(0.07):
        transfer(sim, time_ms, who, where)
    else:
        (shop or _shop)(sim, time_ms, who, where)
    if draw.chance(0.012):
        _change_settings(sim, time_ms + draw.whole(1 * MINUTE_MS, 20 * MINUTE_MS), who, where)


def _origin(sim: Simulation, who: Customer) -> Origin:
    """Where a customer acts from: mostly home; at times a new device, the household's, a mobile network or a VPN."""
    draw = sim.draw
    device, ip, network = draw.pick(who.devices), draw.pick(who.ips), "residential"
    if draw.chance(0.012):
        device = sim.world.thing("dev")
        who.devices[draw.whole(0, len(who.devices) - 1)] = device
    elif draw.chance(0.01):
        device = token("dev", (who.number ^ 1) * THINGS)
    if draw.chance(0.15):
        ip, network = address(draw), "mobile"
    elif draw.chance(0.015):
        ip, network = address(draw), draw.pick(("vpn", "vpn", "vpn", "hosting"))
    abroad = sim.world.by_country[draw.pick(("FR", "ES", "IT", "US", "SG"))][0].country.code
    return Origin(device, ip, abroad if draw.chance(0.02) else who.home.code, network)


def _log_in(sim: Simulation, time_ms: int, who: Customer, where: Origin) -> int:
    while sim.draw.chance(who.careless):
        sim.access(time_ms, "login_failed", who, where)
        time_ms += sim.draw.whole(4 * SECOND_MS, 40 * SECOND_MS)
    sim.access(time_ms, "login", who, where)
    return time_ms + sim.draw.whole(10 * SECOND_MS, 400 * SECOND_MS)


def _change_settings(sim: Simulation, time_ms: int, who: Customer, where: Origin) -> None:
    chosen = sim.draw.pick(("password_changed", "contact_changed", "consent_changed", "consent_changed"))
    if chosen == "consent_changed":
        who.marketing = not who.marketing
        sim.account(time_ms, chosen, who, f',"consent":{{"marketing":{str(who.marketing).lower()}}}')
    else:
        sim.access(time_ms, chosen, who, where)


def _shop(sim: Simulation, time_ms: int, who: Customer, where: Origin) -> None:
    draw, world = sim.draw, sim.world
    if draw.chance(0.65):
        merchant = draw.pick(who.favourites)
    elif draw.chance(0.9):
        shops = world.by_country[who.home.code]
        merchant = shops[draw.rank(len(shops), 10.0)]
    else:
        merchant = world.merchants[draw.rank(len(world.merchants), 10.0)]
    euros = who.spend * merchant.price * draw.lognormal(1.0, who.spread)
    minor = price(sim, merchant, euros * (draw.between(4.0, 12.0) if draw.chance(0.006) else 1.0))
    buy(sim, time_ms, who, where, merchant, minor)


def buy(sim: Simulation, time_ms: int, who: Customer, where: Origin, merchant: Merchant, minor: int) -> int:
    """Pay a merchant, trying again where it is refused; returns the time of settlement, 0 where there is none."""
    draw = sim.draw
    method = who.method if draw.chance(0.85) else "card"
    paid_with = draw.pick(who.cards) if method == "card" else None
    travelling = draw.chance(0.03)
    while True:
        payment = purchase(sim, time_ms, who, merchant, paid_with, minor, where, method=method, present=travelling)
        if payment is not None:
            return follow_up(sim, time_ms, payment)
        if not draw.chance(0.4):
            return 0
        time_ms += draw.whole(20 * SECOND_MS, 90 * SECOND_MS)
        paid_with = draw.pick(who.cards) if method == "card" else None


def purchase(
    sim: Simulation,
    time_ms: int,
    who: Customer,
    merchant: Merchant,
    paid_with: Card | None,
    minor: int,
    where: Origin,
    *,
    method: str = "card",
    fraud: str = "",
    shipping: str = "",
    declined: float = 0.035,
    present: bool = False,
) -> Payment | None:
    """Request a payment and let it be authorised; `None` where it was declined or failed, or nobody could ask for it.

    `present`: the card is at the shop although it is not the shop's own country, or not the holder who uses it.
    """
    draw = sim.draw
    on_site = merchant.on_site and (present or (not fraud and merchant.country is who.home))
    source = "terminals" if on_site else "checkout"
    if sim.incidents.hits(SILENCE, source, time_ms):
        return None
    common, request = _members(sim, who, merchant, paid_with, method, None if on_site else where, shipping)
    country = merchant.country
    payment = sim.begin(who, country.currency, country.exponent, minor, common, fraud)
    payment.source = source
    down = sim.incidents.hits(OUTAGE, merchant.acquirer, time_ms)
    answer = "declined" if draw.chance(declined) else "failed" if draw.chance(0.6 if down else 0.008) else "authorised"
    if answer == "authorised" and not fraud and draw.chance(0.003):
        payment.mishap = draw.pick(("settlement_missing", "settlement_differs"))
    sim.step(time_ms, "payment.requested", payment, request)
    answer_ms = time_ms + draw.whole(200, 2500)
    if answer == "declined":
        sim.step(answer_ms, "payment.declined", payment, f'{request},"decline_code":"{draw.pick(DECLINES)}"')
        return None
    if answer == "failed":
        code = "acquirer_unavailable" if down else "processor_error"
        sim.step(answer_ms, "payment.failed", payment, f'{request},"decline_code":"{code}"')
        return None
    secured = f',"three_ds":{str(draw.chance(0.04 if fraud else 0.45)).lower()}' if paid_with and not on_site else ""
    sim.step(answer_ms, "payment.authorised", payment, request + secured)
    return payment


def _members(
    sim: Simulation,
    who: Customer,
    merchant: Merchant,
    paid_with: Card | None,
    method: str,
    where: Origin | None,
    shipping: str,
) -> tuple[str, str]:
    """The JSON members of every event of a purchase, and those of its request; `where` is missing for one on site."""
    draw = sim.draw
    channel = "pos" if where is None else draw.pick(("web", "app"))
    common, request = purchase_members(merchant, paid_with, method, channel, where, who)
    metadata = f'"items":{draw.whole(1, 6)},"returning":{str(draw.chance(0.7)).lower()}'
    if where is None:
        centre = who.place if merchant.country is who.home else (merchant.country.lat, merchant.country.lon)
        lat, lon = centre[0] + draw.between(-0.1, 0.1), centre[1] + draw.between(-0.1, 0.1)
        terminal = f"{merchant.id}t{draw.whole(1, merchant.terminals)}"
        request += f',"terminal_id":"{terminal}","lat":{lat:.4f},"lon":{lon:.4f}'
    else:
        request += f',"shipping_hash":"{shipping or draw.pick(who.shipping)}"'
        metadata += f',"email_domain":"{who.email_domain}","ip_type":"{where.ip_type}"'
    return common, f'{request},"metadata":{{{metadata}}}'


def follow_up(sim: Simulation, time_ms: int, payment: Payment, refunded: float = 0.03) -> int:
    """Capture, settlement, refunds, disputes, feedback; returns the time of settlement, 0 where there is none."""
    draw = sim.draw
    if draw.chance(0.015) and not payment.mishap:
        sim.step(time_ms + draw.whole(2 * MINUTE_MS, 300 * MINUTE_MS), "payment.cancelled", payment)
        return 0
    captured_ms = time_ms + (draw.whole(3 * SECOND_MS, 9 * SECOND_MS) if draw.chance(0.6) else sim.days(0.05, 2.0))
    sim.step(captured_ms, "payment.captured", payment)
    if payment.mishap == "settlement_missing":
        return 0
    if payment.mishap == "settlement_differs":
        payment.minor = max(1, int(payment.minor * draw.between(0.7, 0.97)))
    settled_ms = captured_ms + sim.days(0.6, 2.2)
    sim.step(settled_ms, "payment.settled", payment)
    if draw.chance(refunded):
        refund(sim, settled_ms, payment)
    elif draw.chance(0.0006) and not payment.fraud:
        reason = draw.pick(DISPUTES)
        sim.step(settled_ms + sim.days(6.0, 25.0), "payment.chargeback", payment, f',"reason_code":"{reason}"')
    if draw.chance(0.02):
        kind, top = draw.pick((("nps", 10), ("csat", 5)))
        score = top - min(top - 1, int(draw.exponential(1.6)))
        members = f'"customer_id":"{payment.customer.id}","kind":"{kind}","score":{score}'
        sim.push(settled_ms + sim.days(0.2, 3.0), "feedback.submitted", members)
    if draw.chance(0.004) and not payment.fraud:
        assign(sim, time_ms + sim.days(1.0, 7.0), payment, "legitimate")
    return settled_ms


def refund(sim: Simulation, time_ms: int, payment: Payment, partial: float = 0.4, slowest: float = 9.0) -> None:
    """Give a payment back: all of it, or parts of it, each within `slowest` days."""
    left = payment.minor
    parts = sim.draw.whole(1, 3) if sim.draw.chance(partial) else 0
    for _ in range(parts or 1):
        amount = max(1, int(left * sim.draw.between(0.15, 0.6))) if parts else left
        if amount > left or (payment.exponent == 3 and amount < 5):
            return
        left -= amount
        time_ms += sim.days(0.5, slowest)
        reference = sim.world.thing("ref")
        sim.step(time_ms, "payment.refunded", payment, f',"refund_id":"{reference}"', amount)


def assign(sim: Simulation, time_ms: int, payment: Payment, label: str) -> None:
    """A label from an analyst or from the customer's own report."""
    members = f'"customer_id":"{payment.customer.id}","payment_id":"{payment.id}","label":"{label}"'
    sim.push(time_ms, "label.assigned", members)


def transfer(sim: Simulation, time_ms: int, who: Customer, where: Origin) -> None:
    """Money to a friend or, at times, to somebody new, who sees it arrive; now and then rent, a car, a deposit."""
    draw = sim.draw
    friend = sim.world.anyone(draw) if draw.chance(0.1) else sim.world.customer(draw.pick(who.friends))
    sim.introduce(time_ms, friend)
    euros = draw.lognormal(30.0, 0.8)
    if draw.chance(0.05):
        euros = draw.lognormal(900.0, 0.7)
    elif draw.chance(0.004):
        euros = draw.between(5_000.0, 14_000.0)
    minor = max(1, int(euros * who.home.per_euro)) * 10**who.home.exponent
    send(sim, time_ms, who, friend, minor, where)


def send(
    sim: Simulation,
    time_ms: int,
    who: Customer,
    to: Customer,
    minor: int,
    where: Origin,
    *,
    fraud: str = "",
    money: Country | None = None,
) -> Payment:
    """A transfer from one customer to another, in the currency of `money` or else of the sender's home.

    Sent by one, received by the other a little later; each side has its own payment id. Returns the sender's.
    """
    home = money or who.home
    members = f'"method":"wallet","counterparty_id":"{to.id}",'
    sent = sim.begin(who, home.currency, home.exponent, minor, members, fraud)
    sent.source = "wallet"
    origin = f',"channel":"app","device_id":"{where.device}","ip":"{where.ip}","ip_country":"{where.ip_country}"'
    origin += f',"metadata":{{"ip_type":"{where.ip_type}"}}'
    sim.step(time_ms, "transfer.sent", sent, origin)
    members = f'"method":"wallet","counterparty_id":"{who.id}",'
    arrived = sim.begin(to, home.currency, home.exponent, minor, members, fraud)
    arrived.source = "wallet"
    sim.step(time_ms + sim.draw.whole(300, 20_000), "transfer.received", arrived)
    return sent
