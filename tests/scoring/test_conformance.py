"""Every detector keeps the promises of `engine.scoring.base.Detector`; a new one is found without a change here."""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import engine.scoring
from engine.scoring.base import Detector
from engine.scoring.registry import DETECTORS, create

INPUTS = 3
EVENTS = 700


def discovered() -> Iterator[type]:
    """Every class of engine.scoring that looks like a detector."""
    for module in pkgutil.iter_modules(engine.scoring.__path__, "engine.scoring."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and found is not Detector and issubclass_of_detector(found):
                yield found


def issubclass_of_detector(found: type) -> bool:
    wanted = ("inputs", "ready", "version", "score_then_learn", "dump", "load")
    return all(hasattr(found, name) for name in wanted)


def events(seed: int = 1, n: int = EVENTS) -> NDArray[np.float64]:
    """Skewed inputs with missing ones and some out of range."""
    draw = np.random.default_rng(seed)
    x = draw.beta(2.0, 8.0, (INPUTS, n))
    x[draw.random((INPUTS, n)) < 0.05] = math.nan
    x[draw.random((INPUTS, n)) < 0.02] = 7.0
    x[draw.random((INPUTS, n)) < 0.02] = -math.inf
    return x


def in_batches(detector: Detector, x: NDArray[np.float64], sizes: list[int]) -> NDArray[np.float64]:
    scores, start = [], 0
    for size in [*sizes, x.shape[1]]:
        scores.append(detector.score_then_learn(x[:, start : start + size]))
        start += size
    return np.concatenate(scores)


def test_every_detector_is_registered() -> None:
    assert set(discovered()) == set(DETECTORS.values())
    assert DETECTORS


def test_an_unknown_name_or_parameter_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"unknown detector 'no_such'; known: .*half_space_trees"):
        create("no_such", 3)
    with pytest.raises(ValueError, match="colour"):
        create("half_space_trees", 3, colour="red")


@pytest.mark.parametrize("name", DETECTORS)
class TestConformance:
    def test_scores_are_nan_until_ready_and_bounded_after(self, name: str) -> None:
        detector = create(name, INPUTS)
        assert detector.inputs == INPUTS
        assert not detector.ready
        ready_seen = False
        x = events(n=2000)
        for i in range(x.shape[1]):
            was_ready = detector.ready
            score = detector.score_then_learn(x[:, i : i + 1])[0]
            assert math.isnan(score) != was_ready
            assert not was_ready or 0.0 <= score <= 1.0
            ready_seen |= was_ready
        assert ready_seen

    @given(sizes=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 5))
    @settings(max_examples=25, deadline=None)
    def test_batches_change_nothing(self, name: str, sizes: list[int], seed: int) -> None:
        x = events(seed)
        whole, parts = create(name, INPUTS), create(name, INPUTS)
        np.testing.assert_array_equal(whole.score_then_learn(x), in_batches(parts, x, sizes))
        assert whole.dump() == parts.dump()

    @given(cut=st.integers(0, EVENTS))
    @settings(max_examples=25, deadline=None)
    def test_a_dumped_detector_continues_to_the_same_bits(self, name: str, cut: int) -> None:
        x = events()
        first, second = create(name, INPUTS), create(name, INPUTS)
        first.score_then_learn(x[:, :cut])
        second.score_then_learn(events(9)[:, :333])  # a state that must be replaced as a whole
        second.load(first.dump())
        assert second.ready == first.ready
        assert second.version == first.version
        np.testing.assert_array_equal(first.score_then_learn(x[:, cut:]), second.score_then_learn(x[:, cut:]))
        assert first.dump() == second.dump()

    def test_the_input_is_not_changed(self, name: str) -> None:
        x = events()
        before = x.copy()
        create(name, INPUTS).score_then_learn(x)
        np.testing.assert_array_equal(x, before)

    def test_a_wrong_shape_is_refused(self, name: str) -> None:
        detector = create(name, INPUTS)
        for x in (np.zeros((INPUTS + 1, 4)), np.zeros(INPUTS)):
            with pytest.raises(ValueError, match="shape"):
                detector.score_then_learn(x)

    def test_no_events_are_no_scores(self, name: str) -> None:
        assert create(name, INPUTS).score_then_learn(np.zeros((INPUTS, 0))).shape == (0,)

    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_damaged_bytes_are_refused_and_change_nothing(self, name: str, data: st.DataObject) -> None:
        detector = create(name, INPUTS)
        detector.score_then_learn(events())
        good = detector.dump()
        bad = bytearray(good)
        match data.draw(st.sampled_from(("flip", "cut", "grow", "noise"))):
            case "flip":
                bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del bad[data.draw(st.integers(0, len(bad) - 1)) :]
            case "grow":
                bad += b"\0"
            case "noise":
                bad = bytearray(data.draw(st.binary(max_size=200)))
        with pytest.raises(ValueError, match="detector state"):
            detector.load(bytes(bad))
        assert detector.dump() == good

    def test_a_dump_of_another_configuration_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="another configuration"):
            create(name, INPUTS).load(create(name, INPUTS + 1).dump())
