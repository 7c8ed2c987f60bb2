"""Functions of text. They read characters, so they run row by row; put cheap conditions before them or not: the
evaluators run them last either way."""

import math
import re
from collections.abc import Callable
from typing import Final

import re2

from engine.ruleset.functions.base import Function, text
from engine.ruleset.types import Kind

PATTERN_CHARS_MAX: Final = 500
PATTERN_MEMORY_BYTES_MAX: Final = 1 << 20  # of the compiled program; re2 refuses a pattern that needs more
PATTERN_STEPS_MAX: Final = 1_000
"""Instructions of the compiled program. A search takes up to so many steps a character (some 30 ns each) once re2's
automaton outgrows its memory; 500 characters without repetition stay below."""
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_NUMBER_CHARS_MAX: Final = 40


def _options() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    return options


def _check_matches(subject: str | None, pattern: str | None) -> None:
    if pattern is None:
        return
    if len(pattern) > PATTERN_CHARS_MAX:
        raise ValueError(f"the pattern has {len(pattern):,} characters; at most {PATTERN_CHARS_MAX} are allowed")
    try:
        steps = re2.compile(pattern, _options()).programsize
    except re2.error as fault:
        said = fault.args[0] if fault.args else ""
        message = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"bad pattern: {message} (linear-time regex: no look-around, no back-references)") from None
    if steps > PATTERN_STEPS_MAX:
        raise ValueError(
            f"the pattern is too large when compiled: {steps:,} steps, at most {PATTERN_STEPS_MAX:,} are allowed; "
            "shorten its repetitions and classes"
        )


def _prepare_matches(pattern: str) -> Callable[[str], bool]:
    search = re2.compile(pattern, _options()).search

    def matches(subject: str) -> bool:
        try:
            return search(subject) is not None
        except UnicodeEncodeError:  # half a character, which JSON can spell and UTF-8 cannot
            return search(subject.encode("utf-8", "replace").decode()) is not None

    return matches


def _matches(subject: str, pattern: str) -> bool:
    return _prepare_matches(pattern)(subject)


def to_number(subject: str) -> float:
    """The number a text spells, NaN where it spells none."""
    if len(subject) > _NUMBER_CHARS_MAX or not _NUMBER.fullmatch(subject):
        return math.nan
    value = float(subject)
    return value if math.isfinite(value) else math.nan


_S: Final = (text("text"),)

FUNCTIONS: Final = (
    Function("lower", _S, Kind.STRING, str.lower, "in lower case", "lower(method) == 'card'"),
    Function("upper", _S, Kind.STRING, str.upper, "in upper case", "upper(channel) == 'WEB'"),
    Function("length", _S, Kind.NUMBER, lambda s: float(len(s)), "number of characters", "length(card_bin) < 6"),
    Function("startswith", (text("text"), text("prefix")), Kind.COND, str.startswith,
             "begins with `prefix`", "startswith(card_bin, '4')"),
    Function("endswith", (text("text"), text("suffix")), Kind.COND, str.endswith,
             "ends with `suffix`", "endswith(merchant_id, '-test')"),
    Function("contains", (text("text"), text("part")), Kind.COND, str.__contains__,
             "has `part` somewhere in it", "contains(lower(merchant_id), 'casino')"),
    Function("matches", (text("text"), text("pattern", constant=True)), Kind.COND, _matches,
             "the regular expression is found in it (RE2 syntax, linear time; anchor with `^` and `$`)",
             "matches(card_bin, '^4[0-9]{5}$')", check=_check_matches, prepare=_prepare_matches),
)  # fmt: skip

TO_NUMBER: Final = Function("number", _S, Kind.NUMBER, to_number, "the number a text spells", "number(card_bin)")
