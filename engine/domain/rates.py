"""Exchange rates in force, and amounts in the base currency."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from engine.domain.currencies import EXPONENTS
from engine.domain.money import MINOR_LIMIT

_RATE: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


class RatesError(ValueError):
    """Rates that are not usable; the message says why."""


class Rates:
    """A base currency and how much of each other currency one unit of it buys, as exact decimals.

    With base EUR and USD at 1.085, an amount of 10.85 USD is 10.00 EUR. `since_ms` is the event time of the
    `control.rates` event they came from, 0 for those of a file. Immutable.
    """

    __slots__ = ("_ratios", "base", "exponent", "rates", "since_ms")

    def __init__(self, base: str, rates: Mapping[str, str | int | float], since_ms: int = 0) -> None:
        """Raises `RatesError` on a currency that is not in use or a rate that is not a positive plain decimal."""
        if base not in EXPONENTS:
            raise RatesError(f"base currency {base[:8]!r} is not an ISO 4217 code in use")
        self.base = base
        self.exponent = EXPONENTS[base]
        self.rates = {currency: str(rate) for currency, rate in sorted(rates.items())}
        self.since_ms = since_ms
        self._ratios = {currency: self._ratio(currency, rate) for currency, rate in self.rates.items()}
        self._ratios[base] = Fraction(1)

    @classmethod
    def from_dict(cls, data: Any) -> "Rates":
        """Rates from JSON data: `{"base": "EUR", "rates": {"USD": "1.085"}}`, as `to_dict` writes it."""
        if not isinstance(data, Mapping) or not isinstance(data.get("base"), str):
            raise RatesError('rates are an object with "base" and "rates"')
        rates = data.get("rates")
        if not isinstance(rates, Mapping) or not all(isinstance(key, str) for key in rates):
            raise RatesError('"rates" is an object of currency to decimal')
        since_ms = data.get("since_ms", 0)
        if not isinstance(since_ms, int):
            raise RatesError('"since_ms" is an integer')
        return cls(data["base"], rates, since_ms)

    def to_dict(self) -> dict[str, Any]:
        """The rates as JSON data, for `from_dict`."""
        return {"base": self.base, "rates": dict(self.rates), "since_ms": self.since_ms}

    def currencies(self) -> list[str]:
        """The currencies with a rate, the base among them, sorted."""
        return sorted(self._ratios)

    def ratio(self, currency: str) -> Fraction | None:
        """Base minor units for one minor unit of `currency`, exact; None where there is no rate."""
        return self._ratios.get(currency)

    def convert(self, minor: int, currency: str) -> int | None:
        """Minor units of the base currency, rounded half to even; None without a rate or from `MINOR_LIMIT` on."""
        ratio = self._ratios.get(currency)
        if ratio is None:
            return None
        converted = round(minor * ratio)
        return converted if converted < MINOR_LIMIT else None

    def _ratio(self, currency: str, rate: str) -> Fraction:
        if currency not in EXPONENTS:
            raise RatesError(f"currency {currency[:8]!r} is not an ISO 4217 code in use")
        value = Fraction(rate) if _RATE.fullmatch(rate) else Fraction(0)
        if not Fraction(1, 10**15) <= value <= 10**15:
            raise RatesError(f"the rate of {currency} is not a positive decimal")
        if currency == self.base and value != 1:
            raise RatesError("the rate of the base currency is 1")
        return Fraction(10**self.exponent, 10 ** EXPONENTS[currency]) / value
