"""Where a customer stands, in four dimensions, as tables of transitions.

Each row of a table says from which state to which, and *from which instant on* its condition holds: so a transition
has its time whether an event or a timer finds it, and the next one that time alone will bring is known beforehand. A
state is held for a while before it is left again (`HOLD_MS`), and the way back has another threshold than the way
there, so nobody flaps between two.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
NEVER: Final = 2**62
NOW: Final = 0
"""The instant of a condition that does not come with time: it holds whenever somebody looks, or it does not."""


class Facts(NamedTuple):
    """What transitions look at. Times are event times in milliseconds, 0 where there is none yet.

    Attributes:
        registered_ms, first_ms, last_ms: when the customer signed up, first and last paid.
        payments: that settled, of all time.
        gap_ms: the typical gap between visits; 0 where it is not known. spread_ms: by how much gaps deviate from it.
        fades: gives from when on they are probably gone (P(alive) below 0.1), `NEVER` where that is not known: it is
            worked out for few.
        declined_ms: since when the last four weeks have brought less than half of the four before; `NEVER` where not.
        value_rank: share of customers worth less, 0 to 1; NaN where there are too few to say.
        spend_12m: kept in the last twelve months, minor units of the base currency.
        cycle_ends_ms: when the membership is looked at again; `NEVER` without one.
        tiers: thresholds of membership tiers, ascending, minor units in twelve months.
        forfeited: a payment that may have earned the membership has just been lost to fraud or a chargeback.
        upset_ms: when the last bad answer to a survey came.
    """

    registered_ms: int = 0
    first_ms: int = 0
    last_ms: int = 0
    payments: int = 0
    gap_ms: int = 0
    spread_ms: int = 0
    fades: Callable[[], int] = lambda: NEVER
    declined_ms: int = NEVER
    value_rank: float = float("nan")
    spend_12m: int = 0
    cycle_ends_ms: int = NEVER
    tiers: tuple[int, ...] = ()
    forfeited: bool = False
    upset_ms: int = 0

    @property
    def fades_ms(self) -> int:
        """What `fades` gives."""
        return self.fades()


class Row(NamedTuple):
    """One transition: from the instant `since(facts, entered_ms)` on it may happen, never where that is `NEVER`."""

    start: str
    end: str
    when: str
    since: Callable[[Facts, int], int]
    looked: bool = False  # it does not come with time: it holds whenever somebody looks, or it does not


LOYAL_PAYMENTS: Final = 10
LOYAL_TENURE_MS: Final = 90 * DAY_MS
NEW_MS: Final = 30 * DAY_MS
NEW_PAYMENTS: Final = 3
GAPS_AT_RISK: Final = 2
"""Silent for so many usual gaps: that is not yet late for whose gaps are scattered."""
SPREADS_AT_RISK: Final = 4
"""Nor is so many deviations beyond the usual gap. Gaps as scattered as chance has them are longer once in 150 times."""
IDLE_MS_MIN: Final = 7 * DAY_MS
"""No silence of less than a week is a warning: weekends, a cold."""
GAPS_LOST: Final = 5
LOST_MS_MIN: Final = 90 * DAY_MS
KNOWN_PAYMENTS: Final = 4
IDLE_MS_UNKNOWN: Final = 45 * DAY_MS
"""At risk after so long where too few payments are known for a rhythm, and however scattered gaps are, unless they are
so long that twice the usual one is more."""
UPSET_MS: Final = 14 * DAY_MS
"""A bad answer stands for so long: marketing is silent, and nobody counts as back."""
ACTIVE_MS: Final = 30 * DAY_MS
CHURNED_MS: Final = 90 * DAY_MS
WON_BACK_MS: Final = 30 * DAY_MS


def at_risk_ms(facts: Facts) -> int:
    """From when on a silence is longer than the customer's own rhythm explains, or spending has halved."""
    if not facts.last_ms:
        return NEVER
    if facts.payments < KNOWN_PAYMENTS or not facts.gap_ms:
        return min(facts.last_ms + IDLE_MS_UNKNOWN, facts.declined_ms)
    scattered = min(facts.gap_ms + SPREADS_AT_RISK * facts.spread_ms, IDLE_MS_UNKNOWN)
    rhythm = max(GAPS_AT_RISK * facts.gap_ms, scattered, IDLE_MS_MIN)
    return min(facts.last_ms + rhythm, facts.declined_ms)


def lost_ms(facts: Facts) -> int:
    """From when on they are taken to be gone; never before the warning that they may be."""
    if not facts.last_ms:
        return NEVER
    silent = facts.last_ms + max(LOST_MS_MIN, GAPS_LOST * facts.gap_ms)
    return max(min(silent, facts.fades_ms), at_risk_ms(facts) + HOLD_MS["lifecycle"])


def _paid(facts: Facts, entered_ms: int) -> int:
    """A payment since the state was entered."""
    return facts.last_ms if facts.last_ms and facts.last_ms >= entered_ms else NEVER


