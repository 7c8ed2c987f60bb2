"""Kernels that turn the text of one value into a number: amounts, floats and times, exactly or not at all."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.instants import TIME_MS_MAX
from engine.core.lexer import Bytes, byte
from engine.features.jit import njit

_MINOR_LIMIT: Final = 10**15
_MANTISSA_EXACT: Final = 2**53
_SCALE_EXACT: Final = 22
_TENS: Final = np.array([10.0**i for i in range(_SCALE_EXACT + 1)])
_MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DIGITS_MAX: Final = 18


@njit
def _mantissa(buf: Bytes, start: int, end: int) -> tuple[int, int]:
    """Digits and count of decimals of `[0-9]+(.[0-9]+)?`, or -1 and 0 for any other text or over 18 digits."""
    mantissa = 0
    point = -1
    digits = 0
    for position in range(start, end):
        c = byte(buf, position)
        if c == 46 and point < 0 and start < position < end - 1:
            point = position
        elif 48 <= c <= 57:
            mantissa = mantissa * 10 + (c - 48)
            if mantissa > 0:
                digits += 1
            if digits > _DIGITS_MAX:
                return -1, 0
        else:
            return -1, 0
    if start >= end:
        return -1, 0
    return mantissa, (end - 1 - point if point >= 0 else 0)


@njit
def parse_amount(buf: Bytes, start: int, end: int, exponent: int) -> int:
    """Minor units of an amount, or -1 where the strict path must say what is wrong with it."""
    mantissa, scale = _mantissa(buf, start, end)
    if mantissa <= 0:
        return -1
    while scale > exponent:
        if mantissa % 10 != 0:
            return -1
        mantissa //= 10
        scale -= 1
    while scale < exponent:
        if mantissa >= _MINOR_LIMIT:
            return -1
        mantissa *= 10
        scale += 1
    return mantissa if mantissa < _MINOR_LIMIT else -1


@njit
def parse_number(buf: Bytes, start: int, end: int) -> float:
    """A JSON number as the nearest float, or NaN where that takes more than one exact division (Clinger 1990)."""
    negative = buf[start] == 45
    mantissa, scale = _mantissa(buf, start + 1 if negative else start, end)
    if mantissa < 0 or mantissa > _MANTISSA_EXACT or scale > _SCALE_EXACT:
        return np.nan
    value: float = mantissa / _TENS[scale]
    return -value if negative else value


@njit
def _two(buf: Bytes, position: int) -> int:
    """A number of two digits, or -1000."""
    tens, ones = byte(buf, position) - 48, byte(buf, position + 1) - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1000
    return tens * 10 + ones


@njit
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01, or -1 where the calendar has no such day or it is before then."""
    if year < 1970 or month < 1 or month > 12 or day < 1:
        return -1
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    if day > _MONTH_DAYS[month] + (1 if leap and month == 2 else 0):
        return -1
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    for i in range(1, month):
        days += _MONTH_DAYS[i]
    return days + (1 if leap and month > 2 else 0) + day - 1


@njit
def parse_time_ms(buf: Bytes, start: int, end: int, text: bool) -> int:
    """Milliseconds of an ordinary event time, or -1 where the strict path must look."""
    if not text:
        mantissa, scale = _mantissa(buf, start, end)
        return mantissa if scale == 0 and 0 <= mantissa < TIME_MS_MAX else -1
    if end - start < 20:
        return -1
    if buf[start + 4] != 45 or buf[start + 7] != 45 or buf[start + 13] != 58 or buf[start + 16] != 58:
        return -1
    separator = buf[start + 10]
    if separator not in (84, 116, 32):
        return -1
    days = _days(_two(buf, start) * 100 + _two(buf, start + 2), _two(buf, start + 5), _two(buf, start + 8))
    hour, minute, second = _two(buf, start + 11), _two(buf, start + 14), _two(buf, start + 17)
    if days < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return -1
    position = start + 19
    milliseconds = 0
    if buf[position] == 46:
        position += 1
        first = position
        weight = 100
        while position < end and 48 <= buf[position] <= 57:
            milliseconds += (byte(buf, position) - 48) * weight
            weight //= 10
            position += 1
        if position == first:
            return -1
    offset = _offset(buf, position, end)
    time_ms = ((days * 1440 + hour * 60 + minute - offset) * 60 + second) * 1000 + milliseconds
    return time_ms if offset > -10_000 and 0 <= time_ms < TIME_MS_MAX else -1


@njit
def _offset(buf: Bytes, position: int, end: int) -> int:
    """Minutes east of `Z` or `±hh:mm`, which must end the text, or -10000."""
    left = end - position
    if left == 1 and (buf[position] == 90 or buf[position] == 122):
        return 0
    if left != 6 or buf[position + 3] != 58 or (buf[position] != 43 and buf[position] != 45):
        return -10_000
    hour, minute = _two(buf, position + 1), _two(buf, position + 4)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return -10_000
    minutes = hour * 60 + minute
    return -minutes if buf[position] == 45 else minutes


@njit
def convert_base(
    minor: NDArray[np.int64],
    currency: NDArray[np.int32],
    numerators: NDArray[np.int64],
    denominators: NDArray[np.int64],
    converted: NDArray[np.int64],
) -> int:
    """Convert minor units by `numerators / denominators` of the currency, rounding half to even.

    `converted` gets the result, -1 where there is no rate or no amount, and -2 where the product does not fit 64 bits
    or the ratio is given as 0/1; returns how many are -2.
    """
    left = 0
    for row in range(len(minor)):
        code = currency[row]
        converted[row] = -1
        if code < 0 or minor[row] <= 0 or denominators[code] == 0:
            continue
        numerator, denominator = numerators[code], denominators[code]
        if numerator == 0 or minor[row] > 2**62 // numerator:
            converted[row] = -2
            left += 1
            continue
        product = minor[row] * numerator
        quotient = product // denominator
        twice = 2 * (product - quotient * denominator)
        if twice > denominator or (twice == denominator and quotient % 2 == 1):
            quotient += 1
        converted[row] = quotient if quotient < _MINOR_LIMIT else -1
    return left
