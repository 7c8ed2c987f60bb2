"""Features compiled into the integer tables that the kernels read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import ENTITY_FIELDS, MONEY_FIELDS, NUMBER_INDEX, STRING_INDEX
from engine.features import layout as layouts
from engine.features import tables as t
from engine.features.definition import (
    AGE,
    AGGREGATES,
    EVENT_BEFORE_OPS,
    HOUR_MS,
    RECENCY_OPS,
    FeatureDef,
    FeatureLimits,
    Filter,
    is_shared,
    validate,
)
from engine.features.needs import Need

TTL_SLACK_HOURS: Final = 7 * 24
TTL_UNBOUNDED_HOURS: Final = 400 * 24


@dataclass(slots=True)
class GroupPlan:
    """The features of one `by`, as tables (columns named in `engine.features.tables`).

    Attributes:
        id: group id in the state keys.
        by_rows: rows of the string matrix that make the entity key.
        features: a row per feature, `(features, F_WIDTH)`.
        windows: distinct windows, ascending, milliseconds.
        bits: a row per filter in use, `(filters, B_WIDTH)`.
        columns: a row per column of the log, `(columns, C_WIDTH)`.
        series: a row per series of tiles, `(series, S_WIDTH)`.
        params: scalars, `(P_WIDTH_OF,)`.
        shared: its entities are touched by events of several partitions.
        labels: its logs hold label rows and no events.
    """

    id: int
    by_rows: NDArray[np.int64]
    features: NDArray[np.int64]
    windows: NDArray[np.int64]
    bits: NDArray[np.int64]
    columns: NDArray[np.int64]
    series: NDArray[np.int64]
    params: NDArray[np.int64]
    shared: bool
    labels: bool = False

    def reads_logs_of(self, other: "GroupPlan") -> bool:
        """Whether logs in memory under `other`, of the same id, are those this plan would have in memory."""
        return (
            np.array_equal(self.columns, other.columns)
            and np.array_equal(self.series[:, : t.S_KEEP], other.series[:, : t.S_KEEP])
            and bool(self.params[t.P_AGES] == other.params[t.P_AGES])
        )


@dataclass(slots=True)
class Plan:
    """What a rule set's features compile to. Make one with `Plan.compile`.

    Attributes:
        features: the definitions, in order; row i of a feature matrix is features[i].
        filters: distinct filters, None for the events that carry a decision.
        groups: one per distinct `by`.
        limits: the limits it was compiled with.
    """

    features: tuple[FeatureDef, ...]
    filters: list[Filter | None]
    groups: list[GroupPlan]
    limits: FeatureLimits
    _layout: layouts.Layout = field(repr=False)

    @classmethod
    def compile(
        cls, features: Sequence[FeatureDef], layout: bytes | None = None, limits: FeatureLimits | None = None
    ) -> "Plan":
        """Compile `features` against the layout of the stored state.

        Args:
            features: the definitions; names must differ.
            layout: what `Plan.layout` of the last plan returned, None where there is no state.
            limits: defaults to `FeatureLimits()`.

        Raises:
            ValueError: a definition that cannot be computed, too many of them, or an unreadable layout.
        """
        limits = limits if limits is not None else FeatureLimits()
        if len(features) > limits.features_max:
            raise ValueError(f"{len(features)} features; at most {limits.features_max} in one plan")
        names: set[str] = set()
        for definition in features:
            validate(definition, limits)
            if definition.name in names:
                raise ValueError(f"feature {definition.name}: declared twice")
            names.add(definition.name)
        registry = layouts.load(layout)
        filters: list[Filter | None] = []
        groups: list[GroupPlan] = []
        by_entity: dict[tuple[str, ...], list[int]] = {}
        for i, definition in enumerate(features):
            by_entity.setdefault(definition.by, []).append(i)
        for by, rows in by_entity.items():
            groups.append(_compile_group(by, rows, features, registry, filters, limits))
        return cls(tuple(features), filters, groups, limits, registry)

    @property
    def names(self) -> list[str]:
        """Feature names, in row order."""
        return [definition.name for definition in self.features]

    @property
    def kinds(self) -> list[str]:
        """How each feature is written in JSON: "int", "number" or "bool"."""
        return [AGGREGATES[definition.agg].kind for definition in self.features]

    def needs(self) -> list[Need]:
        """What each feature needs to have been recorded, in order of the features (`engine.core.warming`)."""
        found: dict[int, Need] = {}
        late_ms, slack_ms = self.limits.lateness_ms, self.limits.slack_ms
        beyond = late_ms + slack_ms - min(late_ms, slack_ms)
        for group in self.groups:
            kept = {int(bit[t.B_BIT]): max(int(bit[t.B_KEEP]) - beyond, -late_ms) for bit in group.bits}
            lasts_ms = int(group.params[t.P_TTL_HOURS]) * HOUR_MS
            for row in group.features:
                bit, column, window = int(row[t.F_BIT]), int(row[t.F_COLUMN]), int(row[t.F_WINDOW])
                parts = [f"{group.id}.c{column}"] if column >= 0 else []
                parts += [f"{group.id}.s{bit}.{column}"] if row[t.F_SERIES] >= 0 else []
                found[int(row[t.F_OUT])] = Need(
                    touches=f"{group.id}.{bit}",
                    parts=tuple(parts),
                    window_ms=int(group.windows[window]) if window >= 0 else None,
                    kept_ms=kept.get(bit, -late_ms),
                    lasts_ms=lasts_ms,
                    late_ms=late_ms,
                )
        return [found[row] for row in range(len(self.features))]

    def layout(self) -> bytes:
        """What has to be stored beside the state and handed to the next `compile`."""
        return self._layout.dump()


def _compile_group(
    by: tuple[str, ...],
    rows: Sequence[int],
    features: Sequence[FeatureDef],
    registry: layouts.Layout,
    filters: list[Filter | None],
    limits: FeatureLimits,
) -> GroupPlan:
    """Tables of the features `rows`, all of the same `by`."""
    members = [features[i] for i in rows]
    group = _fitting_group(by, members, registry, limits)
    windows = sorted({d.window_ms for d in members if d.window_ms is not None})
    table = np.full((len(rows), t.F_WIDTH), -1, np.int64)
    bits: dict[int, list[int]] = {}
    for row, (i, definition) in enumerate(zip(rows, members, strict=True)):
        opcode = AGGREGATES[definition.agg].opcode
        table[row, t.F_OP] = opcode
        table[row, t.F_OUT] = i
        if opcode == AGE:
            group.ages = True
            continue
        bit = group.filter_bit(_text(definition))
        table[row, t.F_BIT] = bit
        entry = bits.setdefault(bit, [bit, _filter_row(definition.where, filters), 0, 0])
        # Without a window too: a late event asks for the match before its own time, not for the latest one.
        kept_ms = (definition.window_ms or 0) + limits.lateness_ms + limits.slack_ms
        entry[t.B_KEEP] = max(entry[t.B_KEEP], kept_ms)
        if definition.window_ms is None:
            entry[t.B_UNBOUNDED] = 1
        else:
            table[row, t.F_WINDOW] = windows.index(definition.window_ms)
        if definition.of is not None:
            table[row, t.F_COLUMN] = group.column(definition.of)
            table[row, t.F_KIND] = _column_kind(definition.of)
    filled = np.array([bits[bit] for bit in sorted(bits)], np.int64).reshape(-1, t.B_WIDTH)
    return GroupPlan(
        id=group.id,
        by_rows=np.array([STRING_INDEX[ENTITY_FIELDS[entity]] for entity in by], np.int64),
        features=table,
        windows=np.array(windows, np.int64),
        bits=filled,
        columns=_columns(group, members),
        series=_series(table, filled),
        params=_params(group, members, limits),
        shared=is_shared(by),
    )


def _columns(group: layouts.GroupLayout, members: Sequence[FeatureDef]) -> NDArray[np.int64]:
    """The columns of a group's log; those that no feature reads any more stay, empty."""
    used = {d.of for d in members if d.of is not None}
    rows: list[list[int]] = []
    numbers = 0
    for name in group.columns:
        kind = _column_kind(name)
        is_number = name in used and kind != t.KIND_HASH
        rows.append([kind, _column_row(name), int(name in used), numbers if is_number else -1])
        numbers += is_number
    return np.array(rows, np.int64).reshape(-1, t.C_WIDTH)


