"""Money, currencies, hashes, ids, rates, reason codes."""

import struct
import subprocess
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain import reasons
from engine.domain.currencies import CODES, EXPONENTS, code_index
from engine.domain.events import EVENT_TYPES
from engine.domain.hashing import combine, hash64, siphash
from engine.domain.ids import output_id
from engine.domain.money import MINOR_LIMIT, MoneyError, exponent, format_minor, to_minor
from engine.domain.rates import Rates, RatesError

REFERENCE_KEY = struct.unpack("<QQ", bytes(range(16)))
# From the reference implementation's vectors.h (SipHash-2-4-64, key 00..0f, input 00, 0001, ...).
SIPHASH_2_4 = {
    0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 2: "5a4fa9d909806c0d", 3: "2d7efbd796666785", 4: "b7877127e09427cf",
    5: "8da699cd64557618", 6: "cee3fe586e46c9cb", 7: "37d1018bf50002ab", 8: "6224939a79f5f593", 15: "e545be4961ca29a1",
}  # fmt: skip


@pytest.mark.parametrize("length", SIPHASH_2_4)
def test_siphash_gives_the_published_vectors(length: int) -> None:
    digest = siphash(bytes(range(length)), *REFERENCE_KEY, c=2, d=4)
    assert digest.to_bytes(8, "little").hex() == SIPHASH_2_4[length]


def test_hash64_is_stable_for_it_is_part_of_the_state_format() -> None:
    assert hash64("10.1.1.1") == 13566723648558214684
    assert hash64("é") == hash64("é".encode())
    assert hash64("") != 0


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_combine_hashes_the_words(parts: list[int]) -> None:
    assert combine(parts) == hash64(b"".join(part.to_bytes(8, "little") for part in parts))


