"""Money, held exactly: integer minor units and the exponent of the currency."""

import re
from typing import Final

from engine.domain import reasons
from engine.domain.currencies import EXPONENTS

MINOR_LIMIT: Final = 10**15
"""Amounts of this many minor units and more are rejected: below it a binary float still holds every amount exactly."""

_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_EXPONENT_DIGITS_MAX: Final = 6


class MoneyError(ValueError):
    """An amount that is refused; `reason` is one of the `AMOUNT_*` codes of `engine.domain.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def exponent(currency: str) -> int | None:
    """Decimal digits of the currency's minor unit (EUR 2, JPY 0, KWD 3), or None where the code is not in use."""
    return EXPONENTS.get(currency)


def to_minor(text: str, exponent: int, *, number: bool = False) -> int:
    """The exact minor units of an amount.

    `text` is a plain decimal (`-?[0-9]+(.[0-9]+)?`), or with `number` the text of a JSON number, which may have an
    exponent. Precision is judged by value, so 12.340 EUR is fine and 12.345 is not. Raises `MoneyError` on anything
    malformed, not positive, more precise than the minor unit, or of `MINOR_LIMIT` and more.
    """
    sign, digits, scale = _parts(text, number)
    digits = digits.lstrip("0")
    if not digits or sign:
        raise MoneyError(reasons.AMOUNT_NOT_POSITIVE, "the amount must be greater than zero")
    stripped = digits.rstrip("0")
    power = exponent - scale + len(digits) - len(stripped)
    if power < 0:
        raise MoneyError(reasons.AMOUNT_OVER_PRECISE, f"the currency has {exponent} decimal digits, the amount more")
    if len(stripped) + power > 15:
        raise MoneyError(reasons.AMOUNT_TOO_LARGE, "the amount has 10^15 minor units or more")
    return int(stripped) * int(10**power)


def _parts(text: str, number: bool) -> tuple[str, str, int]:
    """Sign, digits and scale: the value is `sign digits / 10^scale`."""
    if _NOT_FINITE.fullmatch(text):
        raise MoneyError(reasons.AMOUNT_NOT_FINITE, "the amount is not a finite number")
    match = (_NUMBER if number else _DECIMAL).fullmatch(text)
    if match is None:
        raise MoneyError(reasons.AMOUNT_MALFORMED, "an amount is digits, or digits, a point and digits")
    if not number:
        sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
        return sign, whole + fraction, len(fraction)
    sign, whole, fraction, power = match.group(1), match.group(2), match.group(3) or "", match.group(4) or "0"
    if len(power.lstrip("+-0")) > _EXPONENT_DIGITS_MAX:
        if not (whole + fraction).strip("0"):
            return sign, "", 0
        small = power.startswith("-")
        reason = reasons.AMOUNT_OVER_PRECISE if small else reasons.AMOUNT_TOO_LARGE
        raise MoneyError(reasons.AMOUNT_NOT_POSITIVE if sign else reason, "the amount's exponent is out of range")
    return sign, whole + fraction, len(fraction) - int(power)


def format_minor(minor: int, exponent: int) -> str:
    """Minor units as a plain decimal in major units: `format_minor(1234, 2) == "12.34"`."""
    if exponent == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    digits = str(abs(minor)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"
