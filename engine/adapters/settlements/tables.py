"""CSV and Parquet settlement files, row by row; every cell is taken as text, so amounts stay exact."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, Final

from engine.adapters.mapping import SourceError
from engine.adapters.settlements.amounts import line_of
from engine.adapters.settlements.mapping import SettlementMapping, fitting
from engine.adapters.tabular import arrow
from engine.domain.currencies import EXPONENTS
from engine.domain.money import format_minor
from engine.domain.settlements import CREDIT, DEBIT, Direction, Passed, Settled, Unreadable

BATCH_ROWS: Final = 16_384
CELL_CHARS_MAX: Final = 1 << 16
"""Of one cell of a CSV file; a quote that is never closed would swallow the whole file otherwise."""
_GROUPED: Final = re.compile(r"-?\d{1,3}(\.\d{3})+(,\d+)?")


class _Table:
    """Turns rows of texts into lines."""

    def __init__(self, path: str, names: list[str], mapping: SettlementMapping | None) -> None:
        try:
            chosen = mapping or fitting(names)
        except SourceError as error:
            raise SourceError(f"{path}: {error}; it has {', '.join(names[:30])}") from None
        for column in chosen.columns:
            if names.count(column) != 1:
                problem = "no column" if column not in names else "more than one column"
                raise SourceError(f"{path}: {problem} {column!r}, which mapping {chosen.name} needs")
        self.mapping = chosen
        self._at = {name: names.index(name) for name in chosen.columns}

    def line(self, place: str, cells: Sequence[str]) -> Settled:
        """A row as a line."""
        mapping = self.mapping
        amount = self._cell(cells, mapping.amount).replace(" ", "")
        if mapping.decimal == ",":
            amount = (amount.replace(".", "") if _GROUPED.fullmatch(amount) else amount).replace(",", ".")
        negative = amount.startswith("-")
        direction: Direction = DEBIT if negative else CREDIT
        if mapping.direction:
            told = self._cell(cells, mapping.direction).lower()
            if told in mapping.passed:
                return Passed(place, f"{mapping.direction} is {told}")
            if told not in mapping.credits and told not in mapping.debits:
                return Unreadable(place, f"{mapping.direction} {told[:40]!r} is neither a credit nor a debit")
            direction = CREDIT if told in mapping.credits else DEBIT
            if negative and direction == CREDIT:
                return Unreadable(place, f"a credit of {amount[:40]}")
        currency = mapping.currency_const or self._cell(cells, mapping.currency).upper()
        amount = amount.removeprefix("-").removeprefix("+")
        if mapping.minor and currency in EXPONENTS:
            if not amount.isdecimal() or not amount.isascii() or len(amount) > 18:
                return Unreadable(place, f"amount {amount[:40]!r}: not a whole number of minor units")
            amount = format_minor(int(amount), EXPONENTS[currency])
        references = tuple(dict.fromkeys(text for name in mapping.references if (text := self._cell(cells, name))))
        line_id = self._cell(cells, mapping.line_id)
        return line_of(place, line_id, references, direction, amount, currency, self._cell(cells, mapping.date))

    def _cell(self, cells: Sequence[str], name: str) -> str:
        return cells[self._at[name]].strip() if name else ""


def read_csv(path: str, stream: BinaryIO, mapping: SettlementMapping | None) -> Iterator[Settled]:
    """The lines of a CSV file in UTF-8 with a header. Raises `SourceError`."""
    limit = csv.field_size_limit(CELL_CHARS_MAX)
    try:
        # Text that is no UTF-8 names no payment of ours; it must not keep the other lines from being read.
        with io.TextIOWrapper(stream, "utf-8-sig", "replace", newline="") as text:
            yield from _rows(path, text, mapping)
    finally:
        csv.field_size_limit(limit)


def _rows(path: str, text: io.TextIOWrapper, mapping: SettlementMapping | None) -> Iterator[Settled]:
    rows = csv.reader(text, delimiter=mapping.delimiter if mapping else ",", strict=True)
    try:
        names = next(rows, None)
        if not names:
            raise SourceError(f"{path}: no header line of column names")
        table = _Table(path, [name.strip() for name in names], mapping)
        for cells in rows:
            place = f"{path}:{rows.line_num}"
            if len(cells) == len(names):
                yield table.line(place, cells)
            elif cells:
                yield Unreadable(place, f"{len(cells)} cells under {len(names)} columns")
    except csv.Error as error:
        raise SourceError(f"{path}:{rows.line_num}: {error}") from None


def read_parquet(path: str, mapping: SettlementMapping | None) -> Iterator[Settled]:
    """The rows of a Parquet file. Raises `SourceError`."""
    pa = arrow(path)
    try:
        file = pa.parquet.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: not a readable Parquet file: {error}") from None
    with file:
        table = _Table(path, list(file.schema_arrow.names), mapping)
        columns = list(dict.fromkeys(table.mapping.columns))
        _exact(pa, path, file.schema_arrow.field(table.mapping.amount).type)
        narrow = _Table(path, columns, table.mapping)
        row = 0
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                texts = [[_text(cell) for cell in batch.column(name).to_pylist()] for name in columns]
                for cells in zip(*texts, strict=True):
                    row += 1
                    yield narrow.line(f"{path}: row {row}", cells)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path}: unreadable after row {row}: {error}") from None


def _exact(pa: Any, path: str, kind: Any) -> None:
    """Amounts of binary floating point are refused: what they were meant to be is not known for sure."""
    if pa.types.is_floating(kind):
        raise SourceError(f"{path}: amounts are {kind}, which is not exact; store decimals, text or minor units")


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return format(cell, "f")
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