def test_exponents_of_currencies() -> None:
    expected = {"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "BHD": 3, "OMR": 3, "JOD": 3, "TND": 3}
    expected |= {"IQD": 3, "LYD": 3, "CLF": 4, "UYW": 4, "UGX": 0, "VND": 0}
    assert {currency: exponent(currency) for currency in expected} == expected
    assert all(exponent(code) is None for code in ("XAU", "XXX", "XTS", "XDR", "eur", "EURO", "", "ÄÖÜ"))
    assert len(EXPONENTS) > 160


def test_code_index_keeps_currencies_apart() -> None:
    assert len({code_index(code) for code in EXPONENTS}) == len(EXPONENTS)
    assert all(0 <= code_index(code) < CODES for code in EXPONENTS)
    assert code_index("eur") == code_index("EU") == code_index("ÄÖÜ") == -1


@given(st.integers(1, MINOR_LIMIT - 1), st.sampled_from([0, 2, 3, 4]), st.integers(0, 3))
def test_minor_units_survive_text(minor: int, digits: int, zeros: int) -> None:
    text = format_minor(minor, digits)
    assert Decimal(text) == Decimal(minor) / 10**digits
    assert to_minor(text, digits) == minor
    assert to_minor(text + ("0" * zeros if digits else ""), digits) == minor
    assert to_minor(f"{minor}e-{digits}", digits, number=True) == minor


@pytest.mark.parametrize(
    ("text", "digits", "number", "reason"),
    [
        ("12.345", 2, False, reasons.AMOUNT_OVER_PRECISE),
        ("12.5", 0, False, reasons.AMOUNT_OVER_PRECISE),
        ("1e-9", 2, True, reasons.AMOUNT_OVER_PRECISE),
        ("1e-999999999", 2, True, reasons.AMOUNT_OVER_PRECISE),
        ("0.00", 2, False, reasons.AMOUNT_NOT_POSITIVE),
        ("-0", 2, True, reasons.AMOUNT_NOT_POSITIVE),
        ("-5", 2, True, reasons.AMOUNT_NOT_POSITIVE),
        ("-5.00", 2, False, reasons.AMOUNT_NOT_POSITIVE),
        ("0e999999999", 2, True, reasons.AMOUNT_NOT_POSITIVE),
        ("-1e999999999", 2, True, reasons.AMOUNT_NOT_POSITIVE),
        ("10000000000000", 2, False, reasons.AMOUNT_TOO_LARGE),
        ("1000000000000000", 0, True, reasons.AMOUNT_TOO_LARGE),
        ("1e400", 2, True, reasons.AMOUNT_TOO_LARGE),
        ("1e999999999", 2, True, reasons.AMOUNT_TOO_LARGE),
        ("9" * 5000, 2, True, reasons.AMOUNT_TOO_LARGE),
        ("NaN", 2, True, reasons.AMOUNT_NOT_FINITE),
        ("-Infinity", 2, True, reasons.AMOUNT_NOT_FINITE),
        ("inf", 2, False, reasons.AMOUNT_NOT_FINITE),
        *((text, 2, False, reasons.AMOUNT_MALFORMED) for text in ("", " 1", "1 ", "--1", "+1", "1e2", ".5", "5.")),
        *((text, 2, False, reasons.AMOUNT_MALFORMED) for text in ("1,5", "1_0", "٣")),
    ],
)  # fmt: skip
def test_refused_amounts(text: str, digits: int, number: bool, reason: str) -> None:
    with pytest.raises(MoneyError) as caught:
        to_minor(text, digits, number=number)
    assert caught.value.reason == reason


def test_largest_and_smallest_amounts_pass() -> None:
    assert to_minor("9999999999999.99", 2) == MINOR_LIMIT - 1
    assert to_minor("0.01", 2) == 1
    assert to_minor("12.340000", 2) == 1234
    assert to_minor("1.2e1", 2, number=True) == 1200


@given(st.integers(1, MINOR_LIMIT - 1), st.decimals("0.0001", "10000", places=4), st.sampled_from(["USD", "KWD"]))
def test_conversion_is_exact_and_rounds_half_to_even(minor: int, rate: Decimal, currency: str) -> None:
    rates = Rates("EUR", {currency: str(rate)})
    exact = Fraction(minor, 10 ** EXPONENTS[currency]) / Fraction(rate) * 100
    expected = round(exact)
    assert rates.convert(minor, currency) == (expected if expected < MINOR_LIMIT else None)
    assert rates.convert(minor, "EUR") == minor
    assert rates.convert(minor, "GBP") is None
    assert Rates.from_dict(rates.to_dict()).to_dict() == rates.to_dict()


def test_conversion_direction() -> None:
    rates = Rates("EUR", {"USD": "1.085"})
    assert rates.convert(1085, "USD") == 1000
    assert Decimal("2.5").quantize(Decimal(1), ROUND_HALF_EVEN) == Rates("EUR", {"USD": "2"}).convert(5, "USD")


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e999999999", "1/3", "", " 1", "1_0", "0x1"])
def test_refused_rates(rate: str) -> None:
    with pytest.raises(RatesError):
        Rates("EUR", {"USD": rate})


@pytest.mark.parametrize("data", [None, [], {}, {"base": 1}, {"base": "EUR"}, {"base": "XXX", "rates": {}},
                                  {"base": "EUR", "rates": {"EUR": "2"}}, {"base": "EUR", "rates": {"???": "2"}},
                                  {"base": "EUR", "rates": {}, "since_ms": "x"}])  # fmt: skip
def test_refused_rate_files(data: object) -> None:
    with pytest.raises(RatesError):
        Rates.from_dict(data)


def test_output_ids_depend_on_kind_and_every_part() -> None:
    ids = {
        output_id("decision", "ab", "c"), output_id("decision", "a", "bc"), output_id("alert", "ab", "c"),
        output_id("decision", "ab"), output_id("decision", "ab", "c", ""),
    }  # fmt: skip
    assert len(ids) == 5
    assert output_id("decision", "ab", "c").startswith("dec_")
    assert output_id("dec", "ab", "c") == output_id("decision", "ab", "c")
    assert len(output_id("alert", "\ud800")) == 36
    with pytest.raises(ValueError, match="unknown kind"):
        output_id("Decision")


def test_ids_do_not_depend_on_the_hash_seed() -> None:
    code = "from engine.domain.ids import output_id; import sys; sys.stdout.write(output_id('decision', 'a'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {output_id("decision", "a")}


def test_every_reason_has_one_meaning() -> None:
    codes = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert codes == set(reasons.MEANINGS)
    assert all(meaning and "\n" not in meaning for meaning in reasons.MEANINGS.values())


def test_the_documented_table_of_reasons_is_the_real_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    table = page.partition("## Reasons of a rejection")[2]
    rows = dict(line.strip("| ").split(" | ", 1) for line in table.splitlines() if line.startswith("| `"))
    assert rows == {f"`{code}`": meaning for code, meaning in reasons.MEANINGS.items()}


def test_every_type_of_the_contract_exists() -> None:
    assert len(EVENT_TYPES) == 25
    assert {name.partition(".")[0] for name in EVENT_TYPES} == {
        "payment", "transfer", "account", "feedback", "label", "offer", "points", "referral",
    }  # fmt: skip
