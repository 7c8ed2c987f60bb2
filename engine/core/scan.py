"""The scanner: one compiled pass over the joined bytes of a batch that fills the columns of every ordinary record.

Per record it finds the known fields (`_fields`), then turns their exact text into columns (`_fill`): hashes of strings,
money in minor units, times in milliseconds. A record that is malformed, repeats a key, may hold a card number, or is
unusual in any other way gets a flag instead, and takes the strict path. What passes is valid JSON but for UTF-8, with
fields of the right JSON type; msgspec then checks what depends on the type of the event.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.lexer import (
    KEYS_MAX,
    WORK,
    Bytes,
    Keys,
    Work,
    add_key,
    byte,
    hash_bytes,
    key_hash,
    literal_end,
    may_hold_card,
    number_end,
    skip_blank,
    string_end,
    value_end,
)
from engine.core.scan_values import parse_amount, parse_number, parse_time_ms
from engine.domain import pan
from engine.domain.currencies import CODES, EXPONENTS, code_index
from engine.domain.fields import BOOL_INDEX, NUMBER_INDEX, STRING_FIELDS, STRING_INDEX
from engine.features.columns import Columns
from engine.features.jit import njit

CLEAN: Final = 0
FLAGGED: Final = 1
INEXACT: Final = 2
"""Accepted, but a float of the record has more digits than the scanner rounds exactly: take it from the event."""

# What is to be done with a field; the kinds up to CURRENCY are strings.
_STRING, _ID, _LONG_ID, _CARD, _TYPE, _CURRENCY, _AMOUNT, _NUMBER, _BOOL, _TIME, _VERSION, _FLAT = range(12)
_LONG_IDS: Final = ("event_id", "customer_id", "payment_id")
_REQUIRED: Final = ("event_id", "customer_id", "type", "event_time")
_BY_KIND: Final = {
    "type": _TYPE, "currency": _CURRENCY, "card_id": _CARD, "amount": _AMOUNT, "event_time": _TIME,
    "schema_version": _VERSION, "metadata": _FLAT, "attributes": _FLAT, "consent": _FLAT, "lat": _NUMBER,
    "lon": _NUMBER, "score": _NUMBER, "points": _NUMBER, "three_ds": _BOOL,
}  # fmt: skip
_NAMES: Final = (*STRING_FIELDS, *(name for name in _BY_KIND if name not in STRING_INDEX))
_SLOTS: Final = 512
_ID_BYTES_MAX: Final = 128
_STRING_BYTES_MAX: Final = 256

# Kinds of value.
_TEXT, _NUMERAL, _TRUE, _FALSE, _NULL, _NESTED = range(6)


def _kind(name: str) -> int:
    if name in _BY_KIND:
        return _BY_KIND[name]
    if name in _LONG_IDS:
        return _LONG_ID
    return _ID if name.endswith("_id") else _STRING


def _fnv(name: str) -> int:
    digest = 0xCBF29CE484222325
    for octet in name.encode():
        digest = (digest ^ octet) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def _lookup() -> tuple[NDArray[np.int64], int]:
    """A table without collisions from the key's hash to the field, and the shift that makes it one."""
    for shift in range(55):
        slots = [(_fnv(name) >> shift) % _SLOTS for name in _NAMES]
        if len(set(slots)) == len(slots):
            table = np.full(_SLOTS, -1, np.int64)
            table[slots] = range(len(_NAMES))
            return table, shift
    raise AssertionError("no shift keeps the field names apart: make the table larger")


def _column(name: str) -> int:
    for index in (STRING_INDEX, NUMBER_INDEX, BOOL_INDEX):
        if name in index:
            return index[name]
    return -1


_SLOT_FIELD, _shift = _lookup()
_SHIFT: Final = np.uint64(_shift)
_SLOT_MASK: Final = np.uint64(_SLOTS - 1)
_KINDS: Final = np.array([_kind(name) for name in _NAMES], np.int64)
_COLUMNS: Final = np.array([_column(name) for name in _NAMES], np.int64)
_NAME_BYTES: Final = np.frombuffer("".join(_NAMES).encode(), np.uint8)
_NAME_START: Final = np.cumsum([0, *(len(name) for name in _NAMES)])
_REQUIRED_BITS: Final = sum(1 << _NAMES.index(name) for name in _REQUIRED)
_AMOUNT_ROW: Final = NUMBER_INDEX["amount"]


def _exponents() -> NDArray[np.int8]:
    table = np.full(CODES, -1, np.int8)
    for currency, exponent in EXPONENTS.items():
        table[code_index(currency)] = exponent
    return table


