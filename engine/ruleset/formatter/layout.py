"""Writes a tree of entries out: which keys come first, what stands on one line, where a blank line goes."""

from typing import Final, TypeAlias

from engine.ruleset.formatter.scalars import WIDTH, block, inline
from engine.ruleset.formatter.tree import Branch, Entry, Leaf, Value

Path: TypeAlias = tuple[str, ...]
"""Keys from the top of the file; an item of a list, and the name of a list or model, is `*`."""

EXPRESSIONS: Final = ("when", "unless", "where", "expr")
ORDERS: Final[dict[Path, tuple[str, ...]]] = {
    (): ("lists", "tables", "features", "models", "rules", "campaigns"),
    ("lists", "*"): ("description", "owner", "file", "values"),
    ("features", "*"): ("name", "agg", "of", "by", "window", "where", "expr", "description", "owner", "tags"),
    ("models",): ("anomaly", "fraud"),
    ("models", "anomaly"): ("detector", "trees", "height", "window", "seed", "memory", "inputs"),
    ("models", "fraud"): ("learner", "seed", "plain", "inputs"),
    ("rules", "*"): (
        "id", "description", "owner", "tags", "enabled", "valid_from", "valid_to",
        "on", "when", "unless", "unless_followed_by", "then", "hard", "on_degraded", "mode", "tests",
    ),
    ("rules", "*", "unless_followed_by"): ("types", "same", "within", "usual"),
    ("rules", "*", "then"): (
        "decision", "score", "allow", "alert", "severity", "reason", "detail", "title", "action", "by", "every",
    ),
    ("rules", "*", "tests", "*"): ("description", "given", "with", "lists", "rates", "expect"),
    ("campaigns", "*"): (
        "id", "version", "description", "owner", "tags", "enabled", "mode", "valid_from", "valid_to",
        "on", "when", "then", "occasion", "hold", "expires", "caps", "budget", "consent", "quiet_hours",
        "group", "priority", "holdout", "score_max", "abuse", "reversal", "threshold", "tests",
    ),
    ("campaigns", "*", "on"): ("transition", "from", "to", "timer", "at", "after", "before", "gaps"),
    ("campaigns", "*", "then"): (
        "reward", "offer", "amount", "value", "most", "currency", "both", "channel", "choose", "send", "expires",
        "offers",
    ),
    ("campaigns", "*", "then", "offers", "*"): ("id", "offer", "value", "most", "currency", "channel", "expires"),
    ("campaigns", "*", "caps", "*"): ("by", "times", "amount", "per", "required"),
    ("campaigns", "*", "budget"): ("points", "amount", "currency"),
    ("campaigns", "*", "abuse"): (
        "accounts_per_device", "accounts_per_card", "accounts_per_address", "new_account", "self_referral",
        "refund_cycling",
    ),
    ("campaigns", "*", "abuse", "new_account"): ("days", "accounts_per_device"),
    ("campaigns", "*", "abuse", "refund_cycling"): ("rate", "min"),
    ("campaigns", "*", "tests", "*"): (
        "description", "given", "customer", "with", "lists", "rates", "expect", "amount",
    ),
}  # fmt: skip
"""Keys in their order; others follow as they stand."""

_ALWAYS_BLOCK: Final = frozenset({
    (), ("lists",), ("tables",), ("features",), ("models",), ("rules",), ("models", "anomaly"), ("models", "fraud"),
    ("rules", "*"), ("rules", "*", "tests"), ("campaigns",), ("campaigns", "*"), ("campaigns", "*", "tests"),
})  # fmt: skip
_SPACED: Final = frozenset({(), ("rules",), ("campaigns",)})
"""Whose entries have a blank line between them."""
_LOOSE: Final = frozenset({
    ("lists",), ("tables",), ("tables", "*"), ("features",), ("lists", "*", "values"), ("rules", "*", "tests"),
    ("campaigns", "*", "tests"),
})  # fmt: skip
"""Whose entries keep the blank lines they had, one at most."""


