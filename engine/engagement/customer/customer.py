"""One customer: everything engagement knows, brought up to an instant and changed by events.

Two things move a customer: time (`advance`) and events (`pay`, `refund`, …). Before an event is taken in, time comes up
to it: so what was due happens first, at its own instant, whether a timer or the event found it.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from engine.engagement.calendar import DAY_MS, add_months, local_month, month_begins, parse_day
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.history import YEAR, History
from engine.engagement.customer.states import MEMBERSHIP, NEVER, UPSET_MS, Facts, States, Transition
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import Movement
from engine.engagement.marketing.abuse import Suspected
from engine.engagement.marketing.choosing import Choices
from engine.engagement.marketing.counting import Counts
from engine.engagement.marketing.effects import Exposures
from engine.engagement.marketing.offers import Offers
from engine.engagement.models.bgnbd import BgNbd
from engine.engagement.models.first_gap import FirstGap
from engine.engagement.models.gamma_gamma import GammaGamma
from engine.engagement.models.ranks import BINS, Ranks, bin_of

WINDOW_MS: Final = 28 * DAY_MS
"""Spending is compared window by window: four weeks have the same weekdays."""
DECLINE: Final = 0.5
DECLINE_MIN: Final = 300
TIERS: Final = (500, 2_000, 5_000)
"""Major units of the base currency: `Population.decline_minor`, and thresholds of membership."""
ALIVE_MIN: Final = 0.1
MUTE_MS: Final = UPSET_MS
NPS_BAD: Final = 6.0
CSAT_BAD: Final = 2.0
YEAR_DAYS: Final = 365.0
RANKED_MIN: Final = 30
"""Fewer customers have no quantiles worth the name."""
CYCLE_MONTHS: Final = 12
MONTH_SPREAD_MS: Final = 7 * DAY_MS
FORGET_CONSENTS: Final = 32

Bins = tuple[int, int, int]
"""Where a customer is counted: by recency, frequency and money."""
_UNRANKED: Final[Bins] = (BINS, BINS, BINS)


@dataclass(slots=True)
class Population:
    """What a shard knows of all its customers, and the figures of the operator.

    Attributes:
        recency, frequency, money: ranks of customers.
        alive, amount, gap: models fitted on a sample; in days, and in minor units. None before there is a fit.
        tiers: thresholds of membership, minor units of the base currency in twelve months.
        decline_minor: what four weeks must have brought for a halving to count.
        exponent: of the base currency: 10 to it minor units are a major one.
    """

    recency: Ranks = field(default_factory=Ranks)
    frequency: Ranks = field(default_factory=Ranks)
    money: Ranks = field(default_factory=Ranks)
    alive: BgNbd | None = None
    amount: GammaGamma | None = None
    gap: FirstGap | None = None
    tiers: tuple[int, ...] = (50_000, 200_000, 500_000)
    decline_minor: int = 30_000
    exponent: int = 2

    @classmethod
    def under(cls, exponent: int) -> "Population":
        """Nobody, under a base currency of so many decimals."""
        major: int = 10**exponent
        return cls(tiers=tuple(tier * major for tier in TIERS), decline_minor=DECLINE_MIN * major, exponent=exponent)

    @property
    def major(self) -> float:
        """Minor units of the base currency in a major one."""
        return 10.0**self.exponent


class Due(NamedTuple):
    """What time has brought: transitions, and movements of the ledger."""

    at_ms: int
    transitions: list[Transition]
    moved: list[Movement]


@dataclass(slots=True)
class Feedback:
    """The last answers, None before there is one, and until when marketing is silent after a bad one."""

    nps: float | None = None
    csat: float | None = None
    muted_until_ms: int = 0


@dataclass(slots=True)
class Customer:
    """See the module.

    Attributes:
        registered_ms: when the customer signed up, or was first seen; 0 before.
        zone, locale, country, birth, referrer: as in the account's events, "" where they name none.
        consent: by purpose; consented_ms: event time of the last word on it.
        told_ms: event time of the latest of the account's events.
        history, ledger, states, feedback: see there.
        clock_ms: up to when time has come.
        disputed_ms: when a payment was last charged back, 0 for never.
        declined_ms: since when spending has halved, `NEVER` where it has not.
        cycle_ends_ms: when the membership is looked at again.
        ranked: the values with which the population counts this customer; None while it does not.
        counts, offers: what campaigns have given; exposures, choices: whose effect is being measured.
        suspected: of what, and what is frozen for it.
        timer_ms: when the customer is looked at though nothing happens; `NEVER` while nothing is set.
        noted: what was worked out of campaigns' timers; see `engine.engagement.marketing.occasions`.
    """

    registered_ms: int = 0
    zone: str = ""
    locale: str = ""
    country: str = ""
    birth: str = ""
    referrer: str = ""
    consent: dict[str, bool] = field(default_factory=dict)
    consented_ms: dict[str, int] = field(default_factory=dict)
    told_ms: int = 0
    history: History = field(default_factory=History)
    ledger: Ledger = field(default_factory=Ledger)
    states: States = field(default_factory=States)
    feedback: Feedback = field(default_factory=Feedback)
    clock_ms: int = 0
    disputed_ms: int = 0
    declined_ms: int = NEVER
    cycle_ends_ms: int = NEVER
    ranked: tuple[float, float, float] | None = None
    counts: Counts = field(default_factory=Counts)
    offers: Offers = field(default_factory=Offers)
    exposures: Exposures = field(default_factory=Exposures)
    choices: Choices = field(default_factory=Choices)
    suspected: Suspected = field(default_factory=Suspected)
    timer_ms: int = NEVER
    noted: dict[str, tuple[object, int, int]] = field(default_factory=dict, compare=False)
    _timed: tuple[tuple[object, ...], int] | None = field(default=None, compare=False)  # the next transition, and why
    _bins: Bins | None = field(default=None, compare=False)

    def advance(self, now_ms: int, population: Population) -> list[Due]:
        """Bring time up to `now_ms`: what becomes due on the way happens, in its order."""
        happened: list[Due] = []
        while (at := self.next_due(population)) <= now_ms:
            self.clock_ms = max(self.clock_ms, at)
            moved = self.ledger.advance(at)
            self._close_window(at, population)
            happened.append(Due(at, self.look(at, population), moved))
        self.clock_ms = max(self.clock_ms, now_ms)
        return [due for due in happened if due.transitions or due.moved]

    def next_due(self, population: Population) -> int:
        """The first instant after the clock at which something happens by itself, or has to be looked at."""
        # A cycle is judged when it ends, also where the tier was earned again: a month later less counts.
        states = max(min(self._next_transition(population), self.cycle_ends_ms), self.clock_ms + 1)
        return min(self.ledger.next_due(), self._next_window(), self._next_month(), states)

    def look(self, now_ms: int, population: Population, *, forfeited: bool = False) -> list[Transition]:
        """Make the transitions that hold at an instant; `forfeited`: a payment that may have earned the membership is
        lost."""
        self._rank(now_ms, population)
        facts = self.facts(now_ms, population)
        made = self.states.look(facts._replace(forfeited=True) if forfeited else facts, now_ms)
        self._timed = self._timed_by(now_ms, population), self.states.ahead_ms
        for transition in made:
            if transition.dimension == "membership":
                basic = transition.end == MEMBERSHIP[0]
                self.cycle_ends_ms = NEVER if basic else add_months(transition.at_ms, CYCLE_MONTHS, self.zone)
        if self.cycle_ends_ms <= now_ms:  # earned again: another cycle
            self.cycle_ends_ms = add_months(self.cycle_ends_ms, CYCLE_MONTHS, self.zone)
        return made

    # Events

    def seen(self, now_ms: int) -> None:
        """An event of a customer who may never have signed up."""
        self.registered_ms = self.registered_ms or now_ms

    def enter(self, paid: Paid) -> None:
        """A payment has settled; whoever says so has more to say of it before anybody looks."""
        self.seen(paid.time_ms)
        self.history.pay(paid, self.zone)

    def refund(self, payment: int, back: int, now_ms: int, population: Population) -> list[Transition]:
        """So much of a payment, in minor units of the base currency, has been given back by now, in all."""
        self.history.refund(payment, back, now_ms, self.zone)
        return self.look(now_ms, population)

    def lose(self, payment: int, now_ms: int, population: Population) -> list[Transition]:
        """A payment counts for nothing: it was fraud, or all of it was charged back. A membership that it may have
        earned, having settled by the day on which the cycle began, goes at once where the rest does not earn it."""
        paid, begun = self.history.of(payment), NEVER
        if self.cycle_ends_ms < NEVER:
            begun = add_months(self.cycle_ends_ms - 1, -CYCLE_MONTHS, self.zone)
        self.history.void(payment, now_ms, self.zone)
        gone = paid is not None and self.history.of(payment) is None and paid.time_ms < begun < NEVER
        return self.look(now_ms, population, forfeited=gone)

    def disputed(self, now_ms: int) -> None:
        """A payment was charged back."""
        self.disputed_ms = max(self.disputed_ms, now_ms)

    def answer(self, kind: str, score: float, now_ms: int) -> bool:
        """The answer to a survey. True where it is so bad that somebody should call; marketing is silent then."""
        setattr(self.feedback, kind, score)
        bad = score <= (NPS_BAD if kind == "nps" else CSAT_BAD)
        if bad:
            self.feedback.muted_until_ms = max(self.feedback.muted_until_ms, now_ms + MUTE_MS)
        return bad

    def agree(self, consent: dict[str, bool], time_ms: int = 0) -> None:
        """Consent is given or withdrawn, purpose by purpose. A yes that is older than the last word on its purpose says
        nothing any more; a no counts whenever it comes."""
        said = self.consented_ms
        heard = {one: yes for one, yes in consent.items() if not yes or time_ms >= said.get(one, 0)}
        self.consent = dict(sorted({**self.consent, **heard}.items())[:FORGET_CONSENTS])
        times = said | {one: max(time_ms, said.get(one, 0)) for one in heard}
        self.consented_ms = {one: times[one] for one in self.consent if times.get(one)}

    def unrank(self, population: Population) -> None:
        """Count this customer no more."""
        self._shift(population, _UNRANKED)
        self.ranked = self._bins = None

    def become(self, other: "Customer") -> None:
        """Be another customer from now on: all of this one is forgotten."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    # What follows

    def facts(self, now_ms: int, population: Population, *, looked: bool = True) -> Facts:
        """What transitions look at; without `looked`, what those look at that come with time."""
        history = self.history
        member = looked or self.states.of("membership") != MEMBERSHIP[0]
        return Facts(
            self.registered_ms,
            history.first_ms,
            history.last_ms,
            history.payments,
            history.gap_ms(),
            history.spread_ms(),
            partial(self._fades_ms, population),
            self.declined_ms,
            self.value_rank(population) if looked else math.nan,
            self.spend_12m(now_ms) if member else 0,
            self.cycle_ends_ms,
            population.tiers,
            False,
            self._upset_ms,
        )

    @property
    def _upset_ms(self) -> int:
        """When the last bad answer came, 0 where none has."""
        return max(0, self.feedback.muted_until_ms - MUTE_MS)

    def value_rank(self, population: Population) -> float:
        """Mean of the ranks by recency, frequency and money; NaN where too few customers are ranked."""
        if self.ranked is None or population.money.customers < RANKED_MIN:
            return math.nan
        recency, frequency, money = self._ranked_in()
        ranks = population.recency.rank_of(recency) + population.frequency.rank_of(frequency)
        return (ranks + population.money.rank_of(money)) / len(self.ranked)

    def spend_rank(self, population: Population) -> float:
        """Share of customers who have kept less in twelve months; NaN where too few are ranked."""
        known = self.ranked is not None and population.money.customers >= RANKED_MIN
        return population.money.rank(self.ranked[2]) if known and self.ranked is not None else math.nan

    def spend_12m(self, now_ms: int) -> int:
        """Kept in this local month and the eleven before, minor units of the base currency."""
        return self.history.year(local_month(now_ms, self.zone))[1]

    def p_alive(self, now_ms: int, population: Population) -> float:
        """Probability that the customer still is one; NaN before there is a fit, or before the first payment. After one
        payment, that a second one comes within the horizon of first gaps: BG/NBD knows no end before a repeat."""
        if not self.history.first_ms:
            return math.nan
        x, tx, age = self.counted(now_ms)
        if not x:
            return math.nan if population.gap is None else float(population.gap.p_returns(age))  # type: ignore[arg-type]
        return math.nan if population.alive is None else float(population.alive.p_alive(x, tx, age))  # type: ignore[arg-type]

    def counted(self, now_ms: int) -> tuple[float, float, float]:
        """Repeat payments, days from the first to the last, days since the first: what lifetime models take."""
        history = self.history
        repeats = float(max(history.payments - 1, 0))
        tx = (history.last_ms - history.first_ms) / DAY_MS if repeats else 0.0
        return repeats, tx, max((now_ms - history.first_ms) / DAY_MS, tx)

    @property
    def measured(self) -> int:
        """Exposures and choices that are open."""
        return len(self.exposures.of) + len(self.choices.of)

    def muted(self, now_ms: int) -> bool:
        """Marketing is to be silent."""
        return now_ms < self.feedback.muted_until_ms

    @property
    def born(self) -> bool:
        """The date of birth is known."""
        return parse_day(self.birth) is not None

    # How

    def _fades_ms(self, population: Population) -> int:
        """From when on P(alive) is below `ALIVE_MIN`: the model's formula, solved for the age."""
        if population.alive is None or self.history.payments < 2:
            return NEVER
        x, tx, _ = self.counted(self.history.last_ms)
        model = population.alive
        odds = (1.0 - ALIVE_MIN) / ALIVE_MIN * (model.b + x - 1.0) / model.a
        grown = math.log(odds) / (model.r + x) + math.log(model.alpha + tx)
        age = math.exp(min(grown, 20.0)) - model.alpha  # 20: past any lifetime
        return self.history.first_ms + math.ceil(max(age, tx) * DAY_MS)

    def _next_window(self) -> int:
        """When the next four weeks of spending close; never for who has not paid in the last two of them."""
        first, last = self.history.first_ms, self.history.last_ms
        if not first:
            return NEVER
        close = first + ((max(self.clock_ms, first) - first) // WINDOW_MS + 1) * WINDOW_MS
        return close if close <= last + 3 * WINDOW_MS else NEVER

    def _close_window(self, at_ms: int, population: Population) -> None:
        first = self.history.first_ms
        if not first or at_ms == first or (at_ms - first) % WINDOW_MS:
            return
        before = self.history.spend(at_ms - 2 * WINDOW_MS, at_ms - WINDOW_MS)
        halved = before >= population.decline_minor and self.history.spend(at_ms - WINDOW_MS, at_ms) < DECLINE * before
        self.declined_ms = at_ms if halved else NEVER

    def _next_month(self) -> int:
        """When less is to be counted, some days into each local month; never once nothing is. The days differ between
        customers, so that not all of them are looked at in the same minute."""
        if self.history.last_month() <= local_month(self.clock_ms, self.zone) - YEAR:
            return NEVER
        later = self.registered_ms % MONTH_SPREAD_MS
        return month_begins(local_month(self.clock_ms - later, self.zone) + 1, self.zone) + later

    def _timed_by(self, now_ms: int, population: Population) -> tuple[object, ...]:
        """What transitions that come with time depend on, beside the states."""
        member = self.states.of("membership") != MEMBERSHIP[0]
        month = local_month(now_ms, self.zone) if member else 0
        mine = self.history.turn, self.registered_ms, self.declined_ms, self.cycle_ends_ms, self.feedback.muted_until_ms
        return *mine, month, population.alive, population.tiers

    def _next_transition(self, population: Population) -> int:
        """When time alone brings the next transition, as the last look found it where that still holds."""
        by = self._timed_by(self.clock_ms, population)
        if self._timed is None or self._timed[0] != by:
            self._timed = by, self.states.next_due(self.facts(self.clock_ms, population, looked=False))
        return self._timed[1]

    def _rank(self, now_ms: int, population: Population) -> None:
        """Count this customer with the values of now."""
        if not self.history.payments:
            self.unrank(population)
            return
        idle = (now_ms - self.history.last_ms) / DAY_MS
        payments, minor = self.history.year(local_month(now_ms, self.zone))
        now = max(YEAR_DAYS - idle, 0.0), float(payments), float(minor)
        if now != self.ranked:
            recency, frequency, money = now
            self._shift(population, (bin_of(recency), bin_of(frequency), bin_of(money)))
            self.ranked = now

    def _ranked_in(self) -> Bins:
        """The bins that this customer is counted in."""
        if self._bins is None:
            self._bins = _UNRANKED
            if self.ranked is not None:
                recency, frequency, money = self.ranked
                self._bins = bin_of(recency), bin_of(frequency), bin_of(money)
        return self._bins

    def _shift(self, population: Population, bins: Bins) -> None:
        recency, frequency, money = self._ranked_in()
        population.recency.shift(recency, bins[0])
        population.frequency.shift(frequency, bins[1])
        population.money.shift(money, bins[2])
        self._bins = bins
