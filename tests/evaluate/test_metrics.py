"""The figures against their definitions, on small random histories full of ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.service.evaluate import cards, intervals, metrics
from tests.evaluate import naive

ROWS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=60
)
"""Fraud or not, score in sixths, day, card."""
Row = tuple[bool, int, int, int]


def arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    fraud, score, day, card = zip(*rows)
    return np.array(fraud, bool), np.array(score) / 6, np.array(day, np.int64), np.array(card, np.int64)


@given(ROWS)
def test_auc_and_average_precision(rows: list[Row]) -> None:
    fraud, score, _, _ = arrays(rows)
    auc, precision = metrics.roc_auc(fraud, score), metrics.average_precision(fraud, score)
    if fraud.any():
        assert precision == pytest.approx(naive.average_precision(fraud.tolist(), score.tolist()))
    else:
        assert precision is None
    if fraud.any() and not fraud.all():
        assert auc == pytest.approx(naive.roc_auc(fraud.tolist(), score.tolist()))
    else:
        assert auc is None


@given(ROWS, st.sampled_from([0.05, 0.2, 0.5, 1.0]), st.randoms(use_true_random=False))
def test_recall_at_a_budget_does_not_depend_on_the_order(rows: list[Row], budget: float, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = (metrics.recall_at(*arrays(some)[:2], [budget])[0] for some in (rows, shuffled))
    fraud, score, _, _ = arrays(rows)
    if one is None or two is None:
        assert one is None and two is None and not fraud.any()
        return
    assert one == pytest.approx(two)
    place = budget * len(rows)
    levels = sorted(set(score.tolist()), reverse=True)
    expected = 0.0
    for level in levels:  # all of a level, or so much of it as still fits
        size, bad = int((score == level).sum()), int(fraud[score == level].sum())
        taken = min(1.0, max(0.0, place / size))
        expected += taken * bad
        place -= taken * size
    assert one == pytest.approx(expected / fraud.sum())


@given(ROWS)
def test_recall_and_precision_of_the_curve_are_those_of_a_threshold(rows: list[Row]) -> None:
    fraud, score, _, _ = arrays(rows)
    for recall, precision in metrics.precision_recall(fraud, score, 7):
        for level in sorted(set(score.tolist()), reverse=True):
            if fraud[score >= level].sum() >= recall * fraud.sum() - 1e-9:
                assert precision == pytest.approx(fraud[score >= level].mean())
                break


@given(ROWS)
def test_brier_and_reliability(rows: list[Row]) -> None:
    fraud, score, _, _ = arrays(rows)
    assert metrics.brier(fraud, score) == pytest.approx(sum((s - f) ** 2 for s, f in zip(score, fraud)) / len(rows))
    bins = metrics.reliability(fraud, score)
    assert sum(one.payments for one in bins) == len(rows)
    error = 0.0
    for one in bins:
        inside = [(f, s) for f, s in zip(fraud, score) if one.low <= s and (s < one.high or one.high == s == 1.0)]
        assert (one.payments, one.frauds) == (len(inside), sum(f for f, _ in inside))
        if inside:
            assert one.predicted == pytest.approx(sum(s for _, s in inside) / len(inside))
            assert one.observed == pytest.approx(one.frauds / one.payments)
            error += abs(sum(s for _, s in inside) - one.frauds) / len(rows)
        else:
            assert one.predicted is None and one.observed is None
    assert metrics.calibration_error(bins) == pytest.approx(error)


@given(ROWS, st.integers(1, 4))
def test_card_precision(rows: list[Row], shown: int) -> None:
    fraud, score, day, card = arrays(rows)
    expected = naive.card_precision(day.tolist(), card.tolist(), fraud.tolist(), score.tolist(), shown)
    assert cards.card_precision(day, card, fraud, score, shown) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=120))
def test_known_cards_are_those_of_the_handbook(rows: list[tuple[bool, int, int]]) -> None:
    """With the labels of a day at 00:00 eight days later."""
    fraud, day, card = (np.array(values) for values in zip(*rows))
    start, day_ms = 20, 86_400_000
    arrived = (day[fraud] + 8) * day_ms
    every = np.flatnonzero((day >= start) & (day < start + 7))
    left = cards.unknown_cards(
        card[every].astype(np.int64), day[every].astype(np.int64), start, card[fraud].astype(np.int64), arrived, day_ms
    )
    expected = naive.handbook_unknown(day.tolist(), card.tolist(), fraud.tolist(), start)
    assert every[left].tolist() == expected


@given(ROWS, st.integers(0, 1000))
def test_figures_of_drawn_days_are_those_of_the_rows_repeated(rows: list[Row], seed: int) -> None:
    fraud, score, day, _ = arrays(rows)
    weights = intervals.draws(5, count=4, seed=seed)
    precision, auc = intervals.figures(intervals.ranking(day.astype(np.intp), 5, fraud, score), weights)
    assert weights[:, 0].tolist() == [1.0] * 5
    assert weights.sum(axis=0).tolist() == [5.0] * 5
    for draw in range(weights.shape[1]):
        taken = np.repeat(np.arange(len(rows)), weights[day, draw].astype(int))
        for found, exact in ((precision, metrics.average_precision), (auc, metrics.roc_auc)):
            expected = exact(fraud[taken], score[taken])
            if expected is None:
                assert not np.isfinite(found[draw])
            else:
                assert found[draw] == pytest.approx(expected)


def test_an_interval_holds_its_figure_and_most_draws() -> None:
    values = np.concatenate(([0.5], np.linspace(0.0, 1.0, 1001), [np.nan]))
    found = intervals.interval(values)
    assert found is not None
    assert found == pytest.approx((0.5, 0.025, 0.975))
    assert intervals.interval(np.array([np.nan, 1.0])) is None
    assert intervals.interval(np.array([0.5])) is None