class Layout:
    """Collects the lines of one file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def file(self, root: Branch, rest: list[str]) -> str:
        """The text of a file; `rest` are the comments of one without entries."""
        if not root.entries:
            return "\n".join([*rest, "{}" if root.keyed else "[]"]) + "\n"
        header, root.entries[0].leading = root.entries[0].leading, []
        while header and not header[0]:
            del header[0]
        self.lines += header
        self.branch(root, 0, ())
        return "\n".join(self.lines) + "\n"

    def branch(self, branch: Branch, indent: int, path: Path) -> None:
        """Every entry on lines of its own."""
        for place, entry in enumerate(_ordered(branch, path)):
            inner = (*path, _step(entry, path))
            first = not place
            if entry.key is None:
                _hoist(entry, inner)
            if not first and (path in _SPACED or (path in _LOOSE and entry.blank)):
                self.blank()
            self.comments(entry.leading, indent, first)
            self.entry(entry, indent, inner)
            self.comments(entry.foot, indent, False)

    def blank(self) -> None:
        """A blank line, unless there is one."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def comments(self, lines: list[str], indent: int, first: bool) -> None:
        """Comments on lines of their own; "" is a blank line."""
        for line in lines:
            if line:
                self.lines.append(" " * indent + line)
                first = False
            elif not first:
                self.blank()

    def entry(self, entry: Entry, indent: int, path: Path) -> None:
        """A key or an item with its value."""
        head = " " * indent + (f"{inline_key(entry.key)}:" if entry.key is not None else "-")
        tail = f"  {entry.trailing}" if entry.trailing else ""
        text = one_line(entry.value, path)
        if text is not None and len(head) + 1 + len(text) <= WIDTH:
            self.lines.append(f"{head} {text}".rstrip() + tail)
        elif isinstance(entry.value, Leaf):
            self.leaf(entry.value, head, tail, indent, path)
        elif entry.key is not None:
            self.lines.append(head + tail)
            self.branch(entry.value, indent + 2, path)
        else:
            self.item(entry.value, entry.trailing, indent, path)

    def leaf(self, leaf: Leaf, head: str, tail: str, indent: int, path: Path) -> None:
        """A value that does not fit on the line of its key, or has lines of its own."""
        expression = path[-1] in EXPRESSIONS
        found = block(leaf, indent + 2, expression)
        if found is None or (len(found[1]) == 1 and found[0][0] == ">"):
            self.lines.append(f"{head} {inline(leaf, False, expression)}{tail}")
        else:
            self.lines.append(f"{head} {found[0]}{tail}")
            self.lines += found[1]

    def item(self, branch: Branch, trailing: str, indent: int, path: Path) -> None:
        """A list item on several lines, the first of them behind its dash."""
        if trailing:
            self.lines.append(" " * indent + trailing)
        inner = Layout()
        inner.branch(branch, indent + 2, path)
        while inner.lines and inner.lines[0].lstrip()[:1] in ("#", ""):  # above the dash, not behind it
            line = inner.lines.pop(0)
            if line:
                self.lines.append(" " * indent + line.lstrip())
        first, *rest = inner.lines
        self.lines += [f"{' ' * indent}- {first[indent + 2 :]}", *rest]


def _hoist(item: Entry, path: Path) -> None:
    """Comments above the first key of an item stand above its dash: they are the item's, and it may fit on one line."""
    if isinstance(item.value, Branch) and item.value.entries:
        first = _ordered(item.value, path)[0]
        item.leading += [line for line in first.leading if line]
        first.leading = []


def _ordered(branch: Branch, path: Path) -> list[Entry]:
    """Entries in the order of their keys; a list as it is."""
    if not branch.keyed or path not in ORDERS:
        return branch.entries
    places = {key: place for place, key in enumerate(ORDERS[path])}
    return sorted(branch.entries, key=lambda entry: places.get(entry.key.text if entry.key else "", len(places)))


def _step(entry: Entry, path: Path) -> str:
    """The last part of an entry's path."""
    return entry.key.text if entry.key is not None and path != ("lists",) and path[:1] != ("tables",) else "*"


def inline_key(key: Leaf) -> str:
    """A key: plain within brackets and without, or in quotes."""
    return inline(key, True)


def one_line(value: Value, path: Path) -> str | None:
    """A value on one line; None where it must not be."""
    if isinstance(value, Leaf):
        return None if _long(value, path) else inline(value, False, path[-1] in EXPRESSIONS)
    if not value.entries:
        return "{}" if value.keyed else "[]"
    single = path not in _ALWAYS_BLOCK and not (path == ("lists", "*") and len(value.entries) > 1)
    if not single or any(entry.commented for entry in value.entries):
        return None
    return _flow(value, path)


def _long(leaf: Leaf, path: Path) -> bool:
    return "\n" in (leaf.text.strip() if path[-1] in EXPRESSIONS else leaf.text)


def _flow(value: Value, path: Path) -> str | None:
    """A value within brackets; None where it has lines of its own."""
    if isinstance(value, Leaf):
        return None if _long(value, path) else inline(value, True, path[-1] in EXPRESSIONS)
    parts = []
    for entry in _ordered(value, path):
        text = _flow(entry.value, (*path, _step(entry, path)))
        if text is None:
            return None
        parts.append(f"{inline_key(entry.key)}: {text}" if entry.key is not None else text)
    return "{" + ", ".join(parts) + "}" if value.keyed else "[" + ", ".join(parts) + "]"
