"""BG/NBD, Gamma-Gamma, lifetime value and first gaps: against the lifetimes package on CDNOW, and against simulation.

The reference figures were worked out once with lifetimes 0.11.3 (penalty 0) on the file in tests/engagement/data.
"""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.engagement.models import bgnbd, clv, first_gap, gamma_gamma

Floats = NDArray[np.float64]
WEEKS_A_MONTH = 4.345
TOLERANCE = 0.01  # what the model has to meet; the figures below agree to 1e-4

PARAMETERS = bgnbd.BgNbd(r=0.2425929, alpha=4.4135323, a=0.7928860, b=2.4257524)
SPEND = gamma_gamma.GammaGamma(p=6.2488025, q=3.7445885, v=15.4477481)
# row: p_alive, payments in 39 weeks, mean amount, value of 12 months
CUSTOMERS = {
    0: (0.726609, 1.22591, 24.65862, 36.2785),
    1: (0.212227, 0.203251, 18.91148, 4.63747),
    2: (1.0, 0.194781, 35.171, 8.34409),
    555: (1.0, 0.208471, 35.171, 8.91662),
    1515: (0.96892, 20.75057, 39.89028, 972.12556),
    2356: (1.0, 0.258978, 35.171, 11.01714),
}
TOTALS = (1917.27632, 1653.42328, 83091.22242, 71509.89932)


@pytest.fixture(scope="module")
def cdnow() -> dict[str, Floats]:
    with gzip.open(Path(__file__).parent / "data" / "cdnow.csv.gz", "rt") as lines:
        rows = list(csv.DictReader(lines))
    return {name: np.array([float(row[name]) for row in rows]) for name in ("x", "t_x", "T", "zbar")}


@pytest.fixture(scope="module")
def fitted(cdnow: dict[str, Floats]) -> tuple[bgnbd.BgNbd, gamma_gamma.GammaGamma]:
    again = cdnow["x"] > 0
    return (
        bgnbd.fit(cdnow["x"], cdnow["t_x"], cdnow["T"]),
        gamma_gamma.fit(cdnow["x"][again], cdnow["zbar"][again]),
    )


def test_the_fits_are_those_of_the_reference(fitted: tuple[bgnbd.BgNbd, gamma_gamma.GammaGamma]) -> None:
    assert fitted[0] == pytest.approx(PARAMETERS, rel=TOLERANCE)
    assert fitted[1] == pytest.approx(SPEND, rel=TOLERANCE)


def test_each_customer_is_valued_as_by_the_reference(
    cdnow: dict[str, Floats], fitted: tuple[bgnbd.BgNbd, gamma_gamma.GammaGamma]
) -> None:
    model, spend = fitted
    histories = cdnow["x"], cdnow["t_x"], cdnow["T"]
    amount = spend.mean_amount(cdnow["x"], cdnow["zbar"])
    found = (
        model.p_alive(*histories),
        model.payments_ahead(39.0, *histories),
        amount,
        clv.lifetime_value(model, *histories, amount, month=WEEKS_A_MONTH),
    )
    for row, expected in CUSTOMERS.items():
        assert [values[row] for values in found] == pytest.approx(expected, rel=TOLERANCE)
    assert [values.sum() for values in found] == pytest.approx(TOTALS, rel=TOLERANCE)


def test_the_fit_finds_what_a_simulation_was_made_with() -> None:
    made = bgnbd.BgNbd(r=0.8, alpha=20.0, a=1.2, b=3.0)
    found = bgnbd.fit(*_simulated(made, customers=6_000, seed=7))
    assert found == pytest.approx(made, rel=0.2)


def test_where_nobody_leaves_everybody_is_alive() -> None:
    """Regular customers: the likelihood grows for ever as leaving becomes rarer."""
    draw = np.random.default_rng(2)
    x = draw.integers(1, 20, 1200).astype(np.float64)
    age = x * 3.0 + draw.uniform(0.0, 2.0, 1200)
    tx = age - draw.uniform(0.0, 2.0, 1200)
    model = bgnbd.fit(x, tx, age)
    assert np.isfinite(model).all()
    assert min(model) > 0.0
    assert model.p_alive(x, tx, age).min() > 0.9
    ahead = model.payments_ahead(365.0, x, tx, age) * age / (x * 365.0)  # against their pace so far
    assert 0.0 < ahead.min() < ahead.max() < 10.0


