"""Card numbers are found in all their forms, and little else is."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain import pan
from tests.support.cards import card_number

KNOWN = [
    "4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "5105105105105100", "2223003122003222",
    "378282246310005", "371449635398431", "6011111111111117", "6011000990139424", "30569309025904", "38520000023237",
    "3530111333300000", "3566002020360505", "6200000000000005", "2200000000000053", "6759649826438453",
    "6304000000000000",
]  # fmt: skip


@pytest.mark.parametrize("number", KNOWN)
def test_published_test_numbers_are_found(number: str) -> None:
    assert pan.find(number) == [(0, len(number))]
    for text in (number, f"order {number} paid", f"x{number}y", f"({number})", "-".join(re.findall(".{1,4}", number)),
                 " ".join(re.findall(".{1,4}", number)), " ".join(number), f"99 {number} 99"):  # fmt: skip
        masked = pan.mask(text)
        assert number not in re.sub("[^0-9]", "", masked)
        assert f"{number[:6]}{'*' * (len(number) - 10)}{number[-4:]}" in masked


@pytest.mark.parametrize(
    "text",
    ["", "hello", "4111111111111112", "1234567890123456", "411111******1111", "2026-11-21 20:15:00", "9" * 11,
     "411111", "203.0.113.77", "+44 20 7946 0958", "0000000000000000"],
)  # fmt: skip
def test_other_texts_stay(text: str) -> None:
    assert pan.find(text) == []
    assert pan.mask(text) == text


def test_a_number_inside_a_longer_run_of_digits_is_found() -> None:
    masked = pan.mask("00411111111111111199")
    assert "4111111111111111" not in masked
    assert "*" in masked


def test_ten_thousand_seeded_numbers_are_masked() -> None:
    source = random.Random(31)
    for _ in range(10_000):
        number = card_number(source)
        text = f"{source.choice(['', 'ref ', 'x', '12 '])}{number}{source.choice(['', ' end', 'y', ' 34'])}"
        assert number not in re.sub("[^0-9]", "", pan.mask(text)), number


@given(st.text(alphabet="0123456789 -*ax", max_size=80))
def test_masking_leaves_no_card_number(text: str) -> None:
    masked = pan.mask(text)
    assert pan.find(masked) == []
    assert pan.mask(masked) == masked


def test_false_alarms_on_random_numbers_stay_rare() -> None:
    source = random.Random(5)
    hits = sum(bool(pan.find(str(source.randrange(10**15, 10**16)))) for _ in range(5_000))
    assert hits < 5_000 * 0.05
    hits = sum(bool(pan.find(f"{source.getrandbits(128):032x}")) for _ in range(5_000))
    assert hits < 5


def test_luhn() -> None:
    assert pan.luhn("79927398713")
    assert not any(pan.luhn(f"7992739871{digit}") for digit in "012456789")