def _silent(facts: Facts, entered_ms: int) -> int:
    """The silence is too long, or a survey was answered badly since the state was entered."""
    silent = at_risk_ms(facts)
    return min(silent, facts.upset_ms) if facts.upset_ms and facts.upset_ms >= entered_ms else silent


def _returned(facts: Facts, entered_ms: int) -> int:
    """A payment since, and spending as before: they are back, once no bad answer stands any more."""
    back = NEVER if facts.declined_ms <= facts.last_ms else _paid(facts, entered_ms)
    return max(back, facts.upset_ms + UPSET_MS) if facts.upset_ms and back < NEVER else back


def _loyal(facts: Facts, entered_ms: int) -> int:
    if facts.payments < LOYAL_PAYMENTS or at_risk_ms(facts) <= facts.last_ms:
        return NEVER
    return max(facts.last_ms, facts.first_ms + LOYAL_TENURE_MS)


def _settled_in(facts: Facts, entered_ms: int) -> int:
    """No longer new: three payments, or a month."""
    by_count = facts.last_ms if facts.payments >= NEW_PAYMENTS else NEVER
    return min(by_count, facts.first_ms + NEW_MS) if facts.first_ms else NEVER


def _churned(facts: Facts, entered_ms: int) -> int:
    """Who never paid is counted from the day they signed up."""
    heard_ms = facts.last_ms or facts.registered_ms
    return heard_ms + CHURNED_MS if heard_ms else NEVER


LIFECYCLE: Final = (
    Row("prospect", "new", "the first payment settles", lambda f, _: f.first_ms or NEVER),
    Row("new", "at_risk", "silent for longer than their gaps explain, spending halved, or a bad answer", _silent),
    Row("new", "active", "three payments, or a month", _settled_in),
    Row("active", "at_risk", "silent for longer than their gaps explain, spending halved, or a bad answer", _silent),
    Row("active", "loyal", "ten payments in at least 90 days", _loyal),
    Row("loyal", "at_risk", "silent for longer than their gaps explain, spending halved, or a bad answer", _silent),
    Row("at_risk", "lost", "silent for five usual gaps and 90 days, or probably gone", lambda f, _: lost_ms(f)),
    Row("at_risk", "active", "pays again, no less than before, and no bad answer of the last 14 days", _returned),
    Row("lost", "won_back", "pays again", _paid),
    Row("won_back", "at_risk", "silent for longer than their gaps explain, or a bad answer", _silent),
    Row("won_back", "active", "a month since the return", lambda _, entered: entered + WON_BACK_MS),
)

ACTIVITY: Final = (
    Row("potential", "active", "a payment", _paid),
    Row("active", "potential", "none for 30 days", lambda f, _: f.last_ms + ACTIVE_MS),
    Row("potential", "churned", "none for 90 days", _churned),
    Row("churned", "active", "pays again", _paid),
)

HIGH_IN, HIGH_OUT, LOW_OUT, LOW_IN = 0.80, 0.72, 0.48, 0.40
"""Ranks by value: the top fifth is high, the lower two fifths are low; the way back is eight points further."""


def _rank(low: float, high: float) -> Callable[[Facts, int], int]:
    """Holds while low <= rank < high; no rank holds nothing."""
    return lambda facts, _: NOW if low <= facts.value_rank < high else NEVER


VALUE_TIER: Final = (
    Row("low", "mid", "worth more than 48 % of customers", _rank(LOW_OUT, HIGH_IN), looked=True),
    Row("low", "high", "worth more than 80 %", _rank(HIGH_IN, 2.0), looked=True),
    Row("mid", "high", "worth more than 80 %", _rank(HIGH_IN, 2.0), looked=True),
    Row("mid", "low", "worth less than 60 %", _rank(-1.0, LOW_IN), looked=True),
    Row("high", "low", "worth less than 60 %", _rank(-1.0, LOW_IN), looked=True),
    Row("high", "mid", "worth less than 28 %", _rank(LOW_IN, HIGH_OUT), looked=True),
)

MEMBERSHIP: Final = ("basic", "silver", "gold", "platinum")
"""Tiers of membership, lowest first; the lowest has no threshold."""


def earned_tier(facts: Facts) -> int:
    """Place in `MEMBERSHIP` that the spending of twelve months earns."""
    return bisect_right(facts.tiers, facts.spend_12m, 0, min(len(facts.tiers), len(MEMBERSHIP) - 1))


def _promoted(place: int) -> Callable[[Facts, int], int]:
    def since(facts: Facts, entered_ms: int) -> int:
        tiers = facts.tiers
        if place > len(tiers) or facts.spend_12m < tiers[place - 1]:
            return NEVER
        return NOW if earned_tier(facts) == place else NEVER

    return since


def _demoted(place: int) -> Callable[[Facts, int], int]:
    """At the end of the cycle, where the tier was not earned again; one step, however little was."""

    def since(facts: Facts, entered_ms: int) -> int:
        kept = earned_tier(facts) >= place or facts.cycle_ends_ms <= entered_ms
        return NEVER if kept else facts.cycle_ends_ms

    return since


