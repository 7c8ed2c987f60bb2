"""Functions of amounts in other currencies, at the exchange rates in force."""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.domain.money import MINOR_LIMIT
from engine.domain.rates import Rates
from engine.ruleset.errors import suggest
from engine.ruleset.functions.base import Function, number, text
from engine.ruleset.types import Kind

PAIRS_MAX: Final = 4_096  # pairs of currencies remembered, of a few sets of rates


@lru_cache(maxsize=PAIRS_MAX)
def _ratio(rates: Rates | None, source: str, target: str) -> tuple[Fraction, float] | None:
    """Minor units of `target` for one of `source`, exact, and major units as a float; None where there is no rate."""
    if source not in EXPONENTS or target not in EXPONENTS:
        return None
    if source == target:
        return Fraction(1), 1.0
    one, other = (None, None) if rates is None else (rates.ratio(source), rates.ratio(target))
    if one is None or other is None:
        return None
    minor = one / other
    return minor, float(minor * Fraction(10 ** EXPONENTS[source], 10 ** EXPONENTS[target]))


def _convert(rates: Rates | None, x: float, source: str, target: str) -> float:
    found = _ratio(rates, source, target)
    return math.nan if found is None else _finite(x * found[1])


def _in_currency(rates: Rates | None, amount: float, currency: str, code: str) -> float:
    """As `amount_base` is made: exact, then rounded to the minor unit, half to even."""
    found = _ratio(rates, currency, code)
    if found is None or not abs(amount) < MINOR_LIMIT:
        return math.nan
    minor = round(round(amount * 10.0 ** EXPONENTS[currency]) * found[0])
    return _finite(float(minor) / 10.0 ** EXPONENTS[code])


def _finite(x: float) -> float:
    return x + (x - x)


def _check(*literals: float | str | None) -> None:
    for code in literals:
        if isinstance(code, str) and code not in EXPONENTS:
            hint = suggest(code.upper(), list(EXPONENTS))
            raise ValueError(f"'{code}' is not a currency in use (ISO 4217)" + (f"; {hint}" if hint else ""))


FUNCTIONS: Final = (
    Function("in_currency", (number("amount"), text("currency"), text("code")), Kind.NUMBER, _in_currency,
             "the event's amount in another currency, to its minor unit; missing where there is no rate",
             "in_currency('USD') >= 1000", check=_check, fields=("amount", "currency"), rated=True),
    Function("convert", (number("x"), text("from"), text("to")), Kind.NUMBER, _convert,
             "an amount of one currency in another, not rounded; missing where there is no rate",
             "convert(cust_mean_30d, currency, 'EUR') > 100", check=_check, rated=True),
)  # fmt: skip
