"""YAML as a tree of nodes that know their place, from text nobody has vouched for.

Only the plain part of YAML is read: mappings, sequences and scalars. Anchors and aliases (the stuff of bombs), tags
(the stuff of object construction), merge keys, several documents and duplicate keys are refused; size, depth and node
count are bounded before anything is built. Plain scalars follow the YAML 1.2 core schema, so that `NO` is Norway and
`12:30` is text.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from engine.ruleset.errors import RuleError, RuleErrors

FILE_CHARS_MAX: Final = 1_000_000  # some 5,000 rules; a larger file is a mistake or an attack
NODES_MAX: Final = 200_000
DEPTH_MAX: Final = 16
NUMBER_CHARS_MAX: Final = 40

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_NUMBERS: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip


@dataclass(slots=True)
class Source:
    """One rule file: its name and its lines, to say where a fault is."""

    name: str
    text: str
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", self.text)

    def error(self, line: int, column: int, message: str, hint: str = "", width: int = 1) -> RuleError:
        """A fault at a place counted from 0."""
        text = self.lines[line] if 0 <= line < len(self.lines) else ""
        return RuleError(self.name, line + 1, column + 1, message, text, hint, width)


@dataclass(slots=True, eq=False)
class Scalar:
    """A leaf. `value` is None, bool, int, float or str; `raw` its text as written, quotes and folding removed."""

    source: Source
    line: int
    column: int
    end: tuple[int, int]
    value: None | bool | int | float | str
    raw: str
    style: str | None
    index: int = 0
    end_index: int = 0

    def places(self) -> list[tuple[int, int]]:
        """Line and column (from 0) of every character of `raw`, and of the place after the last one.

        Found by walking the source text beside the value: what YAML takes away (quotes, escapes, indentation,
        folded line ends) is skipped. Exact but for doubled quotes, where it may be one column off.
        """
        text, position = self.source.text, self.index
        line, column = self.line, self.column
        if self.style in ("|", ">"):
            position = text.index("\n", position) + 1 if "\n" in text[position:] else len(text)
            line, column = line + 1, 0
        elif self.style in ("'", '"'):
            position, column = position + 1, column + 1
        found: list[tuple[int, int]] = []
        for char in self.raw:
            if not char.isspace():
                while position < self.end_index and text[position] != char:
                    line, column = (line + 1, 0) if text[position] == "\n" else (line, column + 1)
                    position += 1
            found.append((line, column))
            if position < self.end_index and text[position] != "\n":
                position, column = position + 1, column + 1
        found.append((line, column))
        return found


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    source: Source
    line: int
    column: int
    items: "list[Node]"


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys (always text) and nodes, in file order."""

    source: Source
    line: int
    column: int
    items: "dict[str, tuple[Scalar, Node]]"

    def get(self, key: str) -> "Node | None":
        """The value of a key, None where it is absent."""
        pair = self.items.get(key)
        return pair[1] if pair else None


Node: TypeAlias = Scalar | Sequence | Mapping


def load(name: str, text: str) -> Node | None:
    """Parse one file; None where it is empty. Raises `RuleErrors` with one error."""
    source = Source(name, text)
    if len(text) > FILE_CHARS_MAX:
        message = f"the file has {len(text):,} characters; at most {FILE_CHARS_MAX:,} are read"
        raise RuleErrors([RuleError(name, 0, 0, message)])
    try:
        return _Builder(source).document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as fault:
        raise RuleErrors([_syntax_error(source, fault)]) from None
    except yaml.reader.ReaderError as fault:
        before = text[: text.find(chr(fault.character))].split("\n")
        message = f"not YAML: the character U+{fault.character:04X} is not allowed"
        raise RuleErrors([source.error(len(before) - 1, len(before[-1]), message)]) from None
    except yaml.YAMLError as fault:
        raise RuleErrors([RuleError(name, 0, 0, "not YAML: " + " ".join(str(fault).split()))]) from None
    except RuleError as fault:
        raise RuleErrors([fault]) from None


def _syntax_error(source: Source, fault: yaml.MarkedYAMLError) -> RuleError:
    mark = fault.problem_mark or fault.context_mark
    problem = str(fault.problem or fault.context or "unreadable")
    if mark is None:
        return RuleError(source.name, 0, 0, f"not YAML: {problem}")
    hint = "quote the text" if "mapping values are not allowed" in problem or "flow" in problem else ""
    return source.error(mark.line, mark.column, f"not YAML: {problem}", hint)


class _Builder:
    """Builds nodes from parser events, counting as it goes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.nodes = 0

    def fail(self, event: Any, message: str, hint: str = "", width: int = 1) -> RuleError:
        return self.source.error(event.start_mark.line, event.start_mark.column, message, hint, width)

    def document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fail(event, "a rule file is one YAML document", "put the second one in its own file")
                if event.tags:
                    raise self.fail(event, "tag directives are not allowed")
                root = self.node(next(events), events, 0)
        return None if isinstance(root, Scalar) and not root.raw and root.style is None else root

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        """The node that begins with `event`, within the limits of size and depth. Raises `RuleError`."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise self.fail(event, f"more than {NODES_MAX:,} YAML nodes in one file")
        if depth > DEPTH_MAX:
            raise self.fail(event, f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self.fail(event, "YAML anchors and aliases are not allowed", "write the value out")
        if event.tag is not None:
            raise self.fail(event, f"YAML tags are not allowed: {event.tag}")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(event, events, depth)
        return self.mapping(event, events, depth)

    def scalar(self, event: Any) -> Scalar:
        raw: str = event.value
        value: None | bool | int | float | str = raw
        if event.style in (None, ""):
            value = self.plain(event, raw)
        start, end = event.start_mark, event.end_mark
        style = event.style or None
        place = (end.line, end.column)
        return Scalar(self.source, start.line, start.column, place, value, raw, style, start.index, end.index)

    def plain(self, event: Any, raw: str) -> None | bool | int | float | str:
        """What a text without quotes means: a word of YAML's, a number, or the text. Raises `RuleError`."""
        if raw in _WORDS:
            return _WORDS[raw]
        if _NOT_NUMBERS.fullmatch(raw):
            raise self.fail(event, f"{raw} is no number to compute with", "quote it if it is text", len(raw))
        if raw[0] not in "+-.0123456789" or not (_INTEGER.fullmatch(raw) or _FLOAT.fullmatch(raw)):
            return raw
        if len(raw) > NUMBER_CHARS_MAX:
            raise self.fail(event, f"a number of {len(raw):,} characters", "quote it if it is text", len(raw))
        if _INTEGER.fullmatch(raw):
            return int(raw)
        number = float(raw)
        if math.isinf(number):
            raise self.fail(event, f"the number {raw} is out of range", width=len(raw))
        return number

    def sequence(self, start: Any, events: Iterator[Any], depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, depth + 1))
        return Sequence(self.source, start.start_mark.line, start.start_mark.column, items)

    def mapping(self, start: Any, events: Iterator[Any], depth: int) -> Mapping:
        items: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.node(event, events, depth + 1)
            if not isinstance(key, Scalar):
                raise self.fail(event, "a key must be text")
            if key.raw in items:
                raise self.fail(event, f"duplicate key '{key.raw}'", "each key may stand once", len(key.raw))
            if key.raw == "<<":
                raise self.fail(event, "YAML merge keys are not allowed", "write the values out")
            items[key.raw] = (key, self.node(next(events), events, depth + 1))
        return Mapping(self.source, start.start_mark.line, start.start_mark.column, items)
