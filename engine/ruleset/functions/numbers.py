"""Functions of numbers."""

import math
from typing import Any, Final

import numpy as np

from engine.ruleset.functions.base import Function, number
from engine.ruleset.types import Kind

DIGITS_MAX: Final = 9
EARTH_RADIUS_KM: Final = 6371.0088  # the mean radius of the IUGG


def _finite(x: Any) -> Any:
    return x + (x - x)


def _log1p(x: Any) -> Any:
    return _finite(np.log1p(x))


def _log1p_one(x: float) -> float:
    with np.errstate(all="ignore"):
        return float(_log1p(x))


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _min(*values: float) -> float:
    return min(values)


def _max(*values: float) -> float:
    return max(values)


def _vector_min(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = np.minimum(result, value)
    return result


def _vector_max(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = np.maximum(result, value)
    return result


def _clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _vector_clamp(x: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _check_clamp(x: float | None, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"clamp needs low <= high, not {low:g} and {high:g}")


def _round(x: float, digits: float = 0.0) -> float:
    return float(round(x, int(digits)))


def _check_round(x: float | None, digits: float | None = 0.0) -> None:
    if digits is None or digits != int(digits) or not 0 <= digits <= DIGITS_MAX:
        raise ValueError(f"round takes a whole number of digits from 0 to {DIGITS_MAX}")


def _distance(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    phi1, phi2 = lat1 * (math.pi / 180), lat2 * (math.pi / 180)
    half_phi = np.sin((phi2 - phi1) / 2)
    half_lambda = np.sin((lon2 - lon1) * (math.pi / 360))
    chord = half_phi * half_phi + np.cos(phi1) * np.cos(phi2) * half_lambda * half_lambda
    return _finite(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0))))


def _distance_one(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    with np.errstate(all="ignore"):
        return float(_distance(lat1, lon1, lat2, lon2))


def _speed(lat1: Any, lon1: Any, lat2: Any, lon2: Any, seconds: Any) -> Any:
    span = np.where(seconds < 0, np.nan, np.maximum(seconds, 1.0))
    return _finite(_distance(lat1, lon1, lat2, lon2) / span * 3600.0)


def _speed_one(lat1: float, lon1: float, lat2: float, lon2: float, seconds: float) -> float:
    with np.errstate(all="ignore"):
        return float(_speed(lat1, lon1, lat2, lon2, seconds))


_X: Final = (number("x"),)
_PLACES: Final = (number("lat1"), number("lon1"), number("lat2"), number("lon2"))

FUNCTIONS: Final = (
    Function("abs", _X, Kind.NUMBER, abs, "the number without its sign", "abs(amount - cust_mean_30d)", np.abs),
    Function("min", (number("x"), number("y", repeated=True)), Kind.NUMBER, _min,
             "the smallest; missing where any is missing", "min(amount, 100)", _vector_min),
    Function("max", (number("x"), number("y", repeated=True)), Kind.NUMBER, _max,
             "the greatest; missing where any is missing", "max(amount, 1)", _vector_max),
    Function("round", (number("x"), number("digits", optional=True, constant=True)), Kind.NUMBER, _round,
             "rounded to `digits` decimals (0 unless told), half to even", "round(amount / 10) == 5",
             None, check=_check_round),
    Function("floor", _X, Kind.NUMBER, lambda x: float(math.floor(x)), "rounded down to a whole number",
             "floor(amount / 100)", np.floor),
    Function("ceil", _X, Kind.NUMBER, lambda x: float(math.ceil(x)), "rounded up to a whole number",
             "ceil(amount / 100)", np.ceil),
    Function("clamp", (number("x"), number("low"), number("high")), Kind.NUMBER, _clamp,
             "`x`, but not below `low` nor above `high`", "clamp(amount / 1000, 0, 1)", _vector_clamp, _check_clamp),
    Function("log1p", _X, Kind.NUMBER, _log1p_one, "the natural logarithm of 1 + x; missing from -1 down",
             "log1p(amount)", _log1p),
    Function("sqrt", _X, Kind.NUMBER, _sqrt, "the square root; missing below 0", "sqrt(amount)", np.sqrt),
    Function("distance_km", _PLACES, Kind.NUMBER, _distance_one,
             "great-circle distance in kilometres, of degrees (haversine)",
             "distance_km(lat, lon, 52.52, 13.405) > 500", _distance),
    Function("speed_kmh", (*_PLACES, number("seconds")), Kind.NUMBER, _speed_one,
             "kilometres an hour between two places; less than a second counts as one, below 0 is missing",
             "speed_kmh(lat, lon, 52.52, 13.405, since_last(by=customer, window='7d')) > 900", _speed),
)  # fmt: skip

TO_BOOL: Final = Function(
    "bool", _X, Kind.BOOL, lambda x: float(x != 0), "a number as true (not 0) or false", "bool(score)",
    lambda x: np.where(np.isnan(x), x, x != 0),
)  # fmt: skip
