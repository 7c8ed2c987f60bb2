"""Reading the keys of one YAML mapping: what is there, of which type, and nothing that should not be."""

from collections.abc import Sequence as SequenceOf

from engine.ruleset.errors import Faults, RuleError, suggest
from engine.ruleset.yaml_loader import Mapping, Node, Scalar, Sequence

TEXT_CHARS_MAX = 2_000


def fail(node: Node, message: str, hint: str = "") -> RuleError:
    """A fault of a YAML node."""
    width = max(len(node.raw), 1) if isinstance(node, Scalar) and node.style is None else 1
    return node.source.error(node.line, node.column, message, hint, width)


def mapping(node: Node | None, what: str) -> Mapping:
    """The node as a mapping. Raises `RuleError`."""
    if not isinstance(node, Mapping):
        raise fail(node, f"{what} must be a mapping of keys to values") if node else TypeError(what)
    return node


def sequence(node: Node, what: str) -> list[Node]:
    """The node as a list; nothing at all is an empty one. Raises `RuleError`."""
    if isinstance(node, Scalar) and node.value is None:
        return []
    if not isinstance(node, Sequence):
        raise fail(node, f"{what} must be a list")
    return node.items


class Reader:
    """The keys of one mapping.

    Args:
        node: the mapping.
        what: its name in messages, such as "a rule".
        keys: every key it may have; another is an error, with the nearest of these as a suggestion.
        faults: keeps those errors; they are raised where there is none.
    """

    def __init__(self, node: Mapping, what: str, keys: SequenceOf[str], faults: Faults | None = None) -> None:
        self.node = node
        self.what = what
        unknown = Faults() if faults is None else faults
        for name, (key, _) in node.items.items():
            if name not in keys:
                hint = suggest(name, keys) or f"one of {', '.join(keys)}"
                unknown.found.append(fail(key, f"unknown key '{name}' of {what}", hint))
        if faults is None:
            unknown.check()

    def has(self, key: str) -> bool:
        """Whether a key is there with a value."""
        found = self.node.get(key)
        return found is not None and not (isinstance(found, Scalar) and found.value is None)

    def get(self, key: str) -> Node | None:
        """The value of a key, None where it is absent or empty."""
        return self.node.get(key) if self.has(key) else None

    def need(self, key: str) -> Node:
        """The value of a key that must be there. Raises `RuleError`."""
        found = self.get(key)
        if found is None:
            raise fail(self.node, f"{self.what} needs '{key}'")
        return found

    def scalar(self, key: str) -> Scalar:
        """The value of a key as a leaf. Raises `RuleError`."""
        found = self.need(key)
        if not isinstance(found, Scalar):
            raise fail(found, f"'{key}' must be a single value")
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """The value of a key as text; needed where there is no default. Raises `RuleError`."""
        if default is not None and not self.has(key):
            return default
        found = self.scalar(key)
        if not isinstance(found.value, str):
            raise fail(found, f"'{key}' must be text", "put it in quotes")
        if len(found.value) > TEXT_CHARS_MAX:
            raise fail(found, f"'{key}' is longer than {TEXT_CHARS_MAX:,} characters")
        return found.value

    def flag(self, key: str, default: bool) -> bool:
        """The value of a key as true or false. Raises `RuleError`."""
        if not self.has(key):
            return default
        found = self.scalar(key)
        if not isinstance(found.value, bool):
            raise fail(found, f"'{key}' must be true or false")
        return found.value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """The value of a key as a number within bounds. Raises `RuleError`."""
        if not self.has(key):
            return default
        found = self.scalar(key)
        if isinstance(found.value, bool) or not isinstance(found.value, (int, float)):
            raise fail(found, f"'{key}' must be a number")
        if not low <= found.value <= high:
            raise fail(found, f"'{key}' must be from {low:g} to {high:g}")
        return float(found.value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """The value of a key as a whole number within bounds. Raises `RuleError`."""
        found = self.number(key, default, low, high)
        if found != int(found):
            raise fail(self.need(key), f"'{key}' must be a whole number")
        return int(found)

    def texts(self, key: str) -> list[tuple[str, Node]]:
        """The value of a key as a list of texts with their places; a single text is a list of one."""
        found = self.get(key)
        if found is None:
            return []
        items = [found] if isinstance(found, Scalar) else sequence(found, f"'{key}'")
        texts: list[tuple[str, Node]] = []
        for item in items:
            if not isinstance(item, Scalar) or not isinstance(item.value, str):
                raise fail(item, f"'{key}' must hold text")
            texts.append((item.value, item))
        return texts