_EXPONENT: Final = _exponents()
_POWERS: Final = np.array([10**i for i in range(5)], np.int64)


@njit
def _known(buf: Bytes, start: int, end: int, digest: np.uint64) -> int:
    """The field with this name, or -1."""
    found: int = _SLOT_FIELD[np.int64((digest >> _SHIFT) & _SLOT_MASK)]
    if found >= 0:
        first = _NAME_START[found]
        if _NAME_START[found + 1] - first != end - start:
            return -1
        for i in range(end - start):
            if buf[start + i] != _NAME_BYTES[first + i]:
                return -1
    return found


@njit
def _text_token(buf: Bytes, position: int, end: int, kind: int, work: Work) -> int:
    """Position of the closing quote of a known field's string, or -1 where the strict path must look."""
    close, digits, ascii_only = string_end(buf, position + 1, end)
    if close < 0:
        return -1
    if kind == _TIME or kind == _ID or kind == _LONG_ID:  # noqa: PLR1714, SIM109  a tuple would be walked
        return close if ascii_only else -1
    if kind == _CARD and not ascii_only:
        return -1
    if digits >= pan.DIGITS_MIN and may_hold_card(buf, position + 1, close, work):
        return -1
    return close


@njit
def _token(buf: Bytes, position: int, end: int, found: int, work: Work, at: int, keys: Keys, count: int) -> int:
    """Read a known field's value that is no string into `work[at:]`: field, kind of value, start, end.

    The position behind it, or -1.
    """
    kind = _KINDS[found]
    c = buf[position]
    work[at] = found
    work[at + 2] = position
    if c == 45 or 48 <= c <= 57:
        behind, whole, _ = number_end(buf, position, end)
        work[at + 1] = _NUMERAL
        if whole >= pan.DIGITS_MIN and kind != _TIME:
            return -1
    elif c == 123:
        behind = value_end(buf, position, end, work, keys, count) if kind == _FLAT else -1
        work[at + 1] = _NESTED
    else:
        behind = literal_end(buf, position, end)
        work[at + 1] = _TRUE if c == 116 else (_FALSE if c == 102 else _NULL)
    work[at + 3] = behind
    return behind


@njit
def _fields(buf: Bytes, position: int, end: int, work: Work, keys: Keys) -> int:
    """Read one record, an object and nothing else: how many tokens of known fields it has, or -1."""
    if buf[position] <= 32:
        position = skip_blank(buf, position, end)
    if position >= end or buf[position] != 123:
        return -1
    position += 1
    tokens_count = 0
    keys_count = 0
    while True:
        if buf[position] <= 32:
            position = skip_blank(buf, position, end)
        if position >= end or buf[position] != 34:
            return -1  # also an empty object, which lacks what is required
        close, digits, _ = string_end(buf, position + 1, end)
        if close < 0 or digits >= pan.DIGITS_MIN:
            return -1
        digest = key_hash(buf, position + 1, close)
        keys_count = add_key(keys, 0, keys_count, digest)
        found = _known(buf, position + 1, close, digest)
        position = close + 1
        if buf[position] <= 32:
            position = skip_blank(buf, position, end)
        if keys_count < 0 or position >= end or buf[position] != 58:
            return -1
        position = position + 1
        if buf[position] <= 32:
            position = skip_blank(buf, position, end)
        if position >= end:
            return -1
        if found < 0:
            position = value_end(buf, position, end, work, keys, keys_count)
        elif buf[position] == 34:
            close = _text_token(buf, position, end, _KINDS[found], work)
            if close < 0:
                return -1
            at = 4 * tokens_count
            work[at], work[at + 1], work[at + 2], work[at + 3] = found, _TEXT, position + 1, close
            position = close + 1
            tokens_count += 1
        else:
            position = _token(buf, position, end, found, work, 4 * tokens_count, keys, keys_count)
            tokens_count += 1
        if position < 0:
            return -1
        if buf[position] <= 32:
            position = skip_blank(buf, position, end)
        if position >= end:
            return -1
        if buf[position] == 125:
            break
        if buf[position] != 44:
            return -1
        position += 1
    return tokens_count if skip_blank(buf, position + 1, end) == end else -1


@njit
def _code(buf: Bytes, start: int, end: int) -> int:
    """Index of a currency in use, or -1."""
    if end - start != 3:
        return -1
    code = 0
    for position in range(start, end):
        letter = byte(buf, position) - 65
        if letter < 0 or letter > 25:
            return -1
        code = code * 26 + letter
    return code if _EXPONENT[code] >= 0 else -1


