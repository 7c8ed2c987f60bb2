"""The promises of `Learner`, for every learner there is. A new one is found without a change here."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.scoring.learners
from engine.scoring.learners.base import Learner, Predictor, Task
from engine.scoring.learners.registry import LEARNERS, create
from engine.scoring.rows import joined
from tests.scoring.labelled import DAY_MS, INPUTS, START_MS, arriving, average_precision, payments

A_DAY = 800


def discovered() -> Iterator[type]:
    """Every class of engine.scoring.learners that looks like a learner."""
    wanted = [name for name in dir(Learner) if not name.startswith("_")]
    for module in pkgutil.iter_modules(engine.scoring.learners.__path__, "engine.scoring.learners."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and found is not Learner and all(hasattr(found, w) for w in wanted):
                yield found


def taught(learner: Learner, days: int, known: Predictor | None = None, first: int = 0) -> Predictor:
    """What a learner knows after some days of labels, the legitimate ones a third of all."""
    found, rows = known, [arriving(payments(1, A_DAY, d * A_DAY)[1], START_MS + d * DAY_MS, 0.3) for d in range(first)]
    for day in range(first, first + days):
        fresh = arriving(payments(1, A_DAY, day * A_DAY)[1], START_MS + day * DAY_MS, 0.3)
        rows.append(fresh)
        found = learner.learn(found, Task(START_MS + (day + 1) * DAY_MS, fresh, joined(rows)))
    assert found is not None
    return found


def test_every_learner_is_registered() -> None:
    assert set(discovered()) == set(LEARNERS.values())
    assert LEARNERS


def test_an_unknown_name_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"unknown learner 'no_such'; known: boosted_trees"):
        create("no_such", 3, 1)


@pytest.mark.parametrize("name", LEARNERS)
class TestConformance:
    def test_it_learns(self, name: str) -> None:
        known = taught(create(name, INPUTS, 1), 5)
        x, rows = payments(2, 5_000)
        share = float(rows.fraud.mean())
        assert average_precision(rows.fraud, known.margins(x)) > 8 * share

    def test_the_same_rows_make_the_same_predictor_on_any_thread(self, name: str) -> None:
        here = taught(create(name, INPUTS, 1), 3).dump()
        with ThreadPoolExecutor(2) as pool:
            there = [pool.submit(taught, create(name, INPUTS, 1), 3) for _ in range(2)]
        assert [future.result().dump() for future in there] == [here, here]

    @given(sizes=st.lists(st.integers(1, 200), max_size=5))
    @settings(max_examples=10, deadline=None)
    def test_a_row_has_the_same_margin_in_any_batch(self, name: str, sizes: list[int]) -> None:
        known = taught(create(name, INPUTS, 1), 2)
        x, _ = payments(3, 600)
        cuts = np.cumsum(sizes)
        parts = [known.margins(np.ascontiguousarray(part)) for part in np.split(x, cuts[cuts < len(x)])]
        np.testing.assert_array_equal(np.concatenate(parts), known.margins(x))

    def test_what_is_missing_or_infinite_makes_no_margin_that_is_not_finite(self, name: str) -> None:
        known = taught(create(name, INPUTS, 1), 2)
        odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0], np.float32)
        x = np.stack([np.full(INPUTS, value) for value in odd])
        assert np.isfinite(known.margins(x)).all()

    def test_parts_add_up_to_the_margin(self, name: str) -> None:
        known = taught(create(name, INPUTS, 1), 3)
        x, _ = payments(4, 50)
        x[0], x[1] = np.nan, 3e38
        for row, margin in zip(x, known.margins(x), strict=True):
            base, parts = known.parts(row)
            assert parts.shape == (INPUTS,)
            assert abs(base + parts.sum() - margin) < 1e-9

    def test_what_matters_has_the_largest_parts(self, name: str) -> None:
        known = taught(create(name, INPUTS, 1), 5)
        row = np.zeros(INPUTS, np.float32)
        row[:2] = 2.5
        assert set(np.argsort(known.parts(row).inputs)[-2:]) == {0, 1}

    def test_a_dumped_predictor_scores_and_learns_on_to_the_same_bits(self, name: str) -> None:
        learner = create(name, INPUTS, 1)
        known = taught(learner, 3)
        again = learner.load(known.dump())
        x, _ = payments(5, 300)
        np.testing.assert_array_equal(known.margins(x), again.margins(x))
        assert taught(learner, 2, known, 3).dump() == taught(learner, 2, again, 3).dump()

    @given(data=st.data())
    @settings(max_examples=30, deadline=None)
    def test_damaged_bytes_are_refused(self, name: str, data: st.DataObject) -> None:
        learner = create(name, INPUTS, 1)
        bad = bytearray(taught(learner, 1).dump())
        if data.draw(st.booleans()):
            bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        else:
            del bad[data.draw(st.integers(0, len(bad) - 1)) :]
        with pytest.raises(ValueError, match="learner state"):
            learner.load(bytes(bad))

    def test_a_predictor_of_another_configuration_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="another configuration"):
            create(name, INPUTS + 1, 1).load(taught(create(name, INPUTS, 1), 1).dump())

    def test_learning_leaves_what_was_known_as_it_was(self, name: str) -> None:
        learner = create(name, INPUTS, 1)
        known = taught(learner, 2)
        before = known.dump()
        taught(learner, 1, known, 2)
        assert known.dump() == before

    def test_shares_fall_with_the_volume(self, name: str) -> None:
        learner = create(name, INPUTS, 1)
        shares = [learner.share(volume) for volume in (0.0, 100.0, 10_000.0, 1e6, 1e9)]
        assert all(0.0 < share <= 1.0 for share in shares)
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < 0.01
        assert 0 < learner.period_ms <= DAY_MS
        assert learner.memory_days > 0
