"""Kernels over the bytes of JSON: strings, numbers, nested values, and the hash of a span.

Positions are byte offsets into the joined batch. A kernel answers -1 for whatever is broken or merely out of the
ordinary (escapes, control characters, odd numbers): such records go the strict path, which decides. With the JIT off
these run as plain Python under `np.errstate(over="ignore")`, for SipHash wraps around.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain import hashing, pan
from engine.domain.limits import ENTRIES_MAX, KEY_CHARS_MAX
from engine.features.jit import njit

Bytes = NDArray[np.uint8]
Keys = NDArray[np.uint64]
Work = NDArray[np.int64]
"""Scratch space of `WORK` integers: tokens of fields (four each), the stack of open containers, digits of a card."""

DEPTH_MAX: Final = 8
TOKENS_MAX: Final = 64
STACK_AT: Final = TOKENS_MAX * 4
DIGITS_AT: Final = STACK_AT + 2 * (DEPTH_MAX + 2)
WORK: Final = DIGITS_AT + 32
KEYS_MAX: Final = 96
"""Keys of one record the duplicate check holds at a time; more go the strict path."""
NESTED_BYTES_MAX: Final = 256
"""Longer strings inside nested values go the strict path, which knows the limits in characters."""

PLAIN: Final = 0
DIGIT: Final = 1
SEPARATOR: Final = 2
NON_ASCII: Final = 3
QUOTE: Final = 4
ODD: Final = 5

_V0: Final = np.uint64(hashing.INITIAL[0] ^ hashing.K0)
_V1: Final = np.uint64(hashing.INITIAL[1] ^ hashing.K1)
_V2: Final = np.uint64(hashing.INITIAL[2] ^ hashing.K0)
_V3: Final = np.uint64(hashing.INITIAL[3] ^ hashing.K1)
_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)


def _classes() -> NDArray[np.uint8]:
    table = np.full(256, PLAIN, np.uint8)
    table[0x30:0x3A] = DIGIT
    table[[0x20, 0x2D]] = SEPARATOR
    table[0x22] = QUOTE
    table[0x00:0x20] = ODD
    table[[0x5C, 0x7F]] = ODD
    table[0x80:] = NON_ASCII
    return table


def _blanks() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[[0x20, 0x0A, 0x0D, 0x09]] = 1
    return table


def _prefix_lengths() -> NDArray[np.int64]:
    """For every four-digit prefix a bit for each length a card number with it may have."""
    table = np.zeros(10_000, np.int64)
    for prefix, lengths in pan.WHOLE_LENGTHS.items():
        for length in lengths:
            table[int(prefix)] |= 1 << length
    return table


CLASSES: Final = _classes()
BLANK: Final = _blanks()
KEEPS_RUN: Final = np.where(CLASSES == PLAIN, 0, -1).astype(np.int64)
IS_DIGIT: Final = (CLASSES == DIGIT).astype(np.int64)
IS_BEYOND: Final = (CLASSES == NON_ASCII).astype(np.int64)
PREFIX_LENGTHS: Final = _prefix_lengths()


@njit
def byte(buf: Bytes, position: int) -> int:
    """One byte as a signed integer: numba turns mixed signed and unsigned arithmetic into floats."""
    return np.int64(buf[position])  # type: ignore[return-value]


@njit
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 = v0 + v1
    v1 = ((v1 << np.uint64(13)) | (v1 >> np.uint64(51))) ^ v0
    v0 = (v0 << np.uint64(32)) | (v0 >> np.uint64(32))
    v2 = v2 + v3
    v3 = ((v3 << np.uint64(16)) | (v3 >> np.uint64(48))) ^ v2
    v0 = v0 + v3
    v3 = ((v3 << np.uint64(21)) | (v3 >> np.uint64(43))) ^ v0
    v2 = v2 + v1
    v1 = ((v1 << np.uint64(17)) | (v1 >> np.uint64(47))) ^ v2
    v2 = (v2 << np.uint64(32)) | (v2 >> np.uint64(32))
    return v0, v1, v2, v3


@njit
def hash_bytes(buf: Bytes, start: int, end: int) -> np.uint64:
    """SipHash-1-3 of `buf[start:end]`, never 0: the compiled twin of `engine.domain.hashing.hash64`."""
    v0, v1, v2, v3 = _V0, _V1, _V2, _V3
    position = start
    while position + 8 <= end:
        word = np.uint64(0)
        for i in range(8):
            word |= np.uint64(buf[position + i]) << np.uint64(8 * i)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        position += 8
    word = np.uint64((end - start) & 0xFF) << np.uint64(56)
    for i in range(end - position):
        word |= np.uint64(buf[position + i]) << np.uint64(8 * i)
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    digest = v0 ^ v1 ^ v2 ^ v3
    return digest if digest != np.uint64(0) else np.uint64(1)


@njit
def key_hash(buf: Bytes, start: int, end: int) -> np.uint64:
    """FNV-1a of a key: enough to find known fields (then compared byte by byte) and to suspect duplicates."""
    digest = _FNV_OFFSET
    for position in range(start, end):
        digest = (digest ^ np.uint64(buf[position])) * _FNV_PRIME
    return digest


@njit
def skip_blank(buf: Bytes, position: int, end: int) -> int:
    """The first position from here on that is not JSON white space.

    Callers look at the byte first, for the call costs more than the look. They may look at `buf[end]`: the byte behind
    a record is the comma or bracket that joins it to the next.
    """
    while position < end:
        c = buf[position]
        if c > 32 or BLANK[c] == 0:
            break
        position += 1
    return position


@njit
def string_end(buf: Bytes, position: int, end: int) -> tuple[int, int, bool]:
    """From behind the opening quote: position of the closing one or -1, the longest run of digits, all ASCII.

    Blanks, dashes and bytes beyond ASCII do not end a run, so a run of fewer than 12 digits holds no card number.
    """
    run = 0
    longest = 0
    seen = 0
    while position < end:  # one branch a byte: mispredicted ones would cost more than all the rest
        c = buf[position]
        kind = CLASSES[c]
        if kind >= QUOTE:
            break
        run = (run & KEEPS_RUN[c]) + IS_DIGIT[c]
        longest = max(longest, run)
        seen |= IS_BEYOND[c]
        position += 1
    if position >= end or buf[position] != 34:
        return -1, longest, seen == 0
    return position, longest, seen == 0


@njit
def may_hold_card(buf: Bytes, start: int, end: int, work: Work) -> bool:
    """Whether digits of the span, with any separators between them, could be a card number. Never a false no."""
    for first in range(start, end):
        if CLASSES[buf[first]] != DIGIT:
            continue
        count = 0
        position = first
        while position < end and count < pan.DIGITS_MAX:
            kind = CLASSES[buf[position]]
            if kind == PLAIN:
                break
            if kind == DIGIT:
                work[DIGITS_AT + count] = byte(buf, position) - 48
                count += 1
            position += 1
        if count >= pan.DIGITS_MIN and _any_length(work, count):
            return True
    return False


@njit
def _any_length(work: Work, count: int) -> bool:
    """Whether a card number of any length begins at the first of these digits."""
    prefix = 0
    for i in range(4):
        prefix = prefix * 10 + work[DIGITS_AT + i]
    lengths = PREFIX_LENGTHS[prefix]
    for length in range(pan.DIGITS_MIN, count + 1):
        if (lengths >> length) & 1:
            total = 0
            for i in range(length):
                value = work[DIGITS_AT + length - 1 - i]
                if i & 1:
                    value = value * 2 if value < 5 else value * 2 - 9
                total += value
            if total % 10 == 0:
                return True
    return False


@njit
def number_end(buf: Bytes, position: int, end: int) -> tuple[int, int, bool]:
    """Position behind a JSON number without exponent, its digits before the point, has a fraction; or position -1."""
    if position < end and buf[position] == 45:
        position += 1
    first = position
    while position < end and 48 <= buf[position] <= 57:
        position += 1
    whole = position - first
    if whole == 0 or (whole > 1 and buf[first] == 48):
        return -1, whole, False
    fraction = False
    if position < end and buf[position] == 46:
        fraction = True
        position += 1
        first = position
        while position < end and 48 <= buf[position] <= 57:
            position += 1
        if position == first:
            return -1, whole, fraction
    if position < end and (buf[position] == 69 or buf[position] == 101):
        return -1, whole, fraction
    return position, whole, fraction


@njit
def literal_end(buf: Bytes, position: int, end: int) -> int:
    """Position behind `true`, `false` or `null`, or -1."""
    left = end - position
    c = buf[position]
    if left >= 4 and c == 116 and buf[position + 1] == 114 and buf[position + 2] == 117 and buf[position + 3] == 101:
        return position + 4
    if left >= 4 and c == 110 and buf[position + 1] == 117 and buf[position + 2] == 108 and buf[position + 3] == 108:
        return position + 4
    if left >= 5 and c == 102 and buf[position + 1] == 97 and buf[position + 2] == 108 and buf[position + 3] == 115:
        return position + 5 if buf[position + 4] == 101 else -1
    return -1


@njit
def scalar_end(buf: Bytes, position: int, end: int, work: Work) -> int:
    """Position behind a string, number or literal that cannot hold a card number, or -1."""
    if buf[position] == 34:
        close, digits, _ = string_end(buf, position + 1, end)
        if close < 0 or close - position > NESTED_BYTES_MAX:
            return -1
        if digits >= pan.DIGITS_MIN and may_hold_card(buf, position + 1, close, work):
            return -1
        return close + 1
    if buf[position] == 45 or 48 <= buf[position] <= 57:
        behind, whole, _ = number_end(buf, position, end)
        return behind if whole < pan.DIGITS_MIN else -1
    return literal_end(buf, position, end)


@njit
def add_key(keys: Keys, first: int, count: int, digest: np.uint64) -> int:
    """Add a key to those of its object, `keys[first:count]`: the new count, or -1 for a repeat or too many."""
    if count >= KEYS_MAX:
        return -1
    for i in range(first, count):
        if keys[i] == digest:
            return -1
    keys[count] = digest
    return count + 1


@njit
def value_end(buf: Bytes, position: int, end: int, work: Work, keys: Keys, taken: int) -> int:
    """Position behind any JSON value inside the top-level object, or -1; `keys[taken:]` is scratch space."""
    depth = 1
    closing = 0  # the byte that closes the innermost container
    count = taken
    state = 0  # 0 a value, 1 a value or `]`, 2 a key, 3 a key or `}`, 4 behind a value
    while position < end:
        if buf[position] <= 32:
            position = skip_blank(buf, position, end)
        if position >= end:
            return -1
        c = buf[position]
        if state == 4:
            if c == 44:
                state = 2 if closing == 125 else 0
                position += 1
                continue
            if c != closing:
                return -1
        if state == 4 or (state == 1 and c == 93) or (state == 3 and c == 125):
            count = work[STACK_AT + 2 * depth]
            depth -= 1
            closing = work[STACK_AT + 2 * depth + 1]
            position += 1
        elif state >= 2:
            position, count = _key(buf, position, end, work, keys, work[STACK_AT + 2 * depth], count)
            if position < 0:
                return -1
            state = 0
            continue
        elif c == 123 or c == 91:  # noqa: PLR1714  a tuple would be walked at run time
            depth += 1
            if depth > DEPTH_MAX:
                return -1
            closing = byte(buf, position) + 2
            work[STACK_AT + 2 * depth] = count
            work[STACK_AT + 2 * depth + 1] = closing
            position += 1
            state = 3 if c == 123 else 1
            continue
        else:
            position = scalar_end(buf, position, end, work)
            if position < 0:
                return -1
        if depth == 1:
            return position
        state = 4
    return -1


@njit
def _key(buf: Bytes, position: int, end: int, work: Work, keys: Keys, first: int, count: int) -> tuple[int, int]:
    """Read `"key":` inside a nested object: the position behind the colon, or -1, and the count of keys."""
    if buf[position] != 34:
        return -1, count
    behind = scalar_end(buf, position, end, work)
    if behind < 0 or behind - position > KEY_CHARS_MAX + 2 or count - first >= ENTRIES_MAX:
        return -1, count
    count = add_key(keys, first, count, key_hash(buf, position + 1, behind - 1))
    position = behind
    if buf[position] <= 32:
        position = skip_blank(buf, position, end)
    if count < 0 or position >= end or buf[position] != 58:
        return -1, count
    return position + 1, count
