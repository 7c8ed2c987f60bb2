"""Decoding: every record becomes exactly one row, reject or control, with the right values."""

import json
import math
from typing import Any

import numpy as np
import pytest

from engine.core.decode import Decoded, Decoder, empty_columns
from engine.domain import reasons
from engine.domain.events import CONTROL_TYPES, EVENT_TYPES, ControlRates, PaymentRequested
from engine.domain.fields import STRING_FIELDS
from engine.domain.hashing import hash64
from engine.domain.rates import Rates

BASE = {
    "event_id": "e1", "type": "payment.requested", "event_time": 1767225600000, "customer_id": "c1", "payment_id": "p1",
    "amount": "12.34", "currency": "EUR",
}  # fmt: skip
CARD = "4111111111111111"
CONTROLS = "\0\n\x1f\x7f\x85\u061c\u200f\u202e\u2028\u2066"


def record(**changes: Any) -> bytes:
    """The base event with fields changed; a field of `...` is left out."""
    return json.dumps({k: v for k, v in {**BASE, **changes}.items() if v is not ...}).encode()


def raw(text: str, field: str = "amount") -> bytes:
    """The base event with the raw text as the value of a field."""
    return record(**{field: "@@"}).replace(b'"@@"', text.encode("utf-8", "surrogatepass"))


