"""Features compiled into the integer tables that the kernels read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.features import layout as layouts
from engine.features import tables as t
from engine.features.definition import AGGREGATES, HOUR_MS, FeatureDef, FeatureLimits, Filter, validate
from engine.features.groups import GroupPlan, compile_group
from engine.features.needs import Need


@dataclass(slots=True)
class Plan:
    """What a rule set's features compile to. Make one with `Plan.compile`.

    Attributes:
        features: the definitions, in order; row i of a feature matrix is features[i].
        filters: distinct filters, None for the events that carry a decision.
        groups: one per distinct `by`, and one for its label aggregates if there are any.
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
        by_entity: dict[tuple[tuple[str, ...], bool], list[int]] = {}
        for i, definition in enumerate(features):
            by_entity.setdefault((definition.by, AGGREGATES[definition.agg].labels), []).append(i)
        for rows in by_entity.values():
            groups.append(compile_group(rows, features, registry, filters, limits))
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
