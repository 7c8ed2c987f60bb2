"""The kernels of the scanner against plain Python."""

import string

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.core.instants import TimeError, parse_time
from engine.core.lexer import KEYS_MAX, WORK, hash_bytes, may_hold_card, string_end, value_end
from engine.core.scan_values import parse_amount, parse_number, parse_time_ms
from engine.domain import pan
from engine.domain.hashing import hash64
from engine.domain.money import MoneyError, to_minor

TIME = (
    r"\A(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,5})?"
    r"(Z|\+[0-2][0-9]:[0-6][0-9])\Z"
)


def span(text: str | bytes) -> tuple[np.ndarray, int, int]:
    data = text.encode() if isinstance(text, str) else text
    return np.frombuffer(b"##" + data + b"#", np.uint8), 2, 2 + len(data)


@given(st.binary(max_size=70))
def test_hash_twins_are_equal(data: bytes) -> None:
    assert int(hash_bytes(*span(data))) == hash64(data)


@given(
    st.one_of(st.text("0123456789.", max_size=22), st.decimals(0, 10**14, places=3).map(str)),
    st.sampled_from([0, 2, 3, 4]),
)
def test_amounts_are_exact_or_left_to_the_strict_path(text: str, exponent: int) -> None:
    found = parse_amount(*span(text), exponent)
    try:
        exact = to_minor(text, exponent)
    except MoneyError:
        exact = -1
    assert found in (exact, -1)
    if exact > 0 and len(text.replace(".", "").lstrip("0")) <= 18:
        assert found == exact


@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f"{f:.17f}"), st.floats(-180, 180).map(repr)
    )
)
def test_floats_are_nearest_or_left_alone(text: str) -> None:
    found = parse_number(*span(text))
    assert np.isnan(found) or found == float(text)
    assert parse_number(*span("-12.25")) == -12.25


@given(st.one_of(
    st.datetimes().map(lambda t: t.isoformat() + "Z"),
    st.datetimes().map(lambda t: t.isoformat(" ", "milliseconds") + "-03:30"),
    st.from_regex(TIME),
    st.text("0123456789-T:.Z+", max_size=30),
))  # fmt: skip
def test_times_are_exact_or_left_to_the_strict_path(text: str) -> None:
    found = parse_time_ms(*span(text), True)
    try:
        exact = parse_time(text)
    except TimeError:
        exact = -1
    assert found in (exact, -1)
    if exact >= 86_400_000 and ":60" not in text:
        assert found == exact


@given(st.integers(0, 10**15))
def test_times_in_milliseconds(time_ms: int) -> None:
    found = parse_time_ms(*span(str(time_ms)), False)
    assert found == (time_ms if time_ms < 4_133_980_800_000 else -1)


@given(st.one_of(st.text("0123456789 -x", max_size=40), st.text(string.printable + "é\u2011\u00a0"),
                 st.sampled_from(["4111111111111111", "4111\u00a01111\u20111111 1111"])))  # fmt: skip
def test_the_quick_card_check_never_misses(text: str) -> None:
    buf, start, end = span(text)
    if pan.find(text) and not set(text) & set('"\\\t\n\r\x0b\x0c'):
        close, digits, _ = string_end(*span(text + '"')[:1], start, end + 1)
        assert (close, digits >= pan.DIGITS_MIN) == (end, True)
        assert may_hold_card(buf, start, end, np.zeros(WORK, np.int64))


@given(st.recursive(
    st.sampled_from(["1", "-2.5", "true", "null", '"a b"', "false", '"é"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "[" + " , ".join(parts) + "]")
    | st.lists(inner, max_size=3).map(lambda parts: "{" + ",".join(f'"k{i}" :{p}' for i, p in enumerate(parts)) + "}"),
    max_leaves=10,
))  # fmt: skip
def test_nested_values_are_walked_to_their_end(text: str) -> None:
    buf, start, end = span(text)
    deep = depth_of(text)
    behind = value_end(buf, start, end + 1, np.zeros(WORK, np.int64), np.zeros(KEYS_MAX, np.uint64), 0)
    assert behind == (end if deep <= 7 else -1)
    for cut in range(1, len(text.encode())):
        if text[0] in "[{":
            assert value_end(buf, start, end - cut, np.zeros(WORK, np.int64), np.zeros(KEYS_MAX, np.uint64), 0) == -1


def depth_of(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest
