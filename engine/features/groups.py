"""The features of one `by` compiled into tables: which bits, columns, windows and tiles its logs have."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    LABEL_OPS,
    RECENCY_OPS,
    FeatureDef,
    FeatureLimits,
    Filter,
    is_shared,
)
from engine.features.labelled import FILTERS, ORDINARY, ORDINARY_ROW

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


def compile_group(
    rows: Sequence[int],
    features: Sequence[FeatureDef],
    registry: layouts.Layout,
    filters: list[Filter | None],
    limits: FeatureLimits,
) -> GroupPlan:
    """Tables of the features `rows`, all of the same `by` and all of events or all of labels.

    Args:
        rows: positions in `features`.
        features: all definitions of the plan.
        registry: the layout, which learns what is new.
        filters: the distinct filters of the plan so far, likewise.
        limits: the limits of the plan.
    """
    members = [features[i] for i in rows]
    by, labels = members[0].by, AGGREGATES[members[0].agg].labels
    group = registry.group(by, labels) if labels else _fitting_group(by, members, registry, limits)
    windows = sorted({d.window_ms for d in members if d.window_ms is not None})
    table = np.full((len(rows), t.F_WIDTH), -1, np.int64)
    bits = _label_bits(group, members, filters, limits) if labels else {}
    for row, (i, definition) in enumerate(zip(rows, members, strict=True)):
        opcode = AGGREGATES[definition.agg].opcode
        table[row, t.F_OP] = opcode
        table[row, t.F_OUT] = i
        if opcode == AGE:
            group.ages = True
            continue
        bit = AGGREGATES[definition.agg].label_bit if labels else group.filter_bit(_text(definition))
        table[row, t.F_BIT] = bit
        if not labels:
            entry = bits.setdefault(bit, [bit, _filter_row(definition.where, filters), 0, 0])
            # Without a window too: a late event asks for the match before its own time, not for the latest one.
            entry[t.B_KEEP] = max(entry[t.B_KEEP], _kept_ms(definition, limits))
            entry[t.B_UNBOUNDED] |= int(definition.window_ms is None)
        if definition.window_ms is not None:
            table[row, t.F_WINDOW] = windows.index(definition.window_ms)
        field = _field(definition)
        if field is not None:
            table[row, t.F_COLUMN] = group.column(field)
            table[row, t.F_KIND] = _column_kind(field)
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
        labels=labels,
    )


def _label_bits(
    group: layouts.GroupLayout, members: Sequence[FeatureDef], filters: list[Filter | None], limits: FeatureLimits
) -> dict[int, list[int]]:
    """The bits of a group of label aggregates: all of them, whatever is read, and kept for as long as any is."""
    kept_ms = max(_kept_ms(definition, limits) for definition in members)
    return {
        group.filter_bit(where.text): [group.filter_bit(where.text), _filter_row(where, filters), kept_ms, 0]
        for where in FILTERS
    }


def _kept_ms(definition: FeatureDef, limits: FeatureLimits) -> int:
    """How long the touches of a feature may be needed."""
    return (definition.window_ms or 0) + limits.lateness_ms + limits.slack_ms


def _field(definition: FeatureDef) -> str | None:
    """What a feature aggregates of its rows; None where it only counts them."""
    return ORDINARY if AGGREGATES[definition.agg].ordinary else definition.of


def _columns(group: layouts.GroupLayout, members: Sequence[FeatureDef]) -> NDArray[np.int64]:
    """The columns of a group's log; those that no feature reads any more stay, empty."""
    used = {field for d in members if (field := _field(d)) is not None}
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
        apart = np.isin(table[:, t.F_OP], (*EVENT_BEFORE_OPS, *LABEL_OPS))
        table[(table[:, t.F_BIT] == bit[t.B_BIT]) & ~apart, t.F_HOME] = home
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
    return t.KIND_FLOAT if name in NUMBER_INDEX or name == ORDINARY else t.KIND_HASH


def _column_row(name: str) -> int:
    """Row of the batch's matrix that a column is read from."""
    if name in MONEY_FIELDS:
        return MONEY_FIELDS.index(name)
    if name == ORDINARY:
        return ORDINARY_ROW
    return NUMBER_INDEX[name] if name in NUMBER_INDEX else STRING_INDEX[name]