GOOD = record()
REFUSED: list[tuple[str, bytes | None]] = [
    (reasons.TOMBSTONE, None),
    (reasons.EMPTY, b""),
    (reasons.EMPTY, b" \n"),
    (reasons.TOO_LARGE, b'{"a":"' + b"x" * 70_000 + b'"}'),
    (reasons.TOO_LARGE, b"[" * 10_000_000),
    (reasons.TOO_LARGE, record(customer_id="c" * 1_000_000)),
    (reasons.BYTE_ORDER_MARK, b"\xef\xbb\xbf" + GOOD),
    (reasons.BYTE_ORDER_MARK, b"\xff\xfe{\x00}\x00"),
    (reasons.INVALID_UTF8, GOOD.replace(b"e1", b"e\xff")),
    (reasons.INVALID_UTF8, raw('"\ud800"', "unknown")),
    (reasons.INVALID_UTF8, GOOD[:-1] + b',"unknown":"\xc3"}'),
    (reasons.NOT_JSON, b"hello"),
    (reasons.NOT_JSON, GOOD[:-1]),
    (reasons.NOT_JSON, GOOD[:-1] + b",}"),
    (reasons.NOT_JSON, GOOD.replace(b'"e1"', b"'e1'")),
    (reasons.NOT_JSON, GOOD.replace(b"e1", b"e\x00")),
    (reasons.NOT_JSON, GOOD.replace(b"e1", b"e\n1")),
    (reasons.NOT_JSON, raw("01")),
    (reasons.NOT_JSON, raw("1.")),
    (reasons.NOT_JSON, raw("+1")),
    (reasons.NOT_JSON, raw("0x10")),
    (reasons.NOT_JSON, raw("tru", "three_ds")),
    (reasons.TRAILING_DATA, GOOD + b"x"),
    (reasons.TRAILING_DATA, GOOD + b"," + GOOD),
    (reasons.TRAILING_DATA, GOOD + b"\n" + GOOD),
    (reasons.TOO_DEEP, b"[" * 10_000),
    (reasons.TOO_DEEP, b'{"a":' * 9 + b"1" + b"}" * 9),
    (reasons.TOO_DEEP, raw("[" * 8 + "]" * 8, "unknown")),
    (reasons.DUPLICATE_KEY, GOOD[:-1] + b',"event_id":"e1"}'),
    (reasons.DUPLICATE_KEY, GOOD[:-1] + b',"x":1,"x":1}'),
    (reasons.DUPLICATE_KEY, GOOD[:-1] + b',"x":1,"\\u0078":1}'),
    (reasons.DUPLICATE_KEY, GOOD[:-1] + b',"metadata":{"a":1,"a":2}}'),
    (reasons.DUPLICATE_KEY, GOOD[:-1] + b',"x":[{"y":{"a":1,"a":2}}]}'),
    (reasons.NOT_AN_OBJECT, b"[]"),
    (reasons.NOT_AN_OBJECT, b"1"),
    (reasons.NOT_AN_OBJECT, b"null"),
    (reasons.NOT_AN_OBJECT, b"[" + GOOD + b"]"),
    (reasons.NUMBER_NOT_FINITE, raw("NaN", "lat")),
    (reasons.NUMBER_NOT_FINITE, raw("-Infinity", "unknown")),
    (reasons.NUMBER_OUT_OF_RANGE, raw("1e400", "lat")),
    (reasons.NUMBER_OUT_OF_RANGE, raw('{"a":-1e999}', "metadata")),
    (reasons.NUMBER_OUT_OF_RANGE, raw("1" + "0" * 30, "unknown")),
    (reasons.NUMBER_OUT_OF_RANGE, raw('{"a":1' + "0" * 5000 + "}", "metadata")),
    *((reasons.MISSING_FIELD, record(**{name: value})) for name in BASE for value in (..., None)),
    (reasons.MISSING_FIELD, b"{}"),
    (reasons.MISSING_FIELD, record(type="label.assigned")),
    (reasons.MISSING_FIELD, record(type="feedback.submitted", kind="nps")),
    (reasons.MISSING_FIELD, record(type="account.login", payment_id=..., currency=...)),
    *((reasons.WRONG_TYPE, record(**{name: 5})) for name in STRING_FIELDS),
    *((reasons.WRONG_TYPE, record(**{name: []})) for name in BASE),
    (reasons.WRONG_TYPE, record(amount=True)),
    (reasons.WRONG_TYPE, record(amount={})),
    (reasons.WRONG_TYPE, record(event_time=True)),
    (reasons.WRONG_TYPE, record(event_time=1767225600000.0)),
    (reasons.WRONG_TYPE, raw("1e12", "event_time")),
    (reasons.WRONG_TYPE, record(three_ds="true")),
    (reasons.WRONG_TYPE, record(three_ds=1)),
    (reasons.WRONG_TYPE, record(lat="1.5")),
    (reasons.WRONG_TYPE, record(lon=True)),
    (reasons.WRONG_TYPE, record(metadata=[])),
    (reasons.WRONG_TYPE, record(metadata="x")),
    (reasons.WRONG_TYPE, record(metadata={"a": {}})),
    (reasons.WRONG_TYPE, record(metadata={"a": None})),
    (reasons.WRONG_TYPE, record(attributes={"a": [1]})),
    (reasons.WRONG_TYPE, record(consent={"a": 1})),
    (reasons.WRONG_TYPE, record(consent={"a": "yes"})),
    (reasons.WRONG_TYPE, record(schema_version="1")),
    (reasons.WRONG_TYPE, record(schema_version=1.0)),
    (reasons.WRONG_TYPE, record(schema_version=True)),
    (reasons.UNSUPPORTED_VERSION, record(schema_version=2)),
    (reasons.UNKNOWN_TYPE, record(type="payment.exploded")),
    (reasons.UNKNOWN_TYPE, record(type="")),
    (reasons.UNKNOWN_TYPE, record(type="Payment.requested")),
    (reasons.UNKNOWN_TYPE, record(type="control.unknown")),
    (reasons.INVALID_VALUE, record(type="feedback.submitted", kind="ces", score=1)),
    (reasons.INVALID_VALUE, record(type="label.assigned", label="maybe")),
    (reasons.ID_LENGTH, record(event_id="")),
    (reasons.ID_LENGTH, record(customer_id="c" * 129)),
    (reasons.ID_LENGTH, record(payment_id="é" * 129)),
    (reasons.ID_LENGTH, record(device_id="d" * 257)),
    (reasons.STRING_TOO_LONG, record(channel="x" * 257)),
    (reasons.STRING_TOO_LONG, record(metadata={"a": "x" * 1025})),
    (reasons.STRING_TOO_LONG, record(metadata={"x" * 129: 1})),
    (reasons.TOO_MANY_ENTRIES, record(metadata={str(i): i for i in range(65)})),
    *((reasons.CONTROL_CHARACTER, record(customer_id=f"a{c}b")) for c in CONTROLS),
    *((reasons.CONTROL_CHARACTER, record(**{n: "a\tb"})) for n in STRING_FIELDS if n.endswith("_id")),
    (reasons.CONTROL_CHARACTER, GOOD.replace(b"e1", "e\u202e1".encode())),
    (reasons.LONE_SURROGATE, record(customer_id="a\ud800")),
    (reasons.LONE_SURROGATE, record(merchant_id="\udfff")),
    (reasons.CARD_NUMBER_IN_CARD_ID, record(card_id=CARD)),
    (reasons.CARD_NUMBER_IN_CARD_ID, record(card_id=f"tok_{CARD}x")),
    (reasons.CARD_NUMBER_IN_CARD_ID, record(card_id="4111-1111 1111-1111")),
    (reasons.CARD_NUMBER_IN_CARD_ID, raw('"\\u0034111111111111111"', "card_id")),
    (reasons.CARD_NUMBER_IN_NUMBER, record(amount=CARD)),
    (reasons.CARD_NUMBER_IN_NUMBER, record(amount=378282246310005, currency="JPY")),
    (reasons.CARD_NUMBER_IN_NUMBER, record(type="points.redeemed", points=int(CARD))),
    *((reasons.AMOUNT_MALFORMED, record(amount=text)) for text in ("", "abc", "1e2", "-", " 1", "1,5", ".5", "5.")),
    *((reasons.AMOUNT_NOT_FINITE, raw(text)) for text in ("NaN", "Infinity", "-Infinity", '"NaN"', '"inf"')),
    *((reasons.AMOUNT_NOT_POSITIVE, raw(text)) for text in ("0", "-0", "-0.0", "-5", '"0.00"', '"-1"', "0e5")),
    *((reasons.AMOUNT_OVER_PRECISE, raw(text)) for text in ("12.345", '"12.345"', "1e-3", "0.001")),
    (reasons.AMOUNT_OVER_PRECISE, record(amount="12.5", currency="JPY")),
    (reasons.AMOUNT_OVER_PRECISE, record(amount="1.0001", currency="KWD")),
    *((reasons.AMOUNT_TOO_LARGE, raw(text)) for text in ("1e400", "1" + "0" * 30, '"10000000000000.00"')),
    *((reasons.UNKNOWN_CURRENCY, record(currency=code)) for code in ("eur", "XXX", "XAU", "EURO", "", "E\0R", "ABC")),
    *((reasons.TIME_MALFORMED, record(event_time=text)) for text in (
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00Z", "1767225600000",
        "2026-01-01T00:00:00 Z",
        "2026-01-01T00:00:60Z", " 2026-01-01T00:00:00Z", "2026-01-01_00:00:00Z", "2026-01-01T00:00:00+0000",
    )),
    *((reasons.TIME_OUT_OF_RANGE, record(event_time=value)) for value in (
        -1, 4_133_980_800_000, 10**30, "1969-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "1970-01-01T00:00:00+00:01",
        "0000-01-01T00:00:00Z", "9999-12-31T00:00:00Z",
    )),
    (reasons.INVALID_RATES, record(type="control.rates", rates={"USD": "0"}, base="EUR")),
    (reasons.INVALID_RATES, record(type="control.rates", rates={"???": "1"}, base="EUR")),
    (reasons.INVALID_RATES, record(type="control.rates", rates={"USD": "1"})),
    (reasons.WRONG_TYPE, record(type="control.rates", rates=[])),
    (reasons.MISSING_FIELD, record(type="control.rates")),
    (reasons.MISSING_FIELD, record(type="control.list", event_time=...)),
    (reasons.TIME_MALFORMED, record(type="control.rules", event_time="x", ruleset="y")),
    (reasons.INVALID_VALUE, record(type="control.alert_resolved", alert_id="a", resolution="?")),
    (reasons.INVALID_VALUE, record(type="control.rules", ruleset="0123456789ABCDEF")),
    (reasons.INVALID_VALUE, record(type="control.rules", ruleset="0123456789abcdef\n")),
    (reasons.INVALID_VALUE, record(type="control.rules_refused", ruleset="0123456789abcdef", errors=["e"] * 11)),
    (reasons.INVALID_VALUE, record(type="control.rules_refused", ruleset="0123456789abcdef", errors=["e" * 513])),
    (reasons.INVALID_VALUE, record(type="control.list", name="a b")),
    (reasons.INVALID_VALUE, record(type="control.list", name="a\n")),
    (reasons.INVALID_VALUE, record(type="control.list", name="a", add=["x" * 1001])),
    (reasons.INVALID_VALUE, record(type="control.list", name="a", values=[""])),
    (reasons.INVALID_VALUE, record(type="control.list", name="a", remove=["x"] * 10_001)),
    (reasons.WRONG_TYPE, record(type="control.list", name="a", add=[1])),
    (reasons.TIME_MALFORMED, record(type="control.list", name="a", add=["x"], expires_at="tomorrow")),
    (reasons.CARD_NUMBER_IN_CONTROL, record(type="control.list", name="a", add=["4556737586899855"])),
    (reasons.INVALID_VALUE, record(type="control.snooze", rule="R", entity="card", value="v")),
    (reasons.INVALID_VALUE, record(type="control.snooze", rule="r", entity="cards", value="v")),
    (reasons.INVALID_VALUE, record(type="control.snooze", rule="r", entity="card", value="")),
    (reasons.TIME_OUT_OF_RANGE, record(type="control.snooze", rule="r", entity="card", value="v", until=-1)),
    (reasons.WRONG_TYPE, record(type="control.snooze", rule="r", entity="card", value="v", until=1.5)),
    (reasons.CARD_NUMBER_IN_CONTROL, record(type="control.snooze", rule="r", entity="card", value="4556737586899855")),
    (reasons.TIME_MALFORMED, record(type="control.tick", event_time="now")),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_refused_with_its_reason_and_without_harm_to_neighbours(index: int) -> None:
    reason, value = REFUSED[index]
    decoded = Decoder().decode([GOOD, value, record(event_id="e2")])
    assert [(r.index, r.reason) for r in decoded.rejects] == [(1, reason)]
    reject = decoded.rejects[0]
    assert reject.detail
    assert len(reject.raw_sha256) == 64
    assert len(reject.raw_redacted.encode()) <= 2048
    assert CARD not in reject.raw_redacted + reject.detail
    assert decoded.index.tolist() == [0, 2]
    assert [event.event_id for event in decoded.columns.events] == ["e1", "e2"]


@pytest.mark.parametrize("value", [f'{{"a":"{CARD}"}}'.encode("utf-16-le"), "\\u0000".join(CARD).encode()])
def test_no_card_number_is_shown_through_nuls(value: bytes) -> None:
    shown = Decoder().decode([value]).rejects[0].raw_redacted
    assert "411111******1111" in shown
    assert "\0" not in shown


def test_every_reason_is_reached() -> None:
    adopting = {
        reasons.UNKNOWN_RULESET, reasons.UNUSABLE_RULESET, reasons.LIST_FULL, reasons.SNOOZES_FULL,
        reasons.UNKNOWN_MODEL, reasons.UNUSABLE_MODEL,
    }  # fmt: skip
    assert {reason for reason, _ in REFUSED} == set(reasons.MEANINGS) - adopting


def test_a_batch_of_everything() -> None:
    records = [value for _, value in REFUSED] + [GOOD]
    decoded = Decoder().decode(records)
    assert [r.index for r in decoded.rejects] == list(range(len(REFUSED)))
    assert [r.reason for r in decoded.rejects] == [reason for reason, _ in REFUSED]
    assert decoded.columns.n == 1


def test_values_of_a_row() -> None:
    decoded = Decoder().decode([record(device_id="d1", three_ds=True, lat=48.85, lon=-2, merchant_id=None)])
    columns = decoded.columns
    assert (columns.n, columns.time_ms[0], columns.minor[0], columns.exponent[0]) == (1, 1767225600000, 1234, 2)
    assert columns.number("amount")[0] == 12.34
    assert columns.string("device_id")[0] == hash64("d1")
    assert columns.string("type")[0] == hash64("payment.requested")
    assert columns.string("merchant_id")[0] == 0
    assert columns.boolean("three_ds")[0] == 1
    assert (columns.number("lat")[0], columns.number("lon")[0]) == (48.85, -2.0)
    assert math.isnan(columns.number("amount_base")[0])
    assert columns.base_exponent[0] == -1
    assert isinstance(columns.events[0], PaymentRequested)
    assert not decoded.masked[0]


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_type_decodes(name: str) -> None:
    extra = {"kind": "nps", "score": 9, "label": "fraud", "consent": {"email": True}, "attributes": {"a": 1.5}}
    decoded = Decoder().decode([record(type=name, **extra)])
    assert decoded.rejects == []
    assert decoded.columns.text("type") == [name]


ACCEPTED = [
    ({"amount": 12.34}, 1234), ({"amount": "0012.340000"}, 1234), ({"amount": 5, "currency": "JPY"}, 5),
    ({"amount": "1.234", "currency": "KWD"}, 1234), ({"amount": "1.2345", "currency": "CLF"}, 12345),
    ({"amount": "9999999999999.99"}, 10**15 - 1), ({"amount": "0.01"}, 1), ({"amount": 1e2}, 10000),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "minor"), ACCEPTED)
