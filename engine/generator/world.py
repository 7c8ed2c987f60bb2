"""Who pays whom: countries, merchants and customers, each a function of the seed and its number."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.generator.draw import Draw, token
from engine.generator.rhythm import PEAK_SHARE, PERSONAS

FLATNESS: Final = 50.0  # of the customers' activity; the busiest pays a few times a day
MERCHANTS: Final = 800
THINGS: Final = 8  # numbers a customer reserves for its cards, devices and so on
THINGS_BASE: Final = 1 << 31  # things that are no customer's own are numbered from here


class Country(NamedTuple):
    """A country, its currency and what one euro is worth in it (for amounts, not for conversion)."""

    code: str
    currency: str
    exponent: int
    per_euro: float
    zone: str
    locale: str
    lat: float
    lon: float


COUNTRIES: Final = {
    c.code: c
    for c in (
        Country("FR", "EUR", 2, 1.0, "Europe/Paris", "fr-FR", 48.86, 2.35),
        Country("DE", "EUR", 2, 1.0, "Europe/Berlin", "de-DE", 52.52, 13.40),
        Country("ES", "EUR", 2, 0.9, "Europe/Madrid", "es-ES", 40.42, -3.70),
        Country("IT", "EUR", 2, 0.9, "Europe/Rome", "it-IT", 41.90, 12.50),
        Country("GB", "GBP", 2, 0.86, "Europe/London", "en-GB", 51.51, -0.13),
        Country("US", "USD", 2, 1.1, "America/New_York", "en-US", 40.71, -74.01),
        Country("BR", "BRL", 2, 4.0, "America/Sao_Paulo", "pt-BR", -23.55, -46.63),
        Country("JP", "JPY", 0, 160.0, "Asia/Tokyo", "ja-JP", 35.68, 139.69),
        Country("KW", "KWD", 3, 0.33, "Asia/Kuwait", "ar-KW", 29.38, 47.98),
        Country("SG", "SGD", 2, 1.4, "Asia/Singapore", "en-SG", 1.35, 103.82),
    )
}
HOMES: Final = (
    ("FR",) * 5 + ("DE",) * 5 + ("ES", "ES", "IT", "IT", "GB", "GB", "GB", "US", "US", "BR", "JP", "KW", "SG")
)
TRADES: Final = (  # merchant category code, typical amount against the customer's own, sold on site
    ("5411", 0.8, True), ("5812", 0.7, True), ("5814", 0.3, True), ("5541", 1.1, True), ("5912", 0.5, True),
    ("5651", 1.6, True), ("5732", 5.0, False), ("5942", 0.6, False), ("5999", 1.2, False), ("4121", 0.4, False),
    ("4511", 6.0, False), ("5816", 0.4, False), ("7011", 4.0, True), ("5947", 1.5, False), ("4829", 3.0, False),
)  # fmt: skip
SCHEMES: Final = ("4", "5", "4", "5", "3")
ACQUIRERS: Final = ("acq_1", "acq_2", "acq_3", "acq_4")
MAILBOXES: Final = ("post.example", "post.example", "mail.example", "mail.example", "letters.example", "corp.example")
THROWAWAY: Final = ("ten-minutes.example", "trash.example", "nobody.example")
"""Domains of e-mail addresses: those people keep, and those anybody gets for a quarter of an hour."""


BASE: Final = "EUR"
"""What amounts are drawn in before they become a merchant's currency."""


def rates() -> dict[str, object]:
    """The exchange rates behind the amounts, in the form of the file of `STEWARD_RATES`."""
    per_euro = {c.currency: str(c.per_euro) for c in COUNTRIES.values() if c.currency != BASE}
    return {"base": BASE, "rates": per_euro}


class Merchant(NamedTuple):
    """A shop."""

    id: str
    country: Country
    category: str
    price: float
    on_site: bool
    terminals: int
    acquirer: str


class Card(NamedTuple):
    """A payment card: a token, its first six digits and its country."""

    id: str
    bin: str
    country: str


@dataclass(slots=True)
class Customer:
    """A person with an account; `known_ms` is when the first account event of theirs is due, 2**63 where none is."""

    number: int
    id: str
    home: Country
    persona: str
    peak_hour: int
    spend: float
    spread: float
    method: str
    cards: list[Card]
    devices: list[str]
    ips: list[str]
    favourites: list[Merchant]
    friends: list[int]
    email: str
    email_domain: str
    shipping: list[str]
    place: tuple[float, float]
    birth_date: str
    marketing: bool
    careless: float
    known_ms: int = 1 << 63


def address(draw: Draw) -> str:
    """An address out of the private 10.0.0.0/8, so that it is nobody's."""
    return f"10.{draw.whole(0, 255)}.{draw.whole(0, 255)}.{draw.whole(1, 254)}"


def card(draw: Draw, number: int, country: str) -> Card:
    """A card of an issuer of `country`."""
    issuer = (sorted(COUNTRIES).index(country) * 4 + draw.whole(0, 3)) * 137
    return Card(token("card", number), f"{draw.pick(SCHEMES)}{10_000 + issuer:05d}", country)


