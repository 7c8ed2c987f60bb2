"""Which reasons of a chargeback mean fraud: a dispute over goods is not fraud, and teaches nothing about it."""

from collections.abc import Iterable
from typing import Final

FRAUD_CODES: Final[dict[str, tuple[str, ...]]] = {
    "visa": ("10.1", "10.2", "10.3", "10.4", "10.5"),
    "mastercard": ("4837", "4840", "4849", "4863", "4870", "4871"),
    "american_express": ("F10", "F14", "F22", "F24", "F29", "F30", "F31", "FR2", "FR4", "FR6"),
    "discover": ("UA01", "UA02", "UA05", "UA06", "UA10", "UA11"),
    "jcb": ("546",),
    "any": ("FRAUD", "FRAUDULENT"),
}
"""Codes by scheme, as their chargeback guides list them under fraud. The codes of different schemes do not overlap."""

DEFAULT: Final = frozenset(code for codes in FRAUD_CODES.values() for code in codes)


def canonical(codes: Iterable[str]) -> frozenset[str]:
    """Codes as they are compared: no space around them, upper case."""
    return frozenset(code.strip().upper() for code in codes if code.strip())


def is_fraud(reason_code: str | None, codes: frozenset[str] = DEFAULT) -> bool:
    """Whether a chargeback with this reason says that the payment was fraud; without a reason it does not."""
    return reason_code is not None and reason_code.strip().upper() in codes
