"""Rule files in one layout: keys in order, quotes and blank lines where they belong, comments kept.

Expressions keep their text, trimmed. What a file means is never changed: the result is read again, and refused where a
value or a comment differs.
"""

from collections import Counter

from engine.ruleset.errors import RuleError, RuleErrors
from engine.ruleset.formatter import comments
from engine.ruleset.formatter.layout import EXPRESSIONS, Layout
from engine.ruleset.formatter.tree import Branch, build
from engine.ruleset.yaml_loader import Mapping, Node, Scalar, Source, load

__all__ = ["reformat"]


def reformat(name: str, text: str) -> str:
    """The text of a rule file in its canonical layout; formatting that again changes nothing.

    Only the YAML is read: names, types and expressions are for `steward rules check`. Raises `RuleErrors`.
    """
    before = load(name, text)
    source = Source(name, text)
    if before is None:
        lines = [line.rstrip() for line in source.lines]
        body = "\n".join(line for line in lines if line.startswith("#") or not line)
        return body.strip("\n") + "\n" if body.strip() else ""
    root = build(text)
    if not isinstance(before, Mapping) or not isinstance(root, Branch):
        raise RuleErrors([source.error(before.line, before.column, "a rule file must be a mapping of keys to values")])
    found = comments.find(source, root)
    rest = comments.attach(source, root, found)
    result = Layout().file(root, rest)
    _compare(name, before, result, [comment.text for comment in found])
    return result


def _compare(name: str, before: Node, result: str, said: list[str]) -> None:
    """Refuse a result that says anything else than its file did."""
    after = load(name, result)
    root = build(result)
    kept = [comment.text for comment in comments.find(Source(name, result), root)] if root is not None else []
    if _meaning(before) != _meaning(after) or Counter(said) != Counter(kept):
        raise RuleErrors([RuleError(name, 0, 0, "the file cannot be formatted without changing it; it was left alone")])


def _meaning(node: Node | None, key: str = "") -> object:
    """Values by key, whatever the order of the keys; expressions trimmed."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        if key in EXPRESSIONS and isinstance(node.value, str):
            return "text", node.value.strip()
        return type(node.value).__name__, node.value if isinstance(node.value, str) or node.value is None else node.raw
    if isinstance(node, Mapping):
        return {name: _meaning(value, name) for name, (_, value) in node.items.items()}
    return [_meaning(item) for item in node.items]
