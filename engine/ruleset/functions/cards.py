"""Functions of the first digits of a card number."""

from collections.abc import Callable
from typing import Final

from engine.domain.pan import scheme
from engine.ruleset.functions.base import Function, number, text
from engine.ruleset.types import Kind

DIGITS_MAX: Final = 8  # of a BIN, ISO/IEC 7812-1


def _check_bin(card_bin: str | None, digits: float | None) -> None:
    if digits is None or digits != int(digits) or not 1 <= digits <= DIGITS_MAX:
        raise ValueError(f"bin takes a whole number of digits from 1 to {DIGITS_MAX}")


def _prepare_bin(digits: float) -> Callable[[str], str | None]:
    count = int(digits)

    def first(card_bin: str) -> str | None:
        found = card_bin[:count]
        return found if len(found) == count and found.isascii() and found.isdigit() else None

    return first


def _bin(card_bin: str, digits: float) -> str | None:
    return _prepare_bin(digits)(card_bin)


FUNCTIONS: Final = (
    Function("bin", (text("card_bin"), number("digits", constant=True)), Kind.STRING, _bin,
             "the first `digits` digits; missing where it has fewer", "bin(card_bin, 6) in ['411111', '555555']",
             check=_check_bin, prepare=_prepare_bin),
    Function("card_scheme", (text("card_bin"),), Kind.STRING, scheme,
             "the scheme whose numbers begin so, such as `visa`, `mastercard`, `amex`; missing where there is none",
             "card_scheme(card_bin) == 'amex'"),
)  # fmt: skip
