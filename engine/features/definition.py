"""What a feature is: one aggregate of one field, over one window, for one entity, of the events of one filter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import ENTITY_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.features import tables as t
from engine.features.columns import Columns

COUNT: Final = 0
SUM: Final = 1
MEAN: Final = 2
MIN: Final = 3
MAX: Final = 4
STD: Final = 5
DISTINCT: Final = 6
SINCE_LAST: Final = 7
AGE: Final = 8
IS_NEW: Final = 9
LAST: Final = 10
CHANGED: Final = 11
SINCE_FIRST: Final = 12
FRAUDS: Final = 13
FRAUD_RATE: Final = 14
RATE_SINCE: Final = 15
RECENCY_OPS: Final = (DISTINCT, IS_NEW)
"""Aggregates that need to know when each value of a hot entity was last seen."""
EVENT_BEFORE_OPS: Final = (LAST, CHANGED)
"""Aggregates that look at the matching event before, which only the log has one by one."""
LABEL_OPS: Final = (SINCE_FIRST, FRAUDS, FRAUD_RATE, RATE_SINCE)
"""Aggregates that look at log and tiles of several bits themselves."""

OWN_ENTITIES: Final = frozenset({"customer", "payment"})
"""Entities whose events all stand in one partition: that of the customer."""


def is_shared(by: tuple[str, ...]) -> bool:
    """Whether events of several partitions touch the entities of a `by`."""
    return OWN_ENTITIES.isdisjoint(by)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One row of the table of aggregates.

    Attributes:
        opcode: what the kernel switches on.
        of: what `of` must name: "" nothing, or a key of `OF_FIELDS`.
        kind: how its value is written in JSON: "int", "number" or "bool".
        window: whether a window is required.
        labels: it is over label rows (`engine.domain.labels`), by the time at which labels arrived, and takes no
            `where`.
        label_bit: which of them; one of `LABEL_*` of `engine.features.tables`.
        ordinary: it sums how ordinary their payments looked.
    """

    opcode: int
    of: str
    kind: str
    window: bool = True
    labels: bool = False
    label_bit: int = -1
    ordinary: bool = False


def _of_labels(opcode: int, bit: int, kind: str = "number", ordinary: bool = False) -> Aggregate:
    return Aggregate(opcode, "", kind, labels=True, label_bit=bit, ordinary=ordinary)


AGGREGATES: Final[dict[str, Aggregate]] = {
    "count": Aggregate(COUNT, "", "int"),
    "sum": Aggregate(SUM, "number", "number"),
    "mean": Aggregate(MEAN, "number", "number"),
    "min": Aggregate(MIN, "number", "number"),
    "max": Aggregate(MAX, "number", "number"),
    "std": Aggregate(STD, "number", "number"),
    "distinct": Aggregate(DISTINCT, "string", "int"),
    "since_last": Aggregate(SINCE_LAST, "", "number", window=False),
    "age": Aggregate(AGE, "", "number", window=False),
    "is_new": Aggregate(IS_NEW, "string", "bool"),
    "last": Aggregate(LAST, "number", "number"),
    "changed": Aggregate(CHANGED, "number or string", "bool"),
    "label_count": _of_labels(COUNT, t.LABEL_FIRST, "int"),
    "fraud_count": _of_labels(FRAUDS, t.LABEL_FRAUD, "int"),
    "fraud_rate": _of_labels(FRAUD_RATE, t.LABEL_FIRST),
    "unexplained_frauds": _of_labels(SUM, t.LABEL_FRAUD, ordinary=True),
    "since_last_fraud": _of_labels(SINCE_LAST, t.LABEL_FRAUD),
    "since_first_fraud": _of_labels(SINCE_FIRST, t.LABEL_FRAUD),
    "since_first_unexplained": _of_labels(SINCE_FIRST, t.LABEL_UNEXPLAINED),
    "fraud_rate_since_unexplained": _of_labels(RATE_SINCE, t.LABEL_UNEXPLAINED),
    "since_last_legitimate": _of_labels(SINCE_LAST, t.LABEL_GENUINE),
}
LABEL_AGGREGATES: Final = tuple(name for name, row in AGGREGATES.items() if row.labels)
OF_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "number": NUMBER_FIELDS,
    "string": STRING_FIELDS,
    "number or string": (*NUMBER_FIELDS, *STRING_FIELDS),
}
"""The fields that `of` may name, by what an aggregate takes."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class FeatureLimits:
    """Every limit of this room, with its reason.

    Attributes:
        exact_touches: matching events of a window that are kept one by one, so values are exact up to here; past it
            the oldest are folded into tiles. At most 2,048: exact sums of 64-bit integers cannot overflow then.
        window_ms_max: the longest window; what it costs is log length.
        features_max: features of one plan; each costs time on every event.
        filters_per_group_max: distinct filters of one `by`; a touch carries one bit for each. At most 60.
        columns_per_group_max: fields kept per touch of one `by`; the log record has one presence bit for each.
        lateness_ms: how far out of order events may arrive and still find every touch of their windows.
        compact_touches: log length from which a log is trimmed and rewritten whenever it has doubled; below it, what
            trimming saves is less than what rewriting costs.
        distinct_sample: values of `of` kept per level of a hot entity; the error of `distinct` falls with its root.
        slack_ms: kept beyond window and lateness, so that clocks that are a little off trim nothing too early.
    """

    exact_touches: int = 1024
    window_ms_max: int = 90 * DAY_MS
    features_max: int = 512
    filters_per_group_max: int = 60
    columns_per_group_max: int = 40
    lateness_ms: int = HOUR_MS
    compact_touches: int = 64
    distinct_sample: int = 8192
    slack_ms: int = DAY_MS

    def __post_init__(self) -> None:
        """Raise `ValueError` where a limit is outside what the kernels can hold."""
        bounds = {
            "exact_touches": (4, 2048),
            "window_ms_max": (1, 400 * DAY_MS),
            "features_max": (1, 4096),
            "filters_per_group_max": (1, 60),
            "columns_per_group_max": (1, 40),
            "compact_touches": (8, 1024),
            "distinct_sample": (16, 1 << 20),
            "lateness_ms": (0, 30 * DAY_MS),
            "slack_ms": (0, 30 * DAY_MS),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a feature counts.

    Attributes:
        text: canonical text of the condition; two filters with the same text are the same filter.
        evaluate: the condition over a micro-batch, bool `(n,)`. It must look at event fields only, and is called with
            NumPy's warnings off.
        of_labels: it picks label rows; else events.
    """

    text: str
    evaluate: Callable[[Columns], NDArray[np.bool_]] = field(compare=False, repr=False)
    of_labels: bool = False


