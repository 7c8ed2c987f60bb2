"""How a value is written: plain where it reads the same, in quotes where it must be, folded where it is long."""

import re
from functools import lru_cache
from typing import Any, Final

import yaml

from engine.domain.durations import UNITS_MS
from engine.ruleset.formatter.tree import Leaf

WIDTH: Final = 120
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORD: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:{'|'.join(UNITS_MS)})")
"""Plain words and durations."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")
_TOKEN: Final = re.compile(r"""\\.|['"()\[\]]|(?<=[^ ] )(?:and|or)(?= )""")
_TRUTHS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some reader of YAML takes for something else than text; quotes around it stay."""
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def inline(leaf: Leaf, flow: bool, expression: bool = False) -> str:
    """A value on one line, within brackets (`flow`) or not."""
    text = leaf.text.strip() if expression else leaf.text
    if leaf.style is None and not text:
        return "null" if flow else ""
    word = bool(_WORD.fullmatch(text)) and text.lower() not in _TRUTHS
    if leaf.style is None:
        wanted = not (expression and flow and re.search(r"[\s()]", text))
    else:
        wanted = word or (expression and not flow and text[:1].isalpha() and text.lower() not in _TRUTHS)
    return text if word or (wanted and plain(text, flow)) else quoted(text)


@lru_cache(maxsize=4_096)
def plain(text: str, flow: bool) -> bool:
    """Whether a text reads the same without quotes."""
    if _SAFE.fullmatch(text):
        return True
    if not text.isprintable() or text != text.strip():
        return False
    try:
        events = list(yaml.parse(f"[{text}]\n" if flow else f"a: {text}\n", Loader=_LOADER))
    except yaml.YAMLError:
        return False
    found = [event for event in events if isinstance(event, yaml.ScalarEvent)]
    whole = len(found) == (1 if flow else 2) and len(events) == (7 if flow else 8)
    last = found[-1] if found else None
    return whole and last is not None and last.value == text and not last.style and not (last.anchor or last.tag)


def quoted(text: str) -> str:
    """A text in quotes: double ones, unless single ones spare escapes."""
    if not text.isprintable():
        return '"' + "".join(_escape(char) for char in text) + '"'
    if ('"' in text or "\\" in text) and "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def block(leaf: Leaf, indent: int, expression: bool) -> tuple[str, list[str]] | None:
    """A long text folded, one of several lines as it is: the sign behind the key, and the lines. None where neither."""
    text = leaf.text.strip() if expression else leaf.text
    body = text.removesuffix("\n")
    lines = body.split("\n")
    fit = all(line.isprintable() and not line.startswith(" ") and line == line.rstrip() for line in lines)
    if not body or not fit or not lines[0] or not lines[-1]:
        return None
    chomp = "" if text.endswith("\n") else "-"
    pad = " " * indent
    if len(lines) > 1:
        return f"|{chomp}", [pad + line if line else "" for line in lines]
    return f">{chomp}", [pad + line for line in fold(body, WIDTH - indent, expression)]


def fold(text: str, width: int, expression: bool = False) -> list[str]:
    """Break a text at single blanks, an expression before its outermost `and` and `or` where that is enough.

    Joined by blanks the lines are the text again. A line without a place to break may be longer than `width`.
    """
    pieces = _clauses(text) if expression else [text]
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += " " + piece
        else:
            lines += _fill(piece, width)
    return lines


def _fill(text: str, width: int) -> list[str]:
    words = re.split(r"(?<=[^ ]) (?=[^ ])", text)
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _clauses(text: str) -> list[str]:
    """An expression cut before its outermost `and` and `or`."""
    cuts, depth, quote = [0], 0, ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if quote or token in ("'", '"'):
            quote = "" if token == quote else quote or token
        elif token in "()[]":
            depth += 1 if token in "([" else -1
        elif not depth:
            cuts.append(found.start())
    return [text[start:stop].strip() for start, stop in zip(cuts, [*cuts[1:], len(text)], strict=True)]
