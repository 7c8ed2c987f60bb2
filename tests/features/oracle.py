"""The features computed the slow, obvious way: keep every event, look at all of them again for every value."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from engine.domain.fields import (
    BOOL_FIELDS,
    ENTITY_FIELDS,
    MONEY_FIELDS,
    NUMBER_FIELDS,
    NUMBER_INDEX,
    STRING_FIELDS,
    STRING_INDEX,
)
from engine.domain.labels import BECAME_FRAUD, BECAME_LEGITIMATE, FRAUD, LEGITIMATE, NOT_A_LABEL
from engine.domain.ops import APPEND, SET, unpack
from engine.features.columns import Columns
from engine.features.definition import LABEL_AGGREGATES, FeatureDef, Filter
from engine.features.state import FeatureState


@dataclass
class Event:
    """An event, or a label row, as the oracle sees it: strings by field, money as (minor, exponent)."""

    time: int
    strings: dict[str, int]
    amount: tuple[int, int] | None = None
    base: tuple[int, int] | None = None
    numbers: dict[str, float] | None = None
    decides: bool = True
    label: int = NOT_A_LABEL
    ordinary: float = math.nan

    def number(self, name: str) -> Fraction | float | None:
        if name in MONEY_FIELDS:
            money = self.amount if name == "amount" else self.base
            return None if money is None else Fraction(money[0], 10 ** money[1])
        return (self.numbers or {}).get(name)

    def value(self, name: str) -> Fraction | float | None:
        """A field, whether number or string; None where missing."""
        return self.strings.get(name, 0) or None if name in STRING_INDEX else self.number(name)


def columns_of(events: Sequence[Event]) -> Columns:
    n = len(events)
    strings = np.zeros((len(STRING_FIELDS), n), np.uint64)
    numbers = np.full((len(NUMBER_FIELDS), n), np.nan)
    minor, base_minor = np.zeros(n, np.int64), np.zeros(n, np.int64)
    exponent, base_exponent = np.full(n, -1, np.int8), np.full(n, -1, np.int8)
    for i, event in enumerate(events):
        for name, value in event.strings.items():
            strings[STRING_INDEX[name], i] = value
        for name, number in (event.numbers or {}).items():
            numbers[NUMBER_INDEX[name], i] = number
        if event.amount is not None:
            minor[i], exponent[i] = event.amount
            numbers[NUMBER_INDEX["amount"], i] = event.amount[0] / 10 ** event.amount[1]
        if event.base is not None:
            base_minor[i], base_exponent[i] = event.base
            numbers[NUMBER_INDEX["amount_base"], i] = event.base[0] / 10 ** event.base[1]
    return Columns(
        n=n,
        time_ms=np.array([e.time for e in events], np.int64),
        strings=strings,
        numbers=numbers,
        bools=np.full((len(BOOL_FIELDS), n), -1, np.int8),
        minor=minor,
        exponent=exponent,
        base_minor=base_minor,
        base_exponent=base_exponent,
        decides=np.array([e.decides for e in events], np.bool_),
        late=np.zeros(n, np.bool_),
        events=[None] * n,
        labels=np.array([e.label for e in events], np.int8),
        ordinary=np.array([e.ordinary for e in events], np.float64),
    )


def field_is(name: str, value: int) -> Filter:
    """A filter `name == value`."""
    row = STRING_INDEX[name]
    return Filter(f"{name} == {value}", lambda columns: columns.strings[row] == np.uint64(value))


class Oracle:
    """Feed it events one by one; it returns the features of each. No limits, no trimming, no tiles."""

    def __init__(self, features: Sequence[FeatureDef]) -> None:
        self.features = features
        self.seen: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
        self.matched: dict[tuple[int, str], bool] = {}

    def add(self, event: Event) -> list[float]:
        for by in {d.by for d in self.features}:
            key = self._key(by, event)
            if key is not None:
                self.seen[(by, key)].append(event)
        return [self._value(d, event) if event.label == NOT_A_LABEL else math.nan for d in self.features]

    def _key(self, by: tuple[str, ...], event: Event) -> tuple[int, ...] | None:
        key = tuple(event.strings.get(ENTITY_FIELDS[entity], 0) for entity in by)
        return None if 0 in key else key

    def _matches(self, d: FeatureDef, event: Event) -> bool:
        if d.where is None:
            return event.decides
        key = (id(event), d.where.text)
        if key not in self.matched:
            self.matched[key] = bool(d.where.evaluate(columns_of([event]))[0])
        return self.matched[key]

    def _value(self, d: FeatureDef, event: Event) -> float:
        key = self._key(d.by, event)
        if key is None:
            return math.nan
        seen = self.seen[(d.by, key)]
        if d.agg in LABEL_AGGREGATES:
            assert d.window_ms is not None
            return of_labels(d.agg, event.time, [e for e in seen if e.label and 0 <= event.time - e.time < d.window_ms])
        events = [e for e in seen if e.label == NOT_A_LABEL]
        if d.agg == "age":
            return (event.time - min(e.time for e in events)) / 1000
        low = event.time - d.window_ms if d.window_ms is not None else -(10**18)
        inside = [e for e in events if low < e.time <= event.time and self._matches(d, e)]
        earlier = [e for e in inside if e is not event]
        if d.agg == "since_last":
            return (event.time - max(e.time for e in earlier)) / 1000 if earlier else math.nan
        if d.agg == "count":
            return float(len(inside))
        assert d.of is not None
        if d.agg in ("last", "changed"):
            # Of equal times the one received last.
            had = [v for e in sorted(earlier, key=lambda e: e.time) if (v := e.value(d.of)) is not None]
            if d.agg == "last":
                return float(had[-1]) if had else math.nan
            now = event.value(d.of)
            return math.nan if now is None or not had else float(now != had[-1])
        if d.agg == "is_new":
            value = event.strings.get(d.of, 0)
            return math.nan if value == 0 else float(all(e.strings.get(d.of, 0) != value for e in earlier))
        if d.agg == "distinct":
            return float(len({e.strings.get(d.of, 0) for e in inside} - {0}))
        return aggregate(d.agg, [v for e in inside if (v := e.number(d.of)) is not None])


def of_labels(agg: str, now: int, rows: list[Event]) -> float:
    """An aggregate of the label rows of a window."""
    frauds = [row for row in rows if row.label in (FRAUD, BECAME_FRAUD)]
    known = max(0, len(frauds) - sum(row.label == BECAME_LEGITIMATE for row in rows))
    labels = sum(row.label in (LEGITIMATE, FRAUD) for row in rows)
    genuine = [row.time for row in rows if row.label in (LEGITIMATE, BECAME_LEGITIMATE)]
    if agg == "fraud_rate":
        return min(1.0, known / labels) if labels else math.nan
    if agg in ("fraud_count", "label_count"):
        return float(known if agg == "fraud_count" else labels)
    if agg == "unexplained_frauds":
        return math.fsum(row.ordinary for row in frauds if not math.isnan(row.ordinary))
    if "unexplained" in agg:
        frauds = [row for row in frauds if row.ordinary > 0.5]
        if agg == "fraud_rate_since_unexplained":
            first = min((row.time for row in frauds), default=math.inf)
            return of_labels("fraud_rate", now, [row for row in rows if row.time >= first]) if frauds else math.nan
    times = genuine if agg == "since_last_legitimate" else [row.time for row in frauds]
    if not times:
        return math.nan
    return (now - (min(times) if "first" in agg else max(times))) / 1000


def aggregate(agg: str, values: list[Any]) -> float:
    """An aggregate of numbers, in exact arithmetic, rounded once."""
    if agg == "sum":
        return float(sum(values)) if values else 0.0
    if not values:
        return math.nan
    if agg in ("min", "max"):
        return float(min(values) if agg == "min" else max(values))
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    if agg == "mean":
        return float(mean)
    return math.sqrt(sum((v - mean) ** 2 for v in exact) / len(exact))


class Store:
    """A state store in a dict: applies packed operations, remembers which expiry was last set."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.ttl_hours: dict[bytes, int] = {}

    def apply(self, packed: bytes) -> None:
        for op in unpack(packed):
            assert op.kind in (APPEND, SET)
            self.data[op.key] = op.value if op.kind == SET else self.data.get(op.key, b"") + op.value
            if op.ttl_hours:
                self.ttl_hours[op.key] = op.ttl_hours

    def fill(self, state: FeatureState, columns: Columns) -> list[bytes]:
        """Load what a batch misses; the keys."""
        keys = state.missing(columns)
        state.load(keys, [self.data.get(key) for key in keys])
        return keys
