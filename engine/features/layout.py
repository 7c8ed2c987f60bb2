"""The persisted registry of what the bits and columns of stored touches mean. It only ever grows.

Touches outlive rule sets: a bit of a stored mask must keep its meaning when a feature is removed or added. So each `by`
gets a group id, each filter of a group a bit, each field a column, in order of first appearance, and none is reused.
A group whose bits run out is retired and replaced by a new one with an empty log; its features warm up again.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 2
READABLE: Final = (1, 2)
"""Version 1 knew no groups of label rows, and is read as that."""
GROUPS_MAX: Final = 0xFFFF


@dataclass(slots=True)
class GroupLayout:
    """What the log of one `by` holds.

    Attributes:
        id: two bytes of the state key.
        by: entity names.
        filters: canonical filter texts ("" for the events that carry a decision); the position is the mask bit.
        columns: event fields; the position is the column.
        ages: first-seen times are kept.
        retired: replaced by a younger group of the same `by`.
        labels: its log holds label rows; else events.
    """

    id: int
    by: tuple[str, ...]
    filters: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    ages: bool = False
    retired: bool = False
    labels: bool = False

    def filter_bit(self, text: str) -> int:
        """The bit of a filter, new if need be."""
        if text not in self.filters:
            self.filters.append(text)
        return self.filters.index(text)

    def column(self, name: str) -> int:
        """The column of a field, new if need be."""
        if name not in self.columns:
            self.columns.append(name)
        return self.columns.index(name)


@dataclass(slots=True)
class Layout:
    """All groups."""

    groups: list[GroupLayout] = field(default_factory=list)

    def group(self, by: tuple[str, ...], labels: bool = False) -> GroupLayout:
        """The live group of `by`, of events or of label rows, new if need be.

        Raises `ValueError` when group ids run out.
        """
        for group in self.groups:
            if group.by == by and group.labels == labels and not group.retired:
                return group
        if len(self.groups) >= GROUPS_MAX:
            raise ValueError(f"more than {GROUPS_MAX} groups of features in this state; rebuild it by a replay")
        created = GroupLayout(len(self.groups), by, labels=labels)
        self.groups.append(created)
        return created

    def extends(self, other: "Layout") -> bool:
        """Whether all that `other` gives a meaning to has the same meaning here."""
        if len(other.groups) > len(self.groups):
            return False
        return all(
            (old.by, old.labels) == (new.by, new.labels)
            and old.filters == new.filters[: len(old.filters)]
            and old.columns == new.columns[: len(old.columns)]
            for old, new in zip(other.groups, self.groups, strict=False)
        )

    def dump(self) -> bytes:
        """As JSON, stable for equal content."""
        names = ("by", "filters", "columns", "ages", "retired", "labels")
        groups = [{name: getattr(group, name) for name in names} for group in self.groups]
        body: dict[str, Any] = {"version": VERSION, "groups": groups}
        return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def load(data: bytes | None) -> Layout:
    """Read what `Layout.dump` wrote; an empty one for None. Raises `ValueError` on another version."""
    if data is None:
        return Layout()
    body = json.loads(data)
    if body.get("version") not in READABLE:
        raise ValueError(f"feature layout version {body.get('version')}; this build reads up to version {VERSION}")
    groups = [
        GroupLayout(
            i,
            tuple(g["by"]),
            list(g["filters"]),
            list(g["columns"]),
            bool(g["ages"]),
            bool(g["retired"]),
            bool(g.get("labels")),
        )
        for i, g in enumerate(body["groups"])
    ]
    return Layout(groups)
