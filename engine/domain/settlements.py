"""What a bank or acquirer says it has paid out or taken: one line of a settlement file, whatever its format."""

from typing import Final, Literal, NamedTuple, TypeAlias

Direction: TypeAlias = Literal["credit", "debit"]
CREDIT: Final = "credit"
DEBIT: Final = "debit"


class SettlementLine(NamedTuple):
    """One movement of money.

    Attributes:
        place: file and line, row or entry, for messages.
        line_id: the bank's own id of the line, "" where it gives none; a repeat of id and content is a duplicate.
        references: what may name the payment or refund, the most telling first.
        direction: credit is money to the merchant, debit money taken back.
        minor: amount in minor units, greater than zero.
        currency: ISO 4217 code.
        date: as the file has it.
    """

    place: str
    line_id: str
    references: tuple[str, ...]
    direction: Direction
    minor: int
    currency: str
    date: str = ""


class Unreadable(NamedTuple):
    """A line that makes no sense: where, and why."""

    place: str
    why: str


class Passed(NamedTuple):
    """A line that is left out on purpose: where, and why (a payout, a pending entry, an amount of zero)."""

    place: str
    why: str


Settled: TypeAlias = SettlementLine | Unreadable | Passed