def test_amounts(changes: dict[str, Any], minor: int) -> None:
    columns = Decoder().decode([record(**changes)]).columns
    assert columns.minor.tolist() == [minor]


@pytest.mark.parametrize("text", ["1.5e1", "1500e-2", "15.00", '"15"', "0.15E+2", "15.000000000000000000000000000000"])
def test_forms_of_one_amount(text: str) -> None:
    columns = Decoder().decode([raw(text)]).columns
    assert (columns.minor[0], columns.number("amount")[0]) == (1500, 15.0)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01t00:00:00.999999z", 999), ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0), ("2100-12-31 23:59:59.999Z", 4_133_980_799_999),
        ("2024-02-29T12:00:00-00:00", 1_709_208_000_000), ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T00:59:60.5+01:00", 1_483_228_800_500), ("2101-01-01T00:30:00+01:00", 4_133_979_000_000),
        ("2000-03-01T00:00:00.1234567890123456789Z", 951_868_800_123),
    ],
)  # fmt: skip
def test_times(text: str, time_ms: int) -> None:
    decoded = Decoder().decode([record(event_time=text)])
    assert decoded.rejects == []
    assert decoded.columns.time_ms.tolist() == [time_ms]


def test_masking_flags_the_row_and_cleans_raw_and_columns() -> None:
    changes: list[dict[str, Any]] = [
        {"channel": CARD}, {"metadata": {"note": f"paid with {CARD}!"}}, {"metadata": {CARD: True}},
        {"metadata": {"n": int(CARD)}}, {"attributes": {"a": "4111 1111-1111 1111"}}, {"unknown": {"x": [CARD]}},
        {"unknown": int(CARD)}, {CARD: 1}, {"source": f"x{CARD}y"}, {"consent": {CARD: True}},
    ]  # fmt: skip
    decoded = Decoder().decode([record(**change) for change in changes])
    assert decoded.rejects == []
    assert decoded.masked.all()
    for text in decoded.raw:
        assert CARD.encode() not in text
        assert b"4111 1111" not in text
    assert decoded.columns.string("channel")[0] == hash64("411111******1111")
    assert decoded.columns.events[3].metadata == {"n": "411111******1111"}
    again = Decoder().decode(decoded.raw)
    assert again.rejects == []
    np.testing.assert_array_equal(again.columns.strings, decoded.columns.strings)


