"""Text to Python's syntax tree, with every size bounded before and after, and faults given their place in the file."""

import ast
import io
import tokenize
import warnings
from typing import Final

from engine.ruleset.errors import RuleError
from engine.ruleset.yaml_loader import Scalar

EXPRESSION_CHARS_MAX: Final = 4_000  # some 60 comparisons; more belongs in derived features
EXPRESSION_NODES_MAX: Final = 500
EXPRESSION_DEPTH_MAX: Final = 50  # well within the interpreter's own recursion limit


class Text:
    """An expression and where its characters are.

    `where` is set for the text inside an inline aggregate's `where="…"`: its characters are placed through the outer
    text, `offset` characters into it.
    """

    def __init__(self, scalar: Scalar, inner: str | None = None, offset: int = 0, outer: "Text | None" = None) -> None:
        self.scalar = scalar
        self.text = scalar.raw if inner is None else inner
        self._offset = offset
        self._outer = outer
        self._places: list[tuple[int, int]] | None = None
        self._starts = [0]
        for position, char in enumerate(self.text):
            if char == "\n":
                self._starts.append(position + 1)

    def offset(self, line: int, column: int) -> int:
        """Position in the text of a place given as the parser does: line from 1 and UTF-8 column in bytes."""
        if line > len(self._starts):
            return len(self.text)
        start = self.start(line)
        end = self.text.find("\n", start)
        row = self.text[start : end if end >= 0 else len(self.text)]
        return start + len(row.encode("utf-8", "replace")[: max(column, 0)].decode("utf-8", "ignore"))

    def start(self, line: int) -> int:
        """Position in the text of the beginning of a line, counted from 1."""
        return self._starts[line - 1]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column in the file, from 0, of a position in the text."""
        if self._outer is not None:
            return self._outer.place(self._offset + offset)
        if self._places is None:
            self._places = self.scalar.places()
        return self._places[min(max(offset, 0), len(self._places) - 1)]

    def error(self, start: int, end: int, message: str, hint: str = "") -> RuleError:
        """A fault over the characters `[start, end)` of the text."""
        line, column = self.place(start)
        last_line, last_column = self.place(max(start, end - 1))
        width = last_column - column + 1 if last_line == line else len(self.scalar.source.lines[line]) - column
        return self.scalar.source.error(line, column, message, hint, max(width, 1))

    def fail(self, node: ast.AST, message: str, hint: str = "") -> RuleError:
        """A fault of a syntax node."""
        start, end = self.span(node)
        return self.error(start, end, message, hint)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """First and last-plus-one character of a syntax node."""
        line: int = getattr(node, "lineno", 1)
        column: int = getattr(node, "col_offset", 1)
        end_line: int = getattr(node, "end_lineno", None) or line
        end_column: int = getattr(node, "end_col_offset", None) or column + 1
        shift = 1  # the bracket the text is parsed in
        start = self.offset(line, column - shift if line == 1 else column)
        return start, max(self.offset(end_line, end_column - shift if end_line == 1 else end_column), start + 1)

    def snippet(self, node: ast.AST) -> str:
        """The text of a syntax node, shortened."""
        start, end = self.span(node)
        piece = " ".join(self.text[start:end].split())
        return piece if len(piece) <= 40 else piece[:37] + "..."


def parse(text: Text) -> ast.expr:
    """The syntax tree of an expression. Raises `RuleError`; nothing of it is evaluated or compiled."""
    source = text.text
    if len(source) > EXPRESSION_CHARS_MAX:
        message = f"the expression has {len(source):,} characters; at most {EXPRESSION_CHARS_MAX:,} are allowed"
        raise text.error(0, 1, message, "split it into derived features")
    if not source.strip():
        raise text.error(0, 1, "the expression is empty")
    for position, char in enumerate(source):
        if not char.isprintable() and char not in "\n\t":
            raise text.error(position, position + 1, f"control character U+{ord(char):04X} in an expression")
    tree = _syntax(text)
    if not isinstance(tree, (ast.Tuple, ast.GeneratorExp)) and tree.lineno == 1 and tree.col_offset == 0:
        raise text.error(0, len(source), "unbalanced brackets")
    _bound(tree, text)
    if not source.isascii():
        _plain_names(text)
    return tree


def _syntax(text: Text) -> ast.expr:
    # In brackets, so that an expression may run over several lines as YAML blocks do.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(f"({text.text}\n)", mode="eval").body
        except SyntaxError as fault:
            line, column = fault.lineno or 1, max((fault.offset or 1) - 1, 0)
            start = text.offset(line, column - 1 if line == 1 else column)
            if start >= len(text.text.rstrip()):
                start = max(len(text.text.rstrip()) - 1, 0)
            raise text.error(start, start + 1, f"not an expression: {fault.msg}", _advice(text.text)) from None
        except (ValueError, OverflowError) as fault:
            raise text.error(0, len(text.text), f"not an expression: {fault}") from None
        except (RecursionError, MemoryError):
            raise text.error(0, 1, "the expression is nested too deeply") from None


def _plain_names(text: Text) -> None:
    """Refuse what the parser would take for a name in ASCII: it brings compatible characters (NFKC) to one form."""
    for token in tokenize.generate_tokens(io.StringIO(f"({text.text}\n)").readline):
        if token.type == tokenize.NAME and not token.string.isascii():
            line, column = token.start
            start = text.start(line) + column - (line == 1)
            message = f"'{token.string}' is not written in ASCII letters; only quoted text may have others"
            raise text.error(start, start + len(token.string), message)


def _advice(source: str) -> str:
    for written, meant in (("&&", "and"), ("||", "or"), ("<>", "!=")):
        if written in source:
            return f"write '{meant}' for '{written}'"
    if "=" in source.replace("==", "").replace(">=", "").replace("<=", "").replace("!=", ""):
        return "compare with '=='"
    return "write 'not' for '!'" if "!" in source.replace("!=", "") else ""


def _bound(tree: ast.expr, text: Text) -> None:
    nodes, level = 0, [(tree, 1)]
    while level:
        node, depth = level.pop()
        nodes += not isinstance(node, (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop))
        if nodes > EXPRESSION_NODES_MAX:
            message = f"the expression has more than {EXPRESSION_NODES_MAX} parts"
            raise text.error(0, len(text.text), message, "split it into derived features, or use a list")
        if depth > EXPRESSION_DEPTH_MAX:
            raise text.fail(node, f"the expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels")
        level.extend((child, depth + 1) for child in ast.iter_child_nodes(node))  # type: ignore[misc]


REFUSED: Final[dict[type[ast.AST], str]] = {
    ast.Lambda: "lambda",
    ast.ListComp: "comprehensions",
    ast.SetComp: "comprehensions",
    ast.DictComp: "comprehensions",
    ast.GeneratorExp: "comprehensions",
    ast.NamedExpr: "assignments",
    ast.JoinedStr: "f-strings",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Starred: "unpacking",
    ast.Dict: "dictionaries",
    ast.Subscript: "indexing",
    ast.Slice: "slices",
}
"""Syntax that gets its own message; anything else that is not on the whitelist is refused in general words."""


def refuse(node: ast.AST, text: Text) -> RuleError:
    """The fault of a syntax node that is no part of the language."""
    word = REFUSED.get(type(node))
    if word is not None:
        verb = "are" if word.endswith("s") else "is"
        return text.fail(node, f"{word} {verb} not part of the rule language")
    return text.fail(node, f"this is not part of the rule language: {text.snippet(node)}")
