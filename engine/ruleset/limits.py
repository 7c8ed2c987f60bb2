"""How much one rules directory may hold in all, applied while it is read: whatever is in it, checking takes seconds.

On one core a character of an expression costs some 4 µs, a YAML node 7, a line of a list file 2 (17 as a network) and
a pattern 400. All limits together come to some five seconds, each to at least 25 times what
the shipped rules have.
"""

from typing import Final

from engine.features.definition import FeatureLimits
from engine.ruleset.errors import RuleError
from engine.ruleset.parser import EXPRESSION_CHARS_MAX
from engine.ruleset.reader import fail
from engine.ruleset.yaml_loader import Mapping, Node, Scalar, Sequence

RULES_MAX: Final = 2_000
CAMPAIGNS_MAX: Final = 500  # each that an event may set off is looked at then, by itself
FEATURES_MAX: Final = FeatureLimits().features_max  # aggregates; inline ones count when they are met
DERIVED_MAX: Final = 2_000
NODES_MAX: Final = 200_000
LIST_LINES_MAX: Final = 150_000
WRITTEN_CHARS_MAX: Final = 300_000  # 150 for each of 2,000 rules
PATTERN_CHARS: Final = 100
"""What each mention of `matches` counts beside its characters, for the work of compiling its pattern."""
_WRITTEN: Final = frozenset({"when", "unless", "where", "expr", "detail", "title", "action", "amount"})


class Enough(Exception):
    """Reading ends here: a limit is exceeded (`fault`), or there are more faults than anybody reads (None)."""

    def __init__(self, fault: RuleError | None = None) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Budget:
    """Counts what the files of a directory hold; every method raises `Enough` at what is too much."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def file(self, root: Mapping) -> None:
        """Count a rule file, before anything in it is checked."""
        for section in ("rules", "features", "campaigns"):
            found = root.get(section)
            for item in found.items if isinstance(found, Sequence) else ():
                self._entry(section, item)
        left: list[tuple[str, Node]] = [("", root)]
        while left:
            key, node = left.pop()
            self._spend(node, "YAML nodes", NODES_MAX)
            if isinstance(node, Mapping):
                for place, _ in node.items.values():
                    self._spend(place, "YAML nodes", NODES_MAX)
                    if key == "with":
                        self._expression(place)
                left += [(name, value) for name, (_, value) in reversed(node.items.items())]
            elif isinstance(node, Sequence):
                left += [(key, item) for item in reversed(node.items)]
            elif key in _WRITTEN:
                self._expression(node)

    def list_file(self, node: Node, text: str) -> None:
        """Count the lines of a list file, as often as a list names it."""
        self._spend(node, "lines of list files", LIST_LINES_MAX, text.count("\n") + 1)

    def _entry(self, section: str, item: Node) -> None:
        if section == "rules":
            self._spend(item, "rules", RULES_MAX)
        elif section == "campaigns":
            self._spend(item, "campaigns", CAMPAIGNS_MAX)
        elif isinstance(item, Mapping) and item.get("expr") is not None:
            self._spend(item, "derived features", DERIVED_MAX)
        else:
            self._spend(item, "features", FEATURES_MAX)

    def _expression(self, node: Scalar) -> None:
        cost = min(len(node.raw), EXPRESSION_CHARS_MAX) + PATTERN_CHARS * node.raw.count("matches")
        self._spend(node, "characters of expressions and texts", WRITTEN_CHARS_MAX, cost)

    def _spend(self, node: Node, what: str, most: int, cost: int = 1) -> None:
        self._counts[what] = self._counts.get(what, 0) + cost
        if self._counts[what] > most:
            raise Enough(fail(node, f"more than {most:,} {what}"))
