"""Which column of a settlement table means what: `--map` of `steward reconcile`.

    reference: [PAYMENT_REF, REFUND_REF]        # the most telling first
    amount: {column: GROSS, unit: minor}        # or major (the default); decimal: "," for 1.234,50
    currency: {const: EUR}
    direction: {column: TYPE, credit: [sale], debit: [refund, chargeback], pass: [fee, payout]}
    id: LINE_ID
    date: SETTLED_ON
    delimiter: ";"

Without `direction` the sign of the amount tells: what is negative is a debit.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.adapters.mapping import SourceError, load_yaml

KEYS: Final = ("reference", "amount", "currency", "direction", "id", "date", "delimiter")
OPTIONS: Final = {
    "amount": {"column", "unit", "decimal"},
    "currency": {"column", "const"},
    "direction": {"column", "credit", "debit", "pass"},
    "id": {"column"},
    "date": {"column"},
}
UNITS: Final = ("major", "minor")
CREDITS: Final = ("credit", "crdt", "c", "cr", "payment", "sale", "settlement", "settled", "capture")
DEBITS: Final = ("debit", "dbit", "d", "dr", "refund", "reversal", "chargeback")
REFERENCE_NAMES: Final = ("refund_id", "payment_id", "reference", "end_to_end_id")
NAMES: Final = {"direction": ("direction", "type"), "id": ("line_id", "id"), "date": ("date", "settled_on")}


@dataclass(frozen=True, slots=True)
class SettlementMapping:
    """A mapping; names of columns, "" for none.

    Attributes:
        currency_const: currency of every line, where no column tells it.
        minor: amounts are whole minor units.
        decimal: the sign before the decimals; the other of `.` and `,` may group thousands where it is a comma.
        credits, debits, passed: texts of the direction's column, lower case.
    """

    name: str
    references: tuple[str, ...]
    amount: str
    currency: str = ""
    currency_const: str = ""
    minor: bool = False
    decimal: str = "."
    direction: str = ""
    credits: frozenset[str] = field(default_factory=lambda: frozenset(CREDITS))
    debits: frozenset[str] = field(default_factory=lambda: frozenset(DEBITS))
    passed: frozenset[str] = frozenset()
    line_id: str = ""
    date: str = ""
    delimiter: str = ","

    @property
    def columns(self) -> list[str]:
        """Every column it needs."""
        named = (*self.references, self.amount, self.currency, self.direction, self.line_id, self.date)
        return [name for name in named if name]


def read_settlement_mapping(path: str) -> SettlementMapping:
    """Read a mapping. Raises `SourceError` naming what is wrong."""
    try:
        content = load_yaml(path, Path(path))
    except FileNotFoundError as error:
        raise SourceError(f"mapping {path}: {error}") from None
    return parse(path, content)


def parse(name: str, content: Any) -> SettlementMapping:
    """Check a mapping as loaded from YAML. Raises `SourceError`."""
    where = f"mapping {name}"
    if not isinstance(content, dict) or not {"reference", "amount", "currency"} <= set(content):
        raise SourceError(f"{where}: expected reference, amount and currency, and the columns they are in")
    unknown = sorted(str(key) for key in set(content) - set(KEYS))
    if unknown:
        raise SourceError(f"{where}: no key {unknown[0]!r}; known: {', '.join(KEYS)}")
    parts = {key: _options(where, key, content[key]) for key in OPTIONS if key in content}
    amount, currency, direction = parts["amount"], parts["currency"], parts.get("direction", {})
    if ("column" in currency) == ("const" in currency):
        raise SourceError(f"{where}: currency: give a column's name, {{column: NAME}} or {{const: EUR}}")
    for part, one in parts.items():
        if part != "currency" and "column" not in one:
            raise SourceError(f"{where}: {part}: give a column's name")
    _choice(where, "amount: unit", amount.get("unit", "major"), UNITS)
    _choice(where, "amount: decimal", amount.get("decimal", "."), (".", ","))
    _choice(where, "delimiter", content.get("delimiter", ","), (",", ";", "\t", "|"))
    return SettlementMapping(
        name,
        _texts(f"{where}: reference", content["reference"]),
        str(amount["column"]),
        str(currency.get("column", "")),
        str(currency.get("const", "")),
        amount.get("unit") == "minor",
        amount.get("decimal", "."),
        str(direction.get("column", "")),
        _lower(where, direction, "credit", CREDITS),
        _lower(where, direction, "debit", DEBITS),
        _lower(where, direction, "pass", ()),
        str(parts.get("id", {}).get("column", "")),
        str(parts.get("date", {}).get("column", "")),
        content.get("delimiter", ","),
    )


def fitting(columns: list[str]) -> SettlementMapping:
    """The mapping of a table whose columns have the usual names. Raises `SourceError`."""
    references = tuple(name for name in REFERENCE_NAMES if name in columns)
    lacking = [name for name in ("amount", "currency") if name not in columns]
    if not references or lacking:
        lacking += [] if references else ["payment_id"]
        raise SourceError(f"no column {lacking[0]!r}; say with --map FILE which columns mean what")
    direction, line_id, date = (next((n for n in names if n in columns), "") for names in NAMES.values())
    return SettlementMapping(
        "column names", references, "amount", "currency", direction=direction, line_id=line_id, date=date
    )


def _options(where: str, key: str, value: Any) -> dict[str, Any]:
    options = {"column": value} if isinstance(value, str) else value
    if not isinstance(options, dict) or set(options) - OPTIONS[key]:
        raise SourceError(f"{where}: {key}: a column's name, or options of {', '.join(sorted(OPTIONS[key]))}")
    if not isinstance(options.get("column", ""), str):
        raise SourceError(f"{where}: {key}: column must be a name in text")
    return options


def _choice(where: str, what: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SourceError(f"{where}: {what} must be one of {', '.join(map(repr, choices))}")


def _texts(where: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
        raise SourceError(f"{where}: a name, or a list of names")
    return tuple(texts)


def _lower(where: str, options: dict[str, Any], key: str, default: tuple[str, ...]) -> frozenset[str]:
    if key not in options:
        return frozenset(default)
    return frozenset(text.lower() for text in _texts(f"{where}: direction: {key}", options[key]))