@dataclass(slots=True)
class World:
    """All merchants, and customers made when they first act."""

    seed: int
    size: int
    merchants: list[Merchant] = field(default_factory=list)
    by_country: dict[str, list[Merchant]] = field(default_factory=dict)
    customers: dict[int, Customer] = field(default_factory=dict)
    newcomers: list[int] = field(default_factory=list)
    signed_up: int = 0
    opened: int = 0
    things: int = 0

    def __post_init__(self) -> None:
        """Found the merchants; every country gets some."""
        draw = Draw(self.seed << 64 | 1)
        for number in range(MERCHANTS):
            home = sorted(COUNTRIES)[number] if number < len(COUNTRIES) else draw.pick(HOMES)
            category, price, on_site = draw.pick(TRADES)
            terminals = draw.whole(1, 6) if on_site else 0
            merchant = Merchant(
                f"m_{number:04d}", COUNTRIES[home], category, price, on_site, terminals, draw.pick(ACQUIRERS)
            )
            self.merchants.append(merchant)
            self.by_country.setdefault(home, []).append(merchant)

    @property
    def euro(self) -> Country:
        """A country whose money is the euro."""
        return COUNTRIES["FR"]

    def opening(self, draw: Draw, home: str = "") -> Merchant:
        """A shop that has just opened, of any trade; one without `home` is found by whoever looks for shops."""
        category, price, on_site = draw.pick(TRADES)
        country = home or draw.pick(HOMES)
        self.opened += 1
        number = MERCHANTS + self.opened
        place = COUNTRIES[country]
        merchant = Merchant(f"m_{number:04d}", place, category, price, on_site, 1, draw.pick(ACQUIRERS))
        if not home:
            self.merchants.append(merchant)
            self.by_country[country].append(merchant)
        return merchant

    def thing(self, prefix: str) -> str:
        """A fresh id for something that is no customer's own yet."""
        self.things += 1
        return token(prefix, THINGS_BASE + self.things)

    def stolen_card(self, draw: Draw, country: str) -> Card:
        """A card whose holder is not among the customers."""
        self.things += 1
        return card(draw, THINGS_BASE + self.things, country)

    def stranger(self) -> Customer:
        """A customer who has just signed up and whom nobody else's story will use."""
        self.signed_up += 1
        return self.customer(self.size + self.signed_up - 1)

    def newcomer(self) -> Customer:
        """A customer who has just signed up and will be back."""
        who = self.stranger()
        self.newcomers.append(who.number)
        return who

    def anyone(self, draw: Draw) -> Customer:
        """A customer by activity: Zipf-Mandelbrot over the old ones, now and then a recent newcomer."""
        if self.newcomers and draw.chance(0.03):
            return self.customer(draw.pick(self.newcomers[-400:]))
        # A multiplicative shuffle, so that a low number is not a busy customer; 2**31 - 1 is prime.
        return self.customer(draw.rank(self.size, FLATNESS) * 0x7FFF_FFFF % self.size)

    def customer(self, number: int) -> Customer:
        """The customer of that number; the same whenever first asked for."""
        found = self.customers.get(number)
        if found is None:
            found = self.customers[number] = self._make(number)
        return found

    def _make(self, number: int) -> Customer:
        draw = Draw(self.seed << 64 | number << 8 | 2)
        home = COUNTRIES[draw.pick(HOMES)]
        base = number * THINGS
        shops = self.by_country[home.code]
        return Customer(
            number=number,
            id=token("c", number),
            home=home,
            persona=draw.pick(PERSONAS),
            peak_hour=draw.pick((8, 12, 19, 19, 20, 21)) if draw.chance(PEAK_SHARE) else -1,
            spend=draw.lognormal(24.0, 0.5),
            spread=draw.between(0.4, 0.8),
            method=draw.pick(("card", "card", "card", "card", "wallet", "bank_transfer", "direct_debit")),
            cards=[card(draw, base + i, home.code) for i in range(draw.pick((1, 1, 1, 2, 2, 3)))],
            devices=[token("dev", base + i) for i in range(draw.pick((1, 1, 2, 2, 3)))],
            ips=[address(draw) for _ in range(draw.pick((1, 2, 2, 3)))],
            favourites=[shops[draw.rank(len(shops), 10.0)] for _ in range(draw.whole(3, 8))],
            friends=[draw.whole(0, self.size - 1) for _ in range(draw.whole(1, 5))],
            email=token("em", base),
            email_domain=draw.pick(THROWAWAY if draw.chance(0.004) else MAILBOXES),
            shipping=[token("sh", base + i) for i in range(draw.pick((1, 1, 1, 2)))],
            place=(home.lat + draw.between(-1.0, 1.0), home.lon + draw.between(-1.0, 1.0)),
            birth_date=f"{draw.whole(1945, 2007)}-{draw.whole(1, 12):02d}-{draw.whole(1, 28):02d}",
            marketing=draw.chance(0.6),
            careless=draw.between(0.01, 0.08),
        )
