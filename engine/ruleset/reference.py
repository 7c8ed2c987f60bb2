"""The function table of docs/rules.md, written from the registry: `python -m engine.ruleset.reference`."""

import sys
from pathlib import Path
from typing import Final

from engine.ruleset.functions import BUILTINS, REGISTRY

START: Final = "<!-- functions: written by engine.ruleset.reference, checked by tests/ruleset/test_docs.py -->\n"
END: Final = "<!-- end -->"


def table() -> str:
    """The functions as a Markdown table: builtins first, then the registry in its order."""
    rows = [(signature, doc, example) for signature, doc, example in BUILTINS.values()]
    rows += [(function.signature, function.doc, function.example) for function in REGISTRY.values()]
    lines = ["| function | gives | example |", "|---|---|---|"]
    lines += [f"| `{signature}` | {doc} | `{example}` |" for signature, doc, example in rows]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """A page with its function table brought up to date. Raises `ValueError` where the page has no place for it."""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError("the page has no marks around a function table")
    return head + START + table() + END + tail


def main() -> int:
    """Rewrite docs/rules.md."""
    page = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
    page.write_text(with_table(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
