"""Records to a columnar micro-batch: a compiled scan and one msgspec call, and the strict path for whatever is odd."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.directives import Directive
from engine.core.document import RECORD_BYTES_MAX, Refused
from engine.core.instants import parse_time
from engine.core.lexer import hash_bytes
from engine.core.rejects import Placed, Reject, reject
from engine.core.scan import FLAGGED, INEXACT, scan
from engine.core.scan_values import convert_base
from engine.core.strict import Row, read
from engine.domain import reasons
from engine.domain.currencies import CODES, code_index
from engine.domain.events import EVENT_CLASSES, ControlRates
from engine.domain.fields import (
    BOOL_FIELDS,
    BOOL_INDEX,
    MONEY_FIELDS,
    NUMBER_FIELDS,
    NUMBER_INDEX,
    STRING_FIELDS,
    STRING_INDEX,
)
from engine.domain.rates import Rates, RatesError
from engine.features.columns import Columns

_RATIO_MAX: Final = 2**61
_ANY: Any = Union[EVENT_CLASSES]  # noqa: UP007  a tuple, not a list of names


@dataclass(slots=True)
class Decoded:
    """What `decode` made of a batch; every record is in exactly one of rows, rejects and controls.

    Attributes:
        columns: the events, in order.
        index: the position of each row among the records, int64 `(n,)`.
        raw: JSON of each row without a clear card number: the record itself, or a canonical re-encoding.
        masked: a card number was masked in the row, bool `(n,)`.
        rejects: in order.
        controls: in order.
        rates: in force after its control events, for every row where those come first.
        first, offsets: offset of the batch's first record on the log, and of the record of each row, int64 `(n,)`; -1
            and None where nothing is stored.
    """

    columns: Columns
    index: NDArray[np.int64]
    raw: list[bytes]
    masked: NDArray[np.bool_]
    rejects: list[Reject] = field(default_factory=list)
    controls: list[Placed] = field(default_factory=list)
    rates: Rates | None = None
    first: int = -1
    offsets: NDArray[np.int64] | None = None


def empty_columns(n: int) -> Columns:
    """Columns of `n` events with every value missing."""
    return Columns(
        n=n,
        time_ms=np.zeros(n, np.int64),
        strings=np.zeros((len(STRING_FIELDS), n), np.uint64),
        numbers=np.full((len(NUMBER_FIELDS), n), np.nan),
        bools=np.full((len(BOOL_FIELDS), n), -1, np.int8),
        minor=np.zeros(n, np.int64),
        exponent=np.full(n, -1, np.int8),
        base_minor=np.zeros(n, np.int64),
        base_exponent=np.full(n, -1, np.int8),
        decides=np.zeros(n, np.bool_),
        late=np.zeros(n, np.bool_),
        events=[None] * n,
    )


class Decoder:
    """Decodes batches. Its only state is the rates in force, which `control.rates` events change."""

    def __init__(self, rates: Rates | None = None, *, strict_only: bool = False) -> None:
        """`strict_only` sends every record through the strict path: the oracle of the tests."""
        self.rates = rates
        self._strict_only = strict_only
        self._batch = msgspec.json.Decoder(list[_ANY])
        self._single = msgspec.json.Decoder(_ANY)
        self._tables: tuple[Rates, NDArray[np.int64], NDArray[np.int64]] | None = None

    def decode(self, records: Sequence[bytes | None]) -> Decoded:
        """Decode records (None for a tombstone). Never raises because of what a record holds."""
        n = len(records)
        work = _Work(records, empty_columns(n), np.full(n, -1, np.int32))
        left = range(n) if self._strict_only else self._fast(work)
        for index in left:
            try:
                outcome = read(records[index])
            except Refused as refused:
                work.refuse(index, refused.reason, refused.detail)
                continue
            if isinstance(outcome, Row):
                work.fill(index, outcome)
            else:
                work.controls.append((index, outcome))
        self._convert(work)
        return work.result(self.rates)

    def _fast(self, work: "_Work") -> list[int]:
        """Fill the rows of ordinary records; the indexes of the others, in order."""
        if not work.n:
            return []
        parts = [r if r is not None and len(r) <= RECORD_BYTES_MAX else b"" for r in work.records]
        joined = b"[" + b",".join(parts) + b"]"
        lengths = np.fromiter(map(len, parts), np.int64, work.n)
        ends = np.cumsum(lengths + 1)
        flags = np.zeros(work.n, np.uint8)
        odd = scan(np.frombuffer(joined, np.uint8), ends - lengths, ends, flags, work.columns, work.currency)
        if not joined.isascii():
            odd += _flag_invalid_utf8(parts, flags)
        if not odd:
            try:
                work.columns.events = self._batch.decode(joined)
                return []
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass
        self._events(work, parts, flags)
        left: list[int] = np.flatnonzero(flags == FLAGGED).tolist()
        work.clear(left)
        return left

    def _events(self, work: "_Work", parts: list[bytes], flags: NDArray[np.uint8]) -> None:
        """Decode the records that are not flagged: together, or one by one where that fails, flagging the culprits."""
        good = np.flatnonzero(flags != FLAGGED).tolist()
        try:
            decoded = self._batch.decode(b"[" + b",".join([parts[i] for i in good]) + b"]")
            for i, event in zip(good, decoded, strict=True):
                work.events[i] = event
        except (msgspec.MsgspecError, UnicodeDecodeError):
            for i in good:
                try:
                    work.events[i] = self._single.decode(parts[i])
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    flags[i] = FLAGGED
        for i in np.flatnonzero(flags == INEXACT).tolist():
            for name, row in NUMBER_INDEX.items():
                if name not in MONEY_FIELDS:
                    value = getattr(work.events[i], name)
                    work.columns.numbers[row, i] = np.nan if value is None else value

    def _convert(self, work: "_Work") -> None:
        """Fill `amount_base`, each stretch between two changes of the rates at the rates in force."""
        start = 0
        for index, directive in list(work.controls):
            if isinstance(directive.event, ControlRates):
                self._stretch(work, start, index)
                start = index
                try:
                    self._adopt(directive.event)
                except RatesError as error:
                    work.controls.remove((index, directive))
                    work.refuse(index, reasons.INVALID_RATES, str(error))
        self._stretch(work, start, work.n)

    def _adopt(self, event: ControlRates) -> None:
        since_ms = parse_time(event.event_time)
        base = event.base if isinstance(event.base, str) else (self.rates.base if self.rates else None)
        if base is None:
            raise RatesError("there is no base currency in force and the event names none")
        rates = Rates(base, event.rates, since_ms)
        if self.rates is None or since_ms >= self.rates.since_ms:
            self.rates = rates

    def _stretch(self, work: "_Work", start: int, end: int) -> None:
        rates = self.rates
        if rates is None or start == end:
            return
        if self._tables is None or self._tables[0] is not rates:
            self._tables = (rates, *_ratio_tables(rates))
        columns = work.columns
        converted = np.empty(end - start, np.int64)
        currency = work.currency[start:end]
        left = convert_base(columns.minor[start:end], currency, self._tables[1], self._tables[2], converted)
        if left:
            for i in np.flatnonzero(converted == -2).tolist():
                exact = rates.convert(int(columns.minor[start + i]), _currency(int(currency[i])))
                converted[i] = -1 if exact is None else exact
        found = converted >= 0
        columns.base_minor[start:end] = np.where(found, converted, 0)
        columns.base_exponent[start:end] = np.where(found, rates.exponent, -1)
        columns.numbers[NUMBER_INDEX["amount_base"], start:end] = np.where(
            found, converted / 10**rates.exponent, np.nan
        )


class _Work:
    """A batch being decoded; row i is record i until `result` leaves out those that are no rows."""

    def __init__(self, records: Sequence[bytes | None], columns: Columns, currency: NDArray[np.int32]) -> None:
        self.n = len(records)
        self.records = records
        self.columns = columns
        self.currency = currency
        self.raw: list[Any] = list(records)
        self.masked = np.zeros(self.n, np.bool_)
        self.rejects: list[Reject] = []
        self.controls: list[tuple[int, Directive]] = []

    @property
    def events(self) -> list[Any]:
        """The decoded messages, by record."""
        assert isinstance(self.columns.events, list)
        return self.columns.events

    def clear(self, rows: list[int]) -> None:
        """Take back what the scanner filled before it flagged the rows."""
        columns = self.columns
        columns.time_ms[rows] = 0
        columns.strings[:, rows] = 0
        columns.numbers[:, rows] = np.nan
        columns.bools[:, rows] = -1
        columns.minor[rows] = 0
        columns.exponent[rows] = -1
        self.currency[rows] = -1

    def refuse(self, index: int, reason: str, detail: str) -> None:
        """Reject a record."""
        self.rejects.append(reject(index, self.records[index], reason, detail))

    def fill(self, index: int, row: Row) -> None:
        """Fill the columns from a record that went the strict path."""
        columns = self.columns
        columns.time_ms[index] = row.time_ms
        for name, text in row.strings.items():
            columns.strings[STRING_INDEX[name], index] = hash_text(text)
        for name, number in row.numbers.items():
            columns.numbers[NUMBER_INDEX[name], index] = number
        for name, flag in row.bools.items():
            columns.bools[BOOL_INDEX[name], index] = flag
        columns.minor[index] = row.minor
        columns.exponent[index] = row.exponent
        self.currency[index] = code_index(row.strings.get("currency", ""))
        self.events[index] = row.event
        self.raw[index] = row.raw
        self.masked[index] = row.masked

    def result(self, rates: Rates | None) -> Decoded:
        """The rows alone."""
        if not self.rejects and not self.controls:
            return Decoded(self.columns, np.arange(self.n, dtype=np.int64), self.raw, self.masked, rates=rates)
        keep = np.ones(self.n, np.bool_)
        keep[[reject.index for reject in self.rejects]] = False
        keep[[index for index, _ in self.controls]] = False
        rows = np.flatnonzero(keep)
        before = np.cumsum(keep)
        return Decoded(
            columns=self.columns.take(rows),
            index=rows.astype(np.int64),
            raw=[self.raw[i] for i in rows.tolist()],
            masked=self.masked[rows],
            rejects=sorted(self.rejects, key=lambda reject: reject.index),
            controls=[self._placed(int(before[index]), index, directive) for index, directive in self.controls],
            rates=rates,
        )

    def _placed(self, row: int, index: int, directive: Directive) -> Placed:
        record = self.records[index] or b""
        raw = msgspec.json.encode(directive.event) if directive.masked else record
        return Placed(row, directive.event, index, record, raw)


def hash_text(text: str) -> int:
    """`engine.domain.hashing.hash64`, compiled."""
    data = text.encode()
    with np.errstate(over="ignore"):
        return int(hash_bytes(np.frombuffer(data, np.uint8), 0, len(data)))


def _flag_invalid_utf8(parts: list[bytes], flags: NDArray[np.uint8]) -> int:
    """Flag the records that are not UTF-8 (msgspec does not look inside fields it skips); how many."""
    found = 0
    for i, part in enumerate(parts):
        if not part.isascii():
            try:
                part.decode("utf-8")
            except UnicodeDecodeError:
                flags[i] = FLAGGED
                found += 1
    return found


def _currency(code: int) -> str:
    return "".join(chr(65 + letter) for letter in (code // 676, code // 26 % 26, code % 26))


def _ratio_tables(rates: Rates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numerators and denominators by `code_index`: 0/0 without a rate, 0/1 where they need more than 64 bits."""
    numerators = np.zeros(CODES, np.int64)
    denominators = np.zeros(CODES, np.int64)
    for currency in rates.currencies():
        ratio = rates.ratio(currency)
        assert ratio is not None
        fits = ratio.numerator < _RATIO_MAX and ratio.denominator < _RATIO_MAX
        numerators[code_index(currency)] = ratio.numerator if fits else 0
        denominators[code_index(currency)] = ratio.denominator if fits else 1
    return numerators, denominators