@njit
def _string(buf: Bytes, kind: int, start: int, end: int) -> bool:
    """Whether the length is one that the scanner may pass."""
    if kind == _LONG_ID:
        return 0 < end - start <= _ID_BYTES_MAX
    if kind == _TYPE and end - start > 7 and buf[start] == 99 and buf[start + 7] == 46:
        return False  # control.…
    return end - start <= _STRING_BYTES_MAX


@njit
def _fill(
    buf: Bytes,
    work: Work,
    count: int,
    row: int,
    strings: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    bools: NDArray[np.int8],
    time_ms: NDArray[np.int64],
    minor: NDArray[np.int64],
    exponent: NDArray[np.int8],
    currency: NDArray[np.int32],
) -> int:
    """Turn the tokens of a record into its row of the columns: `CLEAN`, `FLAGGED` or `INEXACT`."""
    present = 0
    amount = -1
    result = CLEAN
    for i in range(count):
        found, value, start, end = work[4 * i], work[4 * i + 1], work[4 * i + 2], work[4 * i + 3]
        if value == _NULL:
            continue
        kind, column = _KINDS[found], _COLUMNS[found]
        present |= 1 << found
        if kind <= _CURRENCY:
            if value != _TEXT or not _string(buf, kind, start, end):
                return FLAGGED
            strings[column, row] = hash_bytes(buf, start, end)
            if kind == _CURRENCY:
                currency[row] = _code(buf, start, end)
                if currency[row] < 0:
                    return FLAGGED
        elif kind == _TIME:
            time_ms[row] = parse_time_ms(buf, start, end, value == _TEXT) if value <= _NUMERAL else -1
            if time_ms[row] < 0:
                return FLAGGED
        elif kind == _AMOUNT:
            amount = 4 * i
        elif kind == _NUMBER:
            if value != _NUMERAL:
                return FLAGGED
            numbers[column, row] = parse_number(buf, start, end)
            if np.isnan(numbers[column, row]):
                result = INEXACT
        elif kind == _BOOL:
            if value not in (_TRUE, _FALSE):
                return FLAGGED
            bools[column, row] = 1 if value == _TRUE else 0
        elif kind == _VERSION:
            if value != _NUMERAL or end - start != 1 or buf[start] != 49:
                return FLAGGED
        elif value != _NESTED:
            return FLAGGED
    if present & _REQUIRED_BITS != _REQUIRED_BITS:
        return FLAGGED
    if amount >= 0:
        if currency[row] < 0 or work[amount + 1] > _NUMERAL:
            return FLAGGED
        digits = _EXPONENT[currency[row]]
        exact = parse_amount(buf, work[amount + 2], work[amount + 3], digits)
        if exact <= 0:
            return FLAGGED
        minor[row] = exact
        exponent[row] = digits
        numbers[_AMOUNT_ROW, row] = exact / _POWERS[digits]
    return result


@njit
def _scan(
    buf: Bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    flags: NDArray[np.uint8],
    strings: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    bools: NDArray[np.int8],
    time_ms: NDArray[np.int64],
    minor: NDArray[np.int64],
    exponent: NDArray[np.int8],
    currency: NDArray[np.int32],
) -> int:
    work = np.zeros(WORK, np.int64)
    keys = np.zeros(KEYS_MAX, np.uint64)
    odd = 0
    for row in range(len(starts)):
        count = _fields(buf, starts[row], ends[row], work, keys)
        flags[row] = FLAGGED
        if count > 0:
            flags[row] = _fill(buf, work, count, row, strings, numbers, bools, time_ms, minor, exponent, currency)
        odd += flags[row] != CLEAN
    return odd


def scan(
    buf: Bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    flags: NDArray[np.uint8],
    columns: Columns,
    currency: NDArray[np.int32],
) -> int:
    """Scan the records `buf[starts[i]:ends[i]]` into row i of `columns`, which must hold missing values.

    Sets `flags` to `CLEAN`, `INEXACT` or `FLAGGED` (the row is then partly filled and must be cleared), and `currency`,
    given as -1, to `code_index`. Returns how many rows are not `CLEAN`.
    """
    with np.errstate(over="ignore"):
        return _scan(
            buf, starts, ends, flags, columns.strings, columns.numbers, columns.bools, columns.time_ms,
            columns.minor, columns.exponent, currency,
        )  # fmt: skip