def _series(table: NDArray[np.int64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The tile series of a group: buckets per filter, recency per filter and hash column. Fills in the features'."""
    rows: list[list[int]] = []
    for bit in bits:
        home = len(rows)
        rows.append([t.SERIES_BUCKETS, int(bit[t.B_BIT]), -1, int(bit[t.B_KEEP])])
        for feature in table[table[:, t.F_BIT] == bit[t.B_BIT]]:
            row = [t.SERIES_RECENCY, int(bit[t.B_BIT]), int(feature[t.F_COLUMN]), int(bit[t.B_KEEP])]
            if feature[t.F_OP] in RECENCY_OPS and row not in rows:
                rows.append(row)
        # What asks for the event before looks at the log alone: `evaluate` of the tiles knows no single events.
        table[(table[:, t.F_BIT] == bit[t.B_BIT]) & ~np.isin(table[:, t.F_OP], EVENT_BEFORE_OPS), t.F_HOME] = home
    for feature in table:
        for s, row in enumerate(rows):
            if feature[t.F_OP] in RECENCY_OPS and row[1:3] == [feature[t.F_BIT], feature[t.F_COLUMN]]:
                feature[t.F_SERIES] = s
    return np.array(rows, np.int64).reshape(-1, t.S_WIDTH)


def _fitting_group(
    by: tuple[str, ...], members: Sequence[FeatureDef], registry: layouts.Layout, limits: FeatureLimits
) -> layouts.GroupLayout:
    """The group that has room for the filters and fields of `members`; a full one of another age is retired."""
    texts = {_text(d) for d in members if d.agg != "age"}
    fields = {d.of for d in members if d.of is not None}
    label = "+".join(by)
    if len(texts) > limits.filters_per_group_max:
        raise ValueError(f"by {label}: {len(texts)} distinct filters; at most {limits.filters_per_group_max}")
    if len(fields) > limits.columns_per_group_max:
        raise ValueError(f"by {label}: {len(fields)} fields aggregated; at most {limits.columns_per_group_max}")
    group = registry.group(by)
    full = len(texts | set(group.filters)) > limits.filters_per_group_max
    if full or len(fields | set(group.columns)) > limits.columns_per_group_max:
        group.retired = True
        group = registry.group(by)
    return group


def _params(group: layouts.GroupLayout, members: Sequence[FeatureDef], limits: FeatureLimits) -> NDArray[np.int64]:
    """The scalars of a group."""
    window = max((d.window_ms for d in members if d.window_ms is not None), default=0)
    unbounded = any(d.window_ms is None for d in members)
    hours = -(-(window + limits.lateness_ms) // HOUR_MS) + TTL_SLACK_HOURS
    params = np.zeros(t.P_WIDTH_OF, np.int64)
    params[t.P_WIDTH] = t.R_COLUMNS + len(group.columns)
    params[t.P_AGES] = int(group.ages)
    params[t.P_EXACT] = limits.exact_touches
    params[t.P_KEEP] = limits.exact_touches + limits.exact_touches // 4
    params[t.P_TTL_HOURS] = max(hours, TTL_UNBOUNDED_HOURS) if unbounded else hours
    params[t.P_GROUP] = group.id
    params[t.P_LATENESS] = limits.lateness_ms
    params[t.P_WINDOW_MAX] = window
    params[t.P_COMPACT] = limits.compact_touches
    params[t.P_SAMPLE] = limits.distinct_sample
    params[t.P_SLACK] = limits.lateness_ms + limits.slack_ms
    return params


def _text(definition: FeatureDef) -> str:
    """Canonical text of the filter of a feature."""
    return definition.where.text if definition.where is not None else ""


def _filter_row(where: Filter | None, filters: list[Filter | None]) -> int:
    """Row of a filter in the filter matrix of a batch, new if need be."""
    for row, known in enumerate(filters):
        if (known.text if known is not None else "") == (where.text if where is not None else ""):
            return row
    filters.append(where)
    return len(filters) - 1


def _column_kind(name: str) -> int:
    """Money, float or hash."""
    if name in MONEY_FIELDS:
        return t.KIND_MONEY
    return t.KIND_FLOAT if name in NUMBER_INDEX else t.KIND_HASH


def _column_row(name: str) -> int:
    """Row of the batch's matrix that a column is read from."""
    if name in MONEY_FIELDS:
        return MONEY_FIELDS.index(name)
    return NUMBER_INDEX[name] if name in NUMBER_INDEX else STRING_INDEX[name]
