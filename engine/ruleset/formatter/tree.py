"""A rule file as entries: keys and list items, each with its place, its value and the comments that belong to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
Place: TypeAlias = tuple[int, int]
"""Line and column, from 0."""


@dataclass(slots=True, eq=False)
class Leaf:
    """A value as written: its text with quotes and folding removed, and the style it was written in."""

    text: str
    style: str | None
    start: Place
    end: Place


@dataclass(slots=True, eq=False)
class Branch:
    """A mapping (`keyed`) or a list. `entry` is the one it is the value of, None for the whole file."""

    keyed: bool
    flow: bool
    start: Place
    end: Place
    entries: "list[Entry]" = field(default_factory=list)
    entry: "Entry | None" = None


Value: TypeAlias = Leaf | Branch


@dataclass(slots=True, eq=False)
class Entry:
    """A key with its value, or an item of a list (`key` is None).

    Attributes:
        start: where it begins; the dash of an item that has one.
        leading: comments above it, "" for a blank line; `blank` says that one stands above them all.
        trailing: the comment at the end of its line.
        foot: comments below it that belong to it rather than to what follows.
    """

    key: Leaf | None
    value: Value
    start: Place
    parent: Branch
    leading: list[str] = field(default_factory=list)
    trailing: str = ""
    foot: list[str] = field(default_factory=list)
    blank: bool = False

    @property
    def commented(self) -> bool:
        """Whether a comment belongs to it or to anything below it."""
        if self.leading or self.trailing or self.foot:
            return True
        return isinstance(self.value, Branch) and any(entry.commented for entry in self.value.entries)


def build(text: str) -> Value | None:
    """The tree of a text that `yaml_loader.load` takes; no comments yet. None where there is nothing."""
    node = yaml.compose(text, Loader=_LOADER)
    return None if node is None else _value(node, None)


def walk(branch: Branch) -> Iterator[Entry]:
    """Every entry, in the order of the file."""
    for entry in branch.entries:
        yield entry
        if isinstance(entry.value, Branch):
            yield from walk(entry.value)


def leaves(value: Value) -> Iterator[Leaf]:
    """Every leaf, keys too."""
    if isinstance(value, Leaf):
        yield value
        return
    for entry in walk(value):
        if entry.key is not None:
            yield entry.key
        if isinstance(entry.value, Leaf):
            yield entry.value


def _place(mark: Any) -> Place:
    return mark.line, mark.column


def _value(node: Any, entry: Entry | None) -> Value:
    start, end = _place(node.start_mark), _place(node.end_mark)
    if isinstance(node, yaml.ScalarNode):
        return Leaf(node.value, node.style or None, start, end)
    branch = Branch(isinstance(node, yaml.MappingNode), bool(node.flow_style), start, end, entry=entry)
    for item in node.value:
        key: Leaf | None = None
        place, value = _place((item[0] if branch.keyed else item).start_mark), item
        if branch.keyed:
            value = item[1]
            key = Leaf(item[0].value, item[0].style or None, place, _place(item[0].end_mark))
        elif not branch.flow:
            place = (place[0], start[1])  # the column of the dash, and where the item is on the same line its place
        made = Entry(key, Leaf("", None, place, place), place, branch)
        made.value = _value(value, made)
        branch.entries.append(made)
    return branch