def test_ids_are_left_alone() -> None:
    decoded = Decoder().decode([record(event_id=CARD, merchant_id=CARD)])
    assert not decoded.masked.any()
    assert decoded.columns.string("merchant_id")[0] == hash64(CARD)


def test_a_lone_surrogate_in_other_text_is_replaced() -> None:
    decoded = Decoder().decode([record(channel="a\ud800", metadata={"\udc00": "\ud83d\ude00"})])
    assert decoded.columns.events[0].channel == "a\ufffd"
    assert decoded.columns.events[0].metadata == {"\ufffd": "\U0001f600"}


def test_rates_apply_from_their_place_on() -> None:
    first = record(type="control.rates", event_id="r1", base="EUR", rates={"USD": "1.25"}, event_time=10)
    second = record(type="control.rates", event_id="r2", rates={"USD": 2}, event_time=20)
    dollars = record(currency="USD", amount="10.00")
    decoder = Decoder()
    decoded = decoder.decode([dollars, first, dollars, second, dollars, first, dollars, GOOD])
    assert decoded.columns.base_minor.tolist() == [0, 800, 500, 500, 1234]
    assert decoded.columns.base_exponent.tolist() == [-1, 2, 2, 2, 2]
    assert decoded.columns.number("amount_base").tolist()[1:] == [8.0, 5.0, 5.0, 12.34]
    assert [placed.row for placed in decoded.controls] == [1, 2, 3]
    assert all(isinstance(placed.event, ControlRates) for placed in decoded.controls)
    assert decoder.rates is not None
    assert decoder.rates.to_dict() == {"base": "EUR", "rates": {"USD": "2"}, "since_ms": 20}