def _forfeited(place: int) -> Callable[[Facts, int], int]:
    """At once, down to what is earned without the payment that was lost."""
    return lambda facts, _: NOW if facts.forfeited and earned_tier(facts) < place else NEVER


MEMBERSHIPS: Final = tuple(
    Row(start, end, f"twelve months earn {end}", _promoted(to), looked=True)
    for place, start in enumerate(MEMBERSHIP)
    for to, end in enumerate(MEMBERSHIP)
    if to > place
) + tuple(
    Row(MEMBERSHIP[place], MEMBERSHIP[place - 1], f"the cycle ends and {MEMBERSHIP[place]} was not earned again",
        _demoted(place))
    for place in range(1, len(MEMBERSHIP))
) + tuple(
    Row(MEMBERSHIP[place], MEMBERSHIP[place - 1], "what earned it was fraud or charged back", _forfeited(place),
        looked=True)
    for place in range(1, len(MEMBERSHIP))
)  # fmt: skip


Tables = Mapping[str, Mapping[str, list[tuple[Callable[[Facts, int], int], Row]]]]
"""Rows by dimension and start, each after its `since`."""


def _by_start(rows: Iterable[Row]) -> dict[str, list[tuple[Callable[[Facts, int], int], Row]]]:
    found: dict[str, list[tuple[Callable[[Facts, int], int], Row]]] = {}
    for row in rows:
        found.setdefault(row.start, []).append((row.since, row))
    return found


TABLES: Final[dict[str, tuple[Row, ...]]] = {
    "lifecycle": LIFECYCLE,
    "value_tier": VALUE_TIER,
    "activity": ACTIVITY,
    "membership": MEMBERSHIPS,
}
_ROWS: Final[Tables] = {name: _by_start(rows) for name, rows in TABLES.items()}
_TIMED: Final[Tables] = {name: _by_start(row for row in rows if not row.looked) for name, rows in TABLES.items()}
FIRST: Final = {"lifecycle": "prospect", "value_tier": "low", "activity": "potential", "membership": "basic"}
HOLD_MS: Final = {"lifecycle": DAY_MS, "value_tier": 7 * DAY_MS, "activity": 0, "membership": 0}
"""How long a state is held at least. Activity is its definition and nothing else; a membership is earned and kept."""
STEPS_MAX: Final = 16
"""Transitions of one dimension that one look may make: more is a table that goes round in circles."""


class Transition(NamedTuple):
    """One dimension went from a state to another, at an instant; why, for people."""

    dimension: str
    start: str
    end: str
    at_ms: int
    when: str


@dataclass(slots=True)
class States:
    """The state of each dimension and since when, 0 for from the beginning; and, as the last `look` found it, when time
    alone brings the next transition."""

    now: dict[str, tuple[str, int]] = field(default_factory=lambda: {name: (state, 0) for name, state in FIRST.items()})
    ahead_ms: int = field(default=NEVER, compare=False)

    def of(self, dimension: str) -> str:
        """The state of a dimension."""
        return self.now[dimension][0]

    def look(self, facts: Facts, now_ms: int, dimensions: tuple[str, ...] = tuple(TABLES)) -> list[Transition]:
        """Make the transitions that are due by `now_ms`, each at its instant. Raises `RuntimeError` on a circle."""
        made: list[Transition] = []
        ahead_ms = NEVER
        for dimension in dimensions:
            for _ in range(STEPS_MAX):
                due, row = self._next(dimension, facts, _ROWS)
                if row is None or due > now_ms:
                    break
                at = now_ms if row.looked else due  # a hold that is over does not say since when it is so
                made.append(Transition(dimension, row.start, row.end, at, row.when))
                self.now[dimension] = row.end, at
            else:
                raise RuntimeError(f"{dimension} goes round in circles at {self.now[dimension]}: {facts}")
            if row is not None and row.looked:
                due, _ = self._next(dimension, facts, _TIMED)
            if due < ahead_ms:
                ahead_ms = due
        self.ahead_ms = ahead_ms
        return made

    def next_due(self, facts: Facts) -> int:
        """When time alone brings the next transition; `NEVER` where it brings none."""
        return min(self._next(dimension, facts, _TIMED)[0] for dimension in TABLES)

    def _next(self, dimension: str, facts: Facts, tables: Tables) -> tuple[int, Row | None]:
        """The first transition out of the state, earlier rows before later ones of the same instant."""
        state, since = self.now[dimension]
        held = since + HOLD_MS[dimension] if since else 0
        first, found = NEVER, None
        for find, row in tables[dimension].get(state, ()):
            instant = find(facts, since)
            if instant < held:
                instant = held
            if instant < first:
                first, found = instant, row
        return first, found


def diagram(dimension: str) -> str:
    """A dimension as a Mermaid state diagram."""
    rows = [f"    {row.start} --> {row.end}: {row.when}" for row in TABLES[dimension]]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {FIRST[dimension]}", *rows])
