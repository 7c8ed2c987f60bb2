"""One line of a settlement, its text checked."""

from engine.domain import reasons
from engine.domain.currencies import EXPONENTS
from engine.domain.money import MoneyError, to_minor
from engine.domain.settlements import Direction, Passed, Settled, SettlementLine, Unreadable


def line_of(
    place: str,
    line_id: str,
    references: tuple[str, ...],
    direction: Direction,
    amount: str,
    currency: str,
    date: str = "",
) -> Settled:
    """A line from its texts; `amount` in major units, without a sign. What makes no sense is `Unreadable`."""
    places = EXPONENTS.get(currency)
    if places is None:
        return Unreadable(place, f"{currency!r} is not a currency")
    try:
        minor = to_minor(amount, places)
    except MoneyError as error:
        if error.reason == reasons.AMOUNT_NOT_POSITIVE and not amount.startswith("-"):
            return Passed(place, "an amount of zero")
        return Unreadable(place, f"amount {amount[:40]!r}: {error.detail}")
    return SettlementLine(place, line_id, references, direction, minor, currency, date)
