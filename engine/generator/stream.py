"""The stream: sessions and frauds started at random times, their events sent in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from engine.generator.abuse import SHARE_MAX as ABUSE_MAX
from engine.generator.abuse import Abuse
from engine.generator.draw import Draw
from engine.generator.fraud import PAYMENTS_PER_STORY, tell_one
from engine.generator.incidents import Incidents
from engine.generator.lifecycle import EVENTS_PER_SESSION, PURCHASES_PER_SESSION, session
from engine.generator.lift import Lift, Reach
from engine.generator.regulars import CUSTOMERS_MAX as REGULARS_MAX
from engine.generator.regulars import Regulars, gap_ms
from engine.generator.rhythm import ACCEPTANCE, DAY_MS, weight
from engine.generator.simulation import Simulation
from engine.generator.world import World

START_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z, a Thursday."""
WORLDS: Final = ("payments", "engagement")
CUSTOMERS_MAX: Final = 1 << 26
EVENTS_MAX: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stream looks like.

    Attributes:
        seed: everything follows from it; 0 or more.
        customers: accounts that exist at the start; new ones sign up as the stream goes on.
        start_ms: event time of the beginning, milliseconds since 1970.
        rate: about this many events a day once the first days have passed (settlements and labels lag behind).
        fraud_rate: about this share of payments and transfers is fraud.
        late_share: this share of events is sent up to 50 minutes after its time, so out of order.
        duplicate_share: this share of events is sent again within ten minutes.
        haste: divides the days between a payment and its settlement, refunds and labels; for short live streams.
        incident_rate: about so many acquirer outages and silent sources a day, from the fourth day on; 0 for none.
        drift_day: fraud changes its habits so many days after the start; None for never. The stream up to then is
            that of the same settings without it.
        world: `payments`, or `engagement`: customers who come back at their own pace, lapse, refer, spend points.
        lift: an effect of a campaign that is planted; of the world `engagement` alone.
        abuse: about this share of payments is of rings after rewards (`engine.generator.abuse`); of that world alone.
            The events of the others are those of the same settings without it.
    """

    seed: int = 0
    customers: int = 5000
    start_ms: int = START_MS
    rate: float = 10_000.0
    fraud_rate: float = 0.01
    late_share: float = 0.0
    duplicate_share: float = 0.0
    haste: float = 1.0
    incident_rate: float = 0.25
    drift_day: float | None = None
    world: str = WORLDS[0]
    lift: Lift | None = None
    abuse: float = 0.0

    def __post_init__(self) -> None:
        """Raises `ValueError` on a setting out of its range."""
        checks = (
            ("seed", self.seed, 0, 2**63 - 1),
            ("customers", self.customers, 10, CUSTOMERS_MAX),
            ("start_ms", self.start_ms, 0, 4_000_000_000_000),
            ("rate", self.rate, 1.0, 1e9),
            ("fraud_rate", self.fraud_rate, 0.0, 0.5),
            ("late_share", self.late_share, 0.0, 1.0),
            ("duplicate_share", self.duplicate_share, 0.0, 1.0),
            ("haste", self.haste, 1.0, 1e6),
            ("incident_rate", self.incident_rate, 0.0, 24.0),
            ("drift_day", self.drift_day or 0.0, 0.0, 36_500.0),
            ("lift", 0.0 if self.lift is None else self.lift.share, -0.9, 10.0),
            ("abuse", self.abuse, 0.0, ABUSE_MAX),
        )
        for name, value, low, high in checks:
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value}")
        if self.world not in WORLDS:
            raise ValueError(f"world must be one of {', '.join(WORLDS)}, not {self.world}")
        if self.world == "payments" and self.lift is not None:
            raise ValueError("a lift needs the world of engagement")
        if self.world == "payments" and self.abuse:
            raise ValueError("abuse of rewards needs the world of engagement")
        if self.world == "engagement" and self.customers > REGULARS_MAX:
            raise ValueError(f"customers must be at most {REGULARS_MAX} in the world of engagement")


def generate(
    events: int,
    settings: Settings | None = None,
    *,
    labels: Callable[[str], object] | None = None,
    incidents: Callable[[str], object] | None = None,
    abusers: Callable[[str], object] | None = None,
) -> Iterator[bytes]:
    """Yield `events` events as NDJSON lines, each with its newline, in the order they are sent.

    That is event-time order unless `late_share` or `duplicate_share` ask for worse. A longer stream of the same
    settings begins with the shorter one. Legitimate time goes by each customer's own time zone.

    `labels` is called with the lines of the truth, `payment_id,label,pattern` and a newline, as the first event of
    each payment is sent (`label` is `fraud` or `legitimate`; a file's `write` will do). `pattern` names the kind of
    fraud, or what went wrong with the settlement of a legitimate payment. `incidents` is called with a line,
    `kind,subject,start,end` and a newline, as an outage or a silence begins. `abusers` is called with the lines
    `customer_id,kind,ring` and a newline of all accounts of a ring as it begins to act; `ring` is the id of its first
    account. Raises `ValueError` where `events` is
    negative or 2**32 and more.
    """
    if not 0 <= events < EVENTS_MAX:
        raise ValueError(f"events must be from 0 to {EVENTS_MAX - 1}, not {events}")
    return _lines(events, settings or Settings(), labels, incidents, abusers)


def _lines(
    events: int,
    settings: Settings,
    labels: Callable[[str], object] | None,
    incidents: Callable[[str], object] | None,
    abusers: Callable[[str], object] | None,
) -> Iterator[bytes]:
    sent = reported = 0
    batch: list[bytes] = []
    truths: list[str] = []

    def take(line: str, truth: str) -> None:
        batch.append(line.encode("ascii"))
        truths.append(truth)

    for now_ms, simulation, abuse in _attempts(settings):
        if abusers is not None:
            for truth in abuse.begun:
                abusers(truth)
        abuse.begun.clear()
        if incidents is not None:
            begun = simulation.incidents.begun(now_ms)
            for incident in begun[reported:]:
                incidents(incident.line())
            reported = len(begun)
        simulation.drain(now_ms, take)
        for line, truth in zip(batch, truths, strict=True):
            if sent == events:
                return
            if truth and labels is not None:
                labels(truth)
            sent += 1
            yield line
        batch.clear()
        truths.clear()
        if sent == events:
            return


def _attempts(settings: Settings) -> Iterator[tuple[int, Simulation, Abuse]]:
    """Let time pass for ever: yields each time at which everything queued up to then is final."""
    seed = settings.seed
    draw = Draw(seed << 64 | 3)
    simulation = Simulation(
        World(seed, settings.customers),
        draw,
        Draw(seed << 64 | 4),
        Incidents(Draw(seed << 64 | 5), settings.start_ms, settings.incident_rate),
        settings.haste,
        settings.late_share,
        settings.duplicate_share,
    )
    if settings.drift_day is not None:
        simulation.drift_ms = settings.start_ms + int(settings.drift_day * DAY_MS)
    abuse = Abuse.beside(simulation, seed, settings.abuse)
    regular = settings.world == "engagement"
    clocks = _regulars(settings, simulation, abuse) if regular else _strangers(settings, simulation)
    return ((now_ms, simulation, abuse) for now_ms in clocks)


def _fraud_chance(settings: Settings, sessions: float) -> float:
    """How often a fraud begins, where so many sessions do on average."""
    honest = PURCHASES_PER_SESSION * sessions * (1.0 - settings.fraud_rate)
    return settings.fraud_rate * honest / (1.0 - settings.fraud_rate) ** 2 / PAYMENTS_PER_STORY


def _strangers(settings: Settings, simulation: Simulation) -> Iterator[int]:
    """The world of payments: anybody may come at any time."""
    draw = simulation.draw
    gap = DAY_MS * EVENTS_PER_SESSION * ACCEPTANCE / settings.rate
    fraud_chance = _fraud_chance(settings, ACCEPTANCE)
    clock_ms = float(settings.start_ms)
    while True:
        clock_ms += draw.exponential(gap)
        now_ms = int(clock_ms)
        yield now_ms
        if draw.chance(fraud_chance):
            tell_one(simulation, now_ms)
        if draw.chance(0.0002):
            simulation.world.opening(draw)
        if draw.chance(0.002):
            newcomer = simulation.world.newcomer()
            simulation.introduce(now_ms, newcomer, "registered")
            session(simulation, now_ms + draw.whole(60_000, 3_600_000), newcomer)
            continue
        who = simulation.world.anyone(draw)
        if draw.chance(weight(now_ms, who.home.zone, who.persona, who.peak_hour)):
            session(simulation, now_ms, who)


def _regulars(settings: Settings, simulation: Simulation, abuse: Abuse) -> Iterator[int]:
    """The world of engagement: everybody comes back when it is time."""
    fraud_chance = _fraud_chance(settings, 1.0)

    def meanwhile(now_ms: int) -> None:
        if simulation.draw.chance(fraud_chance):
            tell_one(simulation, now_ms)
        if simulation.draw.chance(0.0005):
            simulation.world.opening(simulation.draw)
        abuse.look(now_ms)

    pace_ms, reach = gap_ms(settings.customers, settings.rate), Reach(settings.lift)
    regulars = Regulars(simulation, meanwhile, settings.seed, settings.customers, pace_ms, reach)
    return regulars.attempts(settings.start_ms)
