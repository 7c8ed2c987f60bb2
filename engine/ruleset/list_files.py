"""Lists whose values stand in a file of their own: one a line, `#` begins a comment."""

from collections.abc import Mapping
from typing import Final

from engine.ruleset.errors import suggest
from engine.ruleset.files import LIST_SUFFIX
from engine.ruleset.lists import VALUES_MAX, ValueList
from engine.ruleset.reader import Reader, fail
from engine.ruleset.yaml_loader import Source

VALUE_CHARS_MAX: Final = 1_000


def file_name(reader: Reader) -> str:
    """The file a list names, relative to the rules directory and within it. Raises `RuleError`."""
    name, node = reader.text("file"), reader.need("file")
    if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise fail(node, f"'{name}' is not a path inside the rules directory", "relative to that directory, with /")
    if not name.endswith(LIST_SUFFIX):
        raise fail(node, f"the file of a list ends in {LIST_SUFFIX}")
    return name


def read_list(name: str, reader: Reader, files: Mapping[str, str]) -> ValueList:
    """A list declared with `file`; its values are text. Raises `RuleError`, in the list file where that is at fault."""
    path = file_name(reader)
    if path not in files:
        known = [other for other in files if other.endswith(LIST_SUFFIX)]
        raise fail(reader.need("file"), f"there is no file {path} in the rules directory", suggest(path, known))
    source = Source(path, files[path])
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(source.lines):
        value = _value(line)
        if not value:
            continue
        column = line.index(value)
        if len(value) > VALUE_CHARS_MAX:
            raise source.error(number, column, f"a value of {len(value):,} characters; at most {VALUE_CHARS_MAX:,}")
        if not value.isprintable():
            raise source.error(number, column, "a value with characters that cannot be seen", width=len(value))
        if value not in places and len(places) == VALUES_MAX:
            raise source.error(number, column, f"more than {VALUES_MAX:,} values")
        places.setdefault(value, (number, column))
    try:
        return ValueList(name, list(places))
    except ValueError as fault:
        culprit = next((value for value in places if str(fault).startswith(f"'{value}'")), None)
        if culprit is None:
            raise fail(reader.node, str(fault)) from None
        raise source.error(*places[culprit], str(fault), width=len(culprit)) from None


def _value(line: str) -> str:
    """What a line says, without its comment: a `#` at its beginning or behind a blank."""
    text = line.strip()
    if text.startswith("#"):
        return ""
    for mark in (" #", "\t#"):
        text = text.partition(mark)[0]
    return text.strip()