def test_the_likelihood_of_a_history_is_that_of_its_integral() -> None:
    """Against the definition: the likelihood of one customer averaged over the two distributions, by simulation."""
    model, draw = bgnbd.BgNbd(r=1.5, alpha=10.0, a=2.0, b=4.0), np.random.default_rng(1)
    rate, leave = draw.gamma(1.5, 1 / 10.0, 2_000_000), draw.beta(2.0, 4.0, 2_000_000)
    for x, tx, age in ((0, 0.0, 12.0), (1, 5.0, 12.0), (3, 11.0, 30.0)):
        alive = (1 - leave) ** x * rate**x * np.exp(-rate * age)
        left = leave * (1 - leave) ** (x - 1) * rate**x * np.exp(-rate * tx) if x else 0.0
        naive = np.log((alive + left).mean())
        arrays = (np.array([float(value)]) for value in (x, tx, age))
        assert bgnbd.log_likelihood(model, *arrays)[0] == pytest.approx(naive, abs=0.01)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.floats(0, 1), st.floats(0.1, 5_000), st.floats(0.01, 1_000))
def test_probabilities_and_expectations_stay_in_their_bounds(x: int, share: float, age: float, ahead: float) -> None:
    history = np.array([float(x)]), np.array([share * age if x else 0.0]), np.array([age])
    alive = PARAMETERS.p_alive(*history)[0]
    assert 0.0 <= alive <= 1.0
    soon, later = (PARAMETERS.payments_ahead(ahead * factor, *history)[0] for factor in (1.0, 2.0))
    assert -1e-9 <= soon <= later + 1e-9


def test_who_was_longer_away_is_less_alive() -> None:
    age = np.linspace(30.0, 400.0, 50)
    alive = PARAMETERS.p_alive(np.full(50, 8.0), np.full(50, 25.0), age)
    assert (np.diff(alive) < 0).all()


@pytest.mark.parametrize(
    ("x", "tx", "age"),
    [
        ([1.0] * 200, [5.0] * 200, [4.0] * 200),
        ([-1.0] * 200, [0.0] * 200, [4.0] * 200),
        ([0.0] * 200, [1.0] * 200, [4.0] * 200),
        ([0.0] * 200, [0.0] * 200, [4.0] * 200),
        ([1.0] * 9, [1.0] * 9, [4.0] * 9),
        ([1.0] * 200, [float("nan")] * 200, [4.0] * 200),
    ],
)
def test_what_are_no_histories_is_refused(x: list[float], tx: list[float], age: list[float]) -> None:
    with pytest.raises(ValueError, match=r"customers|history|paid"):
        bgnbd.fit(np.array(x), np.array(tx), np.array(age))


def test_spending_needs_customers_who_paid_again() -> None:
    with pytest.raises(ValueError, match="paid again"):
        gamma_gamma.fit(np.zeros(200), np.ones(200))
    with pytest.raises(ValueError, match="5 customers"):
        gamma_gamma.fit(np.ones(5), np.ones(5))


def test_first_gaps_match_the_share_that_came() -> None:
    """Without censoring, Kaplan-Meier is the plain share."""
    gaps = np.array([3.0, 3.5, 10.0, 40.0, 200.0, 200.0])
    found = first_gap.fit(gaps, np.array([True, True, True, True, False, False]), horizon_days=90)
    assert found.p_returns(np.array([0.0, 4.0, 11.0, 41.0])) == pytest.approx([4 / 6, 2 / 4, 1 / 3, 0.0])


def test_first_gaps_are_not_fooled_by_who_is_still_new() -> None:
    """Half of the customers are seen for 20 days only; the estimate is still that of the ones seen for long."""
    draw = np.random.default_rng(3)
    gap = draw.exponential(30.0, 20_000)
    returns = draw.random(20_000) < 0.6
    seen = np.where(draw.random(20_000) < 0.5, 20.0, 400.0)
    came = returns & (gap < seen)
    found = first_gap.fit(np.where(came, gap, seen), came, horizon_days=365)
    assert found.p_returns(np.array([0.0]))[0] == pytest.approx(0.6, abs=0.02)
    naive = 0.6 * np.exp(-1.0) / (0.4 + 0.6 * np.exp(-1.0))
    assert found.p_returns(np.array([30.0]))[0] == pytest.approx(naive, abs=0.03)


def test_nobody_gives_no_hope_and_no_error() -> None:
    found = first_gap.fit(np.array([]), np.array([], bool), horizon_days=30)
    assert found.p_returns(np.array([0.0, 500.0])).tolist() == [0.0, 0.0]


def _simulated(made: bgnbd.BgNbd, customers: int, seed: int) -> tuple[Floats, Floats, Floats]:
    draw = np.random.default_rng(seed)
    age = draw.uniform(30.0, 120.0, customers)
    x, tx = np.zeros(customers), np.zeros(customers)
    for who in range(customers):
        rate, leave, now = draw.gamma(made.r, 1 / made.alpha), draw.beta(made.a, made.b), 0.0
        while True:
            now += draw.exponential(1 / rate)
            if now > age[who]:
                break
            x[who], tx[who] = x[who] + 1, now
            if draw.random() < leave:
                break
    return x, tx, age
