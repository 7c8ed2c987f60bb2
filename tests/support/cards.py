"""Seeded card numbers of every common scheme, Luhn-valid, nobody's."""

import random

from engine.domain import pan

_SCHEMES = (
    ("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15),
    ("6011", 16), ("65", 16), ("644", 16), ("36", 14), ("305", 14), ("3528", 16), ("3589", 16), ("62", 16), ("62", 19),
    ("2200", 16), ("6759", 16), ("5018", 16), ("56", 16),
)  # fmt: skip


def card_number(source: random.Random) -> str:
    """A card number of a scheme drawn by `source`."""
    prefix, length = source.choice(_SCHEMES)
    body = prefix + "".join(source.choice("0123456789") for _ in range(length - len(prefix) - 1))
    return next(body + digit for digit in "0123456789" if pan.luhn(body + digit))
