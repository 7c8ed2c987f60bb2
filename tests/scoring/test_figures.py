"""Figures in sentences."""

import math

import pytest

from engine.scoring.figures import number, percent


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1.0, "1"), (8.34, "8.34"), (-2.005, "-2"), (1_234_567.0, "1230000"), (0.00123, "0.00123"),
        (1e-7, "1e-07"), (999.9, "1000"), (1e21, "1e+21"), (math.nan, "missing"), (math.inf, "beyond all numbers"),
        (-math.inf, "below all numbers"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0.00 %"), (0.0042, "0.42 %"), (0.01, "1.0 %"), (1.0, "100.0 %")])
def test_shares_are_finer_where_they_are_small(share: float, shown: str) -> None:
    assert percent(share) == shown
