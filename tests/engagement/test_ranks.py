"""Live ranks against a sorted list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.models.ranks import BINS, Ranks, bin_of, lower_edge

amounts = st.floats(0, 1e8) | st.just(0.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), amounts), min_size=1, max_size=80), st.floats(0, 1))
def test_ranks_and_quantiles_are_those_of_the_values_now(moves: list[tuple[int, float]], share: float) -> None:
    ranks, now = Ranks(), dict[int, float]()
    for who, value in moves:
        ranks.move(now.get(who), value)
        now[who] = value
    values = np.sort(list(now.values()))
    assert ranks.customers == len(now)
    for value in now.values():
        below, same = sum(bin_of(v) < bin_of(value) for v in values), sum(bin_of(v) == bin_of(value) for v in values)
        assert ranks.rank(value) == pytest.approx((below + same / 2) / len(now))
    exact = values[max(0, int(np.ceil(max(share * len(values), 1.0))) - 1)]
    assert ranks.quantile(share) == lower_edge(bin_of(float(exact)))


@given(st.floats(2.0**-10, 2.0**31))
def test_a_bin_is_within_an_eighth_of_an_octave(value: float) -> None:
    place = bin_of(value)
    assert lower_edge(place) <= value < lower_edge(place + 1)
    assert lower_edge(place + 1) / lower_edge(place) <= 1.125 + 1e-12


def test_what_is_no_amount_is_nothing() -> None:
    assert [bin_of(value) for value in (float("nan"), -5.0, 0.0, 1e-9)] == [0, 0, 0, 0]
    assert bin_of(float("inf")) == bin_of(1e300) == BINS - 1


def test_the_order_of_moves_does_not_matter_and_states_are_stored() -> None:
    one, two = Ranks(), Ranks()
    for value in (1.0, 5.0, 300.0):
        one.move(None, value)
    for value in (300.0, 1.0, 5.0):
        two.move(None, value)
    assert one.dump() == two.dump() == Ranks(one.dump()).dump()
    one.move(5.0, None)
    assert one.customers == 2
    assert np.isnan(Ranks().rank(1.0))
    with pytest.raises(ValueError, match="no ranks"):
        Ranks(b"RNK0")