def test_rates_beyond_64_bits_are_exact_too() -> None:
    rates = Rates("EUR", {"USD": "1.000000000000000000000001", "JPY": "0.000000000001"})
    records = [
        record(currency="USD", amount="9999999999999.99"),
        record(currency="JPY", amount=10**11),
        record(currency="GBP"),
    ]
    columns = Decoder(rates).decode(records).columns
    assert columns.base_minor.tolist() == [rates.convert(10**15 - 1, "USD"), 0, 0]
    assert columns.base_exponent.tolist() == [2, -1, -1]


@pytest.mark.parametrize("name", sorted(CONTROL_TYPES))
def test_controls_are_neither_rows_nor_rejects(name: str) -> None:
    extra = {"base": "EUR", "rates": {"USD": "1.1"}, "name": "l", "add": ["a"], "ruleset": "0123456789abcdef",
             "alert_id": "a", "resolution": "fraud", "errors": ["e"], "rule": "r", "entity": "card", "value": "v",
             "mode": "follow", "customer_id": ..., "campaign_id": "c", "version": 1, "referral_id": "0123456789ab",
             "cause_event_id": "e0", "sender": 0, "receiver": 1, "number": 1}  # fmt: skip
    decoded = Decoder().decode([GOOD, record(type=name, **extra), GOOD])
    assert (decoded.columns.n, decoded.rejects) == (2, [])
    assert [(placed.row, type(placed.event)) for placed in decoded.controls] == [(1, CONTROL_TYPES[name])]


def test_nothing_to_decode() -> None:
    decoded = Decoder().decode([])
    assert isinstance(decoded, Decoded)
    assert decoded.columns.n == 0
    assert empty_columns(3).n == 3
