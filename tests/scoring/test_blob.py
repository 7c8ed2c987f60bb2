"""Arrays as bytes: nothing is lost, nothing damaged is taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scoring import blob

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.array([1.5, np.nan, -np.inf], np.float32),
    np.array([-(2**62)], np.int64),
    np.zeros((0, 4), np.int32),
    np.array(7, np.uint64),
    np.array([[[1]], [[2]]], np.uint16),
    blob.text("wörter"),
]


def test_arrays_come_back_as_they_were() -> None:
    found = blob.read(b"TEST", blob.write(b"TEST", ARRAYS), "it")
    assert len(found) == len(ARRAYS)
    for before, after in zip(ARRAYS, found, strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
    assert blob.read(b"TEST", blob.write(b"TEST", []), "it") == []


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    bad = bytearray(blob.write(b"TEST", ARRAYS))
    match data.draw(st.sampled_from(("flip", "cut", "noise"))):
        case "flip":
            bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del bad[data.draw(st.integers(0, len(bad) - 1)) :]
        case "noise":
            bad = bytearray(data.draw(st.binary(max_size=60)))
    with pytest.raises(ValueError, match="the thing"):
        blob.read(b"TEST", bytes(bad), "the thing")


@given(st.binary(max_size=60))
def test_a_right_checksum_over_nonsense_is_refused_or_read(body: bytes) -> None:
    sealed = b"TEST" + body
    try:
        found = blob.read(b"TEST", sealed + blob.checksum(sealed), "it")
    except ValueError as error:
        assert "damaged at byte" in str(error)
    else:
        assert blob.write(b"TEST", found) == sealed + blob.checksum(sealed)


def test_another_magic_type_or_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with b'ELSE'"):
        blob.read(b"TEST", blob.write(b"ELSE", []), "it")
    for kind, shape in (("<f8", (2, 3)), ("<f4", (3,)), ("<f8", (6,))):
        with pytest.raises(ValueError, match="it holds"):
            blob.expect(np.zeros((3, 2)), kind, shape, "it")
    assert blob.expect(np.zeros((3, 2)), "<f8", (-1, 2), "it").shape == (3, 2)
