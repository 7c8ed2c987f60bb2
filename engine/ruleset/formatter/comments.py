"""Which comment belongs to which entry of a rule file."""

from bisect import bisect_right
from typing import NamedTuple

from engine.ruleset.formatter.tree import Branch, Entry, Leaf, Place, Value, leaves, walk
from engine.ruleset.yaml_loader import Source


class Comment(NamedTuple):
    """A comment; `alone` on its line or behind something."""

    place: Place
    text: str
    alone: bool


def find(source: Source, root: Value) -> list[Comment]:
    """Every comment: what follows a `#` that stands at the start of a word and in no value."""
    taken: dict[int, list[tuple[int, int]]] = {}
    for leaf in leaves(root):
        (first, begin), (last, end) = leaf.start, leaf.end
        if leaf.style in ("|", ">"):
            header = source.lines[first].find("#", begin)
            taken.setdefault(first, []).append((begin, len(source.lines[first]) if header < 0 else header))
            first, begin = first + 1, 0
        for line in range(first, last + 1):
            start, stop = begin if line == first else 0, end if line == last else len(source.lines[line])
            taken.setdefault(line, []).append((start, stop))
    found = []
    for line, text in enumerate(source.lines):
        column = _column(text, taken.get(line, []))
        if column >= 0:
            alone = not text[:column].strip(" \t-")
            found.append(Comment((line, column), text[column:].rstrip(), alone))
    return found


def _column(text: str, taken: list[tuple[int, int]]) -> int:
    column = text.find("#")
    while column >= 0:
        inside = any(start <= column < stop for start, stop in taken)
        if not inside and (column == 0 or text[column - 1] in " \t\ufeff"):
            return column
        column = text.find("#", column + 1)
    return -1


def attach(source: Source, root: Branch, found: list[Comment]) -> list[str]:
    """Hand every comment to its entry, and note blank lines. Returns those of a file without entries."""
    entries = list(walk(root))
    if not entries:
        return [comment.text for comment in found]
    starts = [entry.start for entry in entries]
    heads: dict[int, int] = {}  # the first line of an entry with its leading comments
    previous: tuple[int, list[str] | None] = (-2, None)
    for comment in found:
        place = bisect_right(starts, comment.place)
        last = entries[place - 1] if place else None
        following = entries[place] if place < len(entries) else None
        if last is not None and not comment.alone:
            _trail(last, comment)
            continue
        target, above = _target(comment, last, following)
        lines = target.leading if above else target.foot
        line = comment.place[0]
        gap = line > 0 and not source.lines[line - 1].strip()
        if above and not lines:
            heads[id(target)] = line
        if gap and (lines if previous[1] is lines else not above):
            lines.append("")
        lines.append(comment.text)
        previous = (line, lines)
    for entry in entries:
        line = entry.start[0]
        if entry.leading and line > 0 and not source.lines[line - 1].strip():
            entry.leading.append("")
        head = heads.get(id(entry), line)
        entry.blank = head > 0 and not source.lines[head - 1].strip()
    return []


def _trail(last: Entry, comment: Comment) -> None:
    entry = last
    while entry.parent.flow and entry.parent.end <= comment.place and entry.parent.entry is not None:
        entry = entry.parent.entry
    if entry.trailing:
        entry.leading.append(comment.text)
    else:
        entry.trailing = comment.text


def _target(comment: Comment, last: Entry | None, following: Entry | None) -> tuple[Entry, bool]:
    """The entry a comment on its own line belongs to, and whether it stands above it."""
    if last is None:
        assert following is not None, "there is an entry"
        return following, True
    if isinstance(last.value, Leaf) and comment.place < last.value.end:
        return last, True  # between a key and its value
    entry: Entry | None = last
    while entry is not None:  # within brackets that close before another entry follows
        branch = entry.parent
        if branch.flow and comment.place < branch.end and (following is None or following.start > branch.end):
            return entry, False
        entry = branch.entry
    floor = following.start[1] if following is not None else -1
    entry = last
    while entry is not None:
        if not entry.parent.flow and floor < _depth(entry) <= comment.place[1]:
            return entry, False
        entry = entry.parent.entry
    if following is None:
        top = last
        while top.parent.entry is not None:
            top = top.parent.entry
        return top, False
    return following, True


def _depth(entry: Entry) -> int:
    """The column of an entry, a list item's a little right of its key where its dash stands under the key."""
    above = entry.parent.entry
    return entry.start[1] + (entry.key is None and above is not None and above.start[1] == entry.start[1])
