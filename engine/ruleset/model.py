"""What a compiled rule set is made of: plain data, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.domain.rates import Rates
from engine.ruleset import ir
from engine.ruleset.lists import ListState

OUTCOMES: Final = ("approve", "review", "step_up", "decline")
"""Weakest first; an outcome is held as its index."""

LIVE: Final = "live"
SHADOW: Final = "shadow"
CANARY: Final = "canary"
MODES: Final = (LIVE, SHADOW, CANARY)

SKIP: Final = "skip"
HIT: Final = "hit"
ON_DEGRADED: Final = (SKIP, HIT)
"""What a rule comes to that cannot be evaluated because the state is away: the default first."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived feature.

    Attributes:
        name: as declared.
        expr: over event fields, features and earlier derived features.
        kind: "bool" or "number", for output.
        file, line: where it is declared, line from 1.
        hidden: it belongs to the shipped default models; the author never named it.
    """

    name: str
    expr: ir.Node
    kind: str
    file: str
    line: int
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """An in-file test of a rule.

    Attributes:
        texts, numbers, flags: the event's fields, metadata as `metadata.KEY`; what is not there is missing.
        time_ms: its event time.
        features: given values of features, inline aggregates by their name in the rule set; None for missing.
        scores: given scores by their names in `SCORES`; others are not ready.
        hit: what is expected.
        line: where it is, from 1.
        lists: contents of lists that the test gives; others are as declared.
        rates: exchange rates that the test gives.
    """

    texts: dict[str, str]
    numbers: dict[str, float]
    flags: dict[str, bool]
    time_ms: int
    features: dict[str, float | None]
    scores: Mapping[str, float]
    hit: bool
    line: int
    lists: Mapping[str, ListState] = field(default_factory=dict)
    rates: Rates | None = None


ALERT_KINDS: Final = ("operations", "abuse", "fraud")
SEVERITIES: Final = ("low", "medium", "high")
ANY: Final = "any"
"""In `on` and `unless_followed_by.types`: every type of event."""


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """What an observer rule raises.

    Attributes:
        kind: one of `ALERT_KINDS`.
        severity: one of `SEVERITIES`.
        title, action: templates, see `engine.ruleset.templates`; "" where there is no suggestion.
        by: entities (`engine.domain.fields.ENTITY_FIELDS`) whose values share a cool-down; () for the whole rule.
        every_ms: event time after an alert in which the same `by` raises no other.
    """

    kind: str
    severity: str
    title: str
    action: str
    by: tuple[str, ...]
    every_ms: int


@dataclass(frozen=True, slots=True)
class Follow:
    """What has to come after a hit, or else the alert is raised (`unless_followed_by`).

    Attributes:
        types: event types that will do; (`ANY`,) for every type.
        same: the string field in which the later event equals the one that hit.
        within_ms: event time it has.
        usual: where it has more than that if the value has been silent for so long before: so many times its usual
            longest silence (`engine.core.usual`); 0 where `within_ms` is all.
    """

    types: tuple[str, ...]
    same: str
    within_ms: int
    usual: float = 0.0

    @property
    def look_ms(self) -> int:
        """Event time after a hit at which a watch looks whether something has come: silences from here on are learned,
        where they are, so that `usual` times them is more than `within_ms`."""
        return int(self.within_ms / self.usual) if self.usual else self.within_ms


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: it decides, or it observes and raises alerts (then `alert` is set).

    Attributes:
        id: unique in the rule set.
        description, owner, tags: for people.
        when: a hit where it holds,
        unless: but not where this holds.
        decision: index in `OUTCOMES` of what a live hit asks for; None where it only adds points.
        score: points a live hit adds (-100 to 100).
        reason: reason code of a hit.
        detail: text for the decision's reason, with `{name}` for values; "" means the description.
        allow: a live hit sets aside every rule that is not `hard`.
        hard: not set aside by `allow`.
        mode: one of `MODES`; `share` of customers (0 to 1) get a canary live, the others as shadow.
        uses: names of the aggregates the rule reads, through derived features too.
        features: their positions in `RuleSet.features`.
        scores: models' scores it reads.
        tests: the in-file tests.
        file, line: where it is, line from 1.
        valid_from_ms, valid_to_ms: event times from which and before which it is evaluated; None for no bound.
        on: of an observer: types of event it looks at, (`ANY`,) for all, () for those that carry a decision.
        alert: of an observer: what it raises; None for a rule that decides.
        follow: of an observer: what calls the alert off; None where it is raised at once.
        on_degraded: one of `ON_DEGRADED`: what it comes to where only the state, which is away, could tell.
    """

    id: str
    description: str
    owner: str
    when: ir.Node
    unless: ir.Node | None
    decision: int | None
    score: float
    reason: str
    detail: str
    allow: bool
    hard: bool
    mode: str
    share: float
    uses: tuple[str, ...]
    features: tuple[int, ...]
    scores: tuple[str, ...]
    tests: tuple[Case, ...] = field(repr=False, compare=False)
    tags: tuple[str, ...]
    file: str
    line: int
    valid_from_ms: int | None = None
    valid_to_ms: int | None = None
    on: tuple[str, ...] = ()
    alert: AlertSpec | None = None
    follow: Follow | None = None
    on_degraded: str = SKIP


@dataclass(frozen=True, slots=True)
class AnomalyConfig:
    """The anomaly detector over `inputs`, names of features; each kind takes the parameters that are its own
    (`engine.ruleset.declarations.DETECTORS`)."""

    detector: str
    trees: int = 25
    height: int = 8
    window: int = 250
    seed: int = 42
    inputs: tuple[str, ...] = ()
    memory: int = 50_000


@dataclass(frozen=True, slots=True)
class FraudConfig:
    """The fraud model.

    Attributes:
        inputs: names of its input features.
        plain: names of the inputs of the label-free detector beside it; () for none.
        learner: name in `engine.scoring.learners.registry`.
        seed: of all its draws.
    """

    inputs: tuple[str, ...]
    plain: tuple[str, ...] = ()
    learner: str = "boosted_trees"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """The detectors of a rule set; None where one is not configured."""

    anomaly: AnomalyConfig | None = None
    fraud: FraudConfig | None = None