@dataclass(frozen=True, slots=True)
class FeatureDef:
    """A feature as declared.

    Attributes:
        name: unique within a plan.
        agg: a key of `AGGREGATES`.
        by: entity names of `engine.domain.fields.ENTITY_FIELDS`; several mean their combination, in this order.
        of: the event field aggregated, or None.
        window_ms: length of the window `(t - window_ms, t]` in milliseconds of event time; None for no bound.
        where: the events that count; None means the events that carry a decision.
    """

    name: str
    agg: str
    by: tuple[str, ...]
    of: str | None = None
    window_ms: int | None = None
    where: Filter | None = None

    @property
    def identity(self) -> str:
        """Canonical text of everything but the name: two features with the same identity have the same value."""
        where = self.where.text if self.where is not None else ""
        return f"{self.agg}({self.of or ''}) by {'+'.join(self.by)} in {self.window_ms} where {where}"


def validate(definition: FeatureDef, limits: FeatureLimits) -> None:
    """Raise `ValueError`, one clear line, where `definition` is not one this room can compute."""
    name = definition.name
    aggregate = AGGREGATES.get(definition.agg)
    if aggregate is None:
        raise ValueError(f"feature {name}: unknown agg {definition.agg!r}; one of {', '.join(AGGREGATES)}")
    if not definition.by:
        raise ValueError(f"feature {name}: by must name at least one entity")
    for entity in definition.by:
        if entity not in ENTITY_FIELDS:
            raise ValueError(f"feature {name}: unknown entity {entity!r} in by; one of {', '.join(ENTITY_FIELDS)}")
    if len(set(definition.by)) != len(definition.by):
        raise ValueError(f"feature {name}: by names an entity twice")
    if aggregate.labels and definition.where is not None:
        raise ValueError(f"feature {name}: {definition.agg} takes no where: it is over labels, not over events")
    _validate_of(definition, aggregate)
    _validate_window(definition, aggregate, limits)


def _validate_of(definition: FeatureDef, aggregate: Aggregate) -> None:
    """Check `of` against what the aggregate takes."""
    name, of = definition.name, definition.of
    if not aggregate.of:
        if of is not None:
            raise ValueError(f"feature {name}: {definition.agg} takes no of")
    elif of is None:
        raise ValueError(f"feature {name}: {definition.agg} needs of, a {aggregate.of} field")
    elif of not in OF_FIELDS[aggregate.of]:
        known = ", ".join(OF_FIELDS[aggregate.of])
        raise ValueError(f"feature {name}: {definition.agg} needs a {aggregate.of} field, not {of!r}; one of {known}")


def _validate_window(definition: FeatureDef, aggregate: Aggregate, limits: FeatureLimits) -> None:
    """Check the window against the limits."""
    name, window = definition.name, definition.window_ms
    if window is None:
        if aggregate.window:
            raise ValueError(f"feature {name}: {definition.agg} needs a window")
    elif not 1 <= window <= limits.window_ms_max:
        days = limits.window_ms_max / DAY_MS
        raise ValueError(f"feature {name}: window of {window} ms; 1 ms to {days:g} days allowed")
