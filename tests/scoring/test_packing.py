"""Inputs in 16 bits: equal to rounding one float at a time, and stable."""

import math
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.scoring.packing import pack_inputs, unpack_inputs

single = st.floats(width=32)


def rounded(value: float) -> float:
    """The nearer of the two neighbouring floats with 7 bits of fraction; the even one of equals."""
    if math.isnan(value) or math.isinf(value):
        return value
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    below = bits & 0xFFFF_0000
    rest = bits - below
    up = rest > 0x8000 or (rest == 0x8000 and below & 0x1_0000)
    (result,) = struct.unpack("<f", struct.pack("<I", below + (0x1_0000 if up else 0)))
    return float(result)


@given(st.lists(single, min_size=1, max_size=20))
def test_every_value_is_rounded_to_the_nearest(values: list[float]) -> None:
    x = np.array([values], np.float32)
    packed = pack_inputs(x)
    assert packed.dtype == np.uint16
    found = unpack_inputs(packed)
    np.testing.assert_array_equal(found[0], np.array([rounded(v) for v in values], np.float32))
    np.testing.assert_array_equal(pack_inputs(found), packed)


def test_the_error_is_at_most_a_256th() -> None:
    x = np.random.default_rng(1).lognormal(sigma=5.0, size=(200, 7)).astype(np.float32)
    assert (np.abs(unpack_inputs(pack_inputs(x)) - x) <= x / 256).all()


def test_no_rows_are_no_rows() -> None:
    assert unpack_inputs(pack_inputs(np.empty((0, 3), np.float32))).shape == (0, 3)
