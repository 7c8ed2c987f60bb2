"""The bandit against river's and a naive ridge regression; its propensities; off-policy estimates on what it logged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river.linear_model import BayesianLinearRegression

from engine.engagement.models.bandit import LinUcb, bounds
from engine.engagement.models.offline import doubly_robust, ips, snips

Floats = NDArray[np.float64]
ALL = np.ones(3, np.bool_)
TRUE = np.array([[0.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.8, -1.0, 0.4]])


def world(seed: int, n: int) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    contexts = np.column_stack((np.ones(n), draw.random((n, 2))))
    return contexts, draw.normal(0.0, 0.3, n)


def test_means_and_bounds_are_those_of_river() -> None:
    """river's LinUCB adds the noise of one outcome to the spread: what is left without it is ours."""
    ours, theirs = LinUcb(2, 3, ridge=0.7), [BayesianLinearRegression(alpha=0.7, beta=1.0) for _ in range(2)]
    contexts, noise = world(1, 400)
    for number, (context, off) in enumerate(zip(contexts, noise, strict=True)):
        arm, outcome = number % 2, float(TRUE[number % 2 + 1] @ context + off)
        ours.learn(arm, context, outcome)
        theirs[arm].learn_one(dict(enumerate(context.tolist())), outcome)
        if number % 40 == 39:
            at = dict(enumerate(contexts[0].tolist()))
            expected = [model.predict_one(at, with_dist=True) for model in theirs]
            assert ours.means(contexts[0]) == pytest.approx([one.mu for one in expected], rel=1e-6)
            spread = bounds(ours._inverse, ours._pull, contexts[0], 1.0) - ours.means(contexts[0])
            assert spread == pytest.approx([np.sqrt(one.sigma**2 - 1.0) for one in expected], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 60), st.floats(0.05, 5.0))
def test_it_solves_the_ridge_regression_of_each_arm(seed: int, n: int, ridge: float) -> None:
    bandit = LinUcb(3, 3, ridge=ridge)
    contexts, noise = world(seed, n)
    arms = np.arange(n) % 3
    for arm, context, off in zip(arms, contexts, noise, strict=True):
        bandit.learn(int(arm), context, float(TRUE[arm] @ context + off))
    for arm in range(3):
        rows = contexts[arms == arm]
        gram = rows.T @ rows + ridge * np.eye(3)
        weights = np.linalg.solve(gram, rows.T @ ((rows @ TRUE[arm]) + noise[arms == arm]))
        assert bandit.means(np.array([1.0, 0.3, 0.6]))[arm] == pytest.approx(
            weights @ [1.0, 0.3, 0.6], rel=1e-6, abs=1e-9
        )


def test_propensities_are_the_shares_of_the_choices() -> None:
    bandit = trained(0)
    context, draws = np.array([1.0, 0.9, 0.1]), (np.arange(20_000) + 0.5) / 20_000
    for eligible in (ALL, np.array([True, False, True])):
        chosen = [bandit.choose(context, float(draw), eligible) for draw in draws]
        for arm in np.flatnonzero(eligible):
            of_arm = {one.propensity for one in chosen if one.arm == arm}
            assert len(of_arm) == 1
            assert of_arm.pop() == pytest.approx(sum(one.arm == arm for one in chosen) / len(chosen), abs=1e-3)
        assert all(eligible[one.arm] for one in chosen)


def test_who_must_not_be_explored_on_gets_the_best_known() -> None:
    bandit, context = trained(0), np.array([1.0, 0.9, 0.1])
    best = int(np.argmax(bandit.means(context)))
    for draw in (0.0, 0.05, 0.5, 0.999):
        assert bandit.choose(context, draw, ALL, explore=False) == (best, 1.0, False)


def test_it_finds_out_whom_to_offer_what() -> None:
    """After 4,000 choices it earns most of what knowing the truth would, and more than any one arm for all."""
    bandit, contexts, noise = LinUcb(3, 3), *world(4, 8_000)
    draws, earned, best = np.random.default_rng(5).random(8_000), [], []
    for context, off, draw in zip(contexts, noise, draws, strict=True):
        arm = bandit.choose(context, float(draw), ALL).arm
        bandit.learn(arm, context, float(TRUE[arm] @ context + off))
        earned.append(TRUE[arm] @ context)
        best.append(max(TRUE @ context))
    alone = max((contexts[4_000:] @ TRUE.T).mean(axis=0))
    assert np.mean(earned[4_000:]) > 0.9 * np.mean(best[4_000:])
    assert np.mean(earned[4_000:]) > alone


def test_estimates_of_another_policy_are_right() -> None:
    """The truth of 'always arm 1' lies within three errors of each estimate, and the doubly robust one errs least."""
    bandit, contexts, noise = trained(1), *world(6, 6_000)
    draws = np.random.default_rng(7).random(6_000)
    choices = [LinUcb.choose(bandit, context, float(draw), ALL) for context, draw in zip(contexts, draws, strict=True)]
    arms, propensity = np.array([one.arm for one in choices]), np.array([one.propensity for one in choices])
    outcome = (contexts * TRUE[arms]).sum(axis=1) + noise
    wanted, model = (arms == 1).astype(float), contexts @ (TRUE * 0.9).T
    truth = float((contexts @ TRUE[1]).mean())
    found = (
        ips(outcome, propensity, wanted),
        snips(outcome, propensity, wanted),
        doubly_robust(outcome, propensity, wanted, model[np.arange(6_000), arms], model[:, 1]),
    )
    for estimate in found:
        assert abs(estimate.value - truth) < 3.0 * estimate.error
    assert found[2].error < 0.7 * found[0].error


def test_states_are_stored_and_others_refused() -> None:
    bandit = trained(2)
    same = LinUcb(3, 3, stored=bandit.dump())
    context = np.array([1.0, 0.2, 0.7])
    assert same.means(context).tolist() == bandit.means(context).tolist()
    same.learn(1, context, 2.0)
    bandit.learn(1, context, 2.0)
    assert same.dump() == bandit.dump()
    with pytest.raises(ValueError, match="no bandit of 4 arms"):
        LinUcb(4, 3, stored=bandit.dump())


def test_what_is_not_finite_changes_nothing() -> None:
    bandit = trained(3)
    before = bandit.dump()
    for context, outcome in (([1.0, np.nan, 0.0], 1.0), ([1.0, 0.0, 0.0], np.inf)):
        with pytest.raises(ValueError, match="not finite"):
            bandit.learn(0, np.array(context), outcome)
    assert bandit.dump() == before
    with pytest.raises(ValueError, match="no arm"):
        bandit.choose(np.ones(3), 0.5, np.zeros(3, np.bool_))
    with pytest.raises(ValueError, match="propensity"):
        ips(np.ones(3), np.array([0.5, 0.0, 0.5]), np.ones(3))


def trained(seed: int) -> LinUcb:
    bandit, contexts, noise = LinUcb(3, 3), *world(seed, 600)
    for number, (context, off) in enumerate(zip(contexts, noise, strict=True)):
        bandit.learn(number % 3, context, float(TRUE[number % 3] @ context + off))
    return bandit
