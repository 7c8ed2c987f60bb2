"""The confidence sequence of a lift: it covers a planted effect at every look at once, and it narrows."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.engagement.models.effect import OUTCOMES_MIN, Effect, roi

Floats = NDArray[np.float64]

SEEDS = 300
CUSTOMERS = 6_000
HELD = 0.1
LOOKS = tuple(range(1_500, CUSTOMERS + 1, 500))


def customers(seed: int, lift: float) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Who is held out, what each spent before, and after: skewed, with a planted relative lift of the treated."""
    draw = np.random.default_rng(seed)
    held = draw.random(CUSTOMERS) < HELD
    usual = draw.gamma(2.0, 30.0, CUSTOMERS)
    before = usual * draw.gamma(4.0, 0.25, CUSTOMERS)
    after = usual * draw.gamma(4.0, 0.25, CUSTOMERS) * np.where(held, 1.0, 1.0 + lift)
    return held, before, after


def looked_at(seed: int, lift: float) -> list[tuple[float, float]]:
    """The intervals of the relative lift at every look."""
    effect, found = Effect(), []
    for number, (held, before, after) in enumerate(zip(*customers(seed, lift), strict=True), start=1):
        effect.observe(bool(held), float(after), float(before))
        if number in LOOKS:
            known = effect.lift()
            assert known is not None
            found.append((known.relative.low, known.relative.high))
    return found


@pytest.mark.parametrize("planted", [0.05, 0.0])
def test_the_truth_is_inside_at_every_look(planted: float) -> None:
    """Of 300 experiments looked at ten times each, at most the stated 5 % ever lose the truth, with room for chance."""
    missed = 0
    for seed in range(SEEDS):
        missed += any(not low <= planted <= high for low, high in looked_at(seed, planted))
    assert missed <= 0.05 * SEEDS + 2 * math.sqrt(SEEDS * 0.05 * 0.95)


def test_it_narrows_and_in_the_end_excludes_nothing_happened() -> None:
    effect, widths = Effect(), []
    for seed in range(12):
        for held, before, after in zip(*customers(seed, 0.05), strict=True):
            effect.observe(bool(held), float(after), float(before))
        known = effect.lift()
        assert known is not None
        widths.append(known.relative.high - known.relative.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 2
    assert known.relative.low > 0
    assert known.relative.low <= 0.05 <= known.relative.high


def test_the_covariate_saves_most_of_the_customers() -> None:
    """The same outcomes without what was before need a wider interval."""
    with_it, without = Effect(), Effect()
    for held, before, after in zip(*customers(5, 0.05), strict=True):
        with_it.observe(bool(held), float(after), float(before))
        without.observe(bool(held), float(after), 0.0)
    one, two = with_it.lift(), without.lift()
    assert one is not None
    assert two is not None
    reach = [known.difference.high - known.difference.low for known in (one, two)]
    assert reach[0] < 0.85 * reach[1]


def test_the_difference_is_that_of_a_regression() -> None:
    """Against least squares of the outcome on group and covariate: the same difference."""
    held, before, after = customers(9, 0.05)
    effect = Effect()
    for one in zip(held, before, after, strict=True):
        effect.observe(bool(one[0]), float(one[2]), float(one[1]))
    design = np.column_stack((np.ones(CUSTOMERS), ~held, before))
    expected = np.linalg.lstsq(design, after, rcond=None)[0][1]
    known = effect.lift()
    assert known is not None
    assert known.difference.estimate == pytest.approx(expected, rel=1e-9)


def test_shards_add_up_and_states_are_stored() -> None:
    whole, parts = Effect(), [Effect(), Effect()]
    for number, (held, before, after) in enumerate(zip(*customers(2, 0.05), strict=True)):
        whole.observe(bool(held), float(after), float(before))
        parts[number % 2].observe(bool(held), float(after), float(before))
    parts[0].add(Effect(parts[1].dump()))
    one, two = whole.lift(), parts[0].lift()
    assert one is not None
    assert two is not None
    assert one.difference == pytest.approx(two.difference)
    with pytest.raises(ValueError, match="no effect"):
        Effect(b"EFF0" + whole.dump()[4:])


def test_too_few_say_nothing() -> None:
    effect = Effect()
    for number in range(10 * OUTCOMES_MIN):
        effect.observe(number < OUTCOMES_MIN - 1, 1.0, 1.0)
    assert effect.lift() is None
    effect.observe(True, 1.0, 1.0)
    known = effect.lift()
    assert known is not None
    assert known.held == OUTCOMES_MIN
    with pytest.raises(ValueError, match="nan"):
        effect.observe(True, math.nan, 1.0)


def test_the_return_is_what_came_in_against_what_it_cost() -> None:
    effect = Effect()
    for number in range(2_000):
        effect.observe(number % 2 == 0, 10.0 if number % 2 == 0 else 12.0, 1.0)
    known = effect.lift()
    assert known is not None
    assert roi(known, cost=500.0) == pytest.approx((2_000.0, 500.0, 3.0))
    assert math.isnan(roi(known, cost=0.0).roi)
