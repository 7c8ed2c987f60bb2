"""Draws by id: known numbers, spread evenly, the same in any order."""

import numpy as np

from engine.scoring.draw import draw


def test_the_numbers_are_those_of_splitmix64() -> None:
    first = draw(np.zeros(1, np.uint64), 1)  # its state is the golden ratio: the first number of a generator seeded 0
    assert first.tolist() == [(0xE220A8397B1DCDAF >> 11) * 2.0**-53]
    second = draw(np.ones(1, np.uint64), 1)
    assert second.tolist() == [(0x6E789E6AA1B965F4 >> 11) * 2.0**-53]


def test_ids_in_a_row_are_drawn_evenly_and_seeds_differ() -> None:
    ids = np.arange(100_000, dtype=np.uint64)
    numbers = draw(ids, 7)
    assert np.abs(np.histogram(numbers, 20, (0.0, 1.0))[0] - 5_000).max() < 350  # five standard deviations
    assert abs(np.corrcoef(numbers, draw(ids, 8))[0, 1]) < 0.02
    np.testing.assert_array_equal(draw(ids[::-1].copy(), 7), numbers[::-1])
