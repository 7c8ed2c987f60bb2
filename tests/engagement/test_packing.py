"""Tables as bytes: the kernel writes what plain Python writes, and what was written is read again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement import packing_kernel
from engine.engagement.packing import Source, pack_number, pack_tables, unpack_tables
from tests.engagement import packing_oracle
from tests.support.plain import in_plain_python

LOWEST, HIGHEST = -(2**63), 2**64 - 1
ROWS_MAX = 400
Column = list[int]

widths = st.integers(0, 64)
bounds = st.one_of(
    st.sampled_from([LOWEST, -1, 0, 1, 2**63 - 1, 2**63, HIGHEST]), st.integers(-300, 300), st.integers(LOWEST, HIGHEST)
)


def within(low: int, width: int) -> st.SearchStrategy[int]:
    """Numbers of so many bits above the lowest, as far as they may be stored; both ends often."""
    high = min(HIGHEST, low + 2**width - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high]))


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Column:
    """Columns of all ranges that may be stored, of the shapes that the codings are for: few values, one with rare
    others, little above the least with some that are far."""
    low, width = draw(bounds), draw(widths)
    some = draw(st.lists(within(low, width), min_size=1, max_size=40))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(["few", "rare", "near", "all", "rising"]))
    if shape == "few":
        return [some[k] for k in seed.integers(0, len(some), rows)]
    if shape == "rare":
        share = draw(st.floats(0, 0.5))
        return [some[seed.integers(0, len(some))] if one < share else some[0] for one in seed.random(rows)]
    top = min(HIGHEST, low + 2**width - 1) - low
    above = [int.from_bytes(seed.bytes(9), "little") % (top + 1) for _ in range(rows)]
    if shape == "near":
        narrow, share = draw(st.integers(0, width)), draw(st.floats(0, 0.5))
        far = seed.random(rows) < share
        return [low + (one if far[k] else one % 2**narrow) for k, one in enumerate(above)]
    return [low + one for one in (sorted(above) if shape == "rising" else above)]


@st.composite
def tables(draw: st.DrawFn) -> list[Column]:
    rows = draw(st.one_of(st.integers(0, 12), st.integers(0, 70), st.integers(0, ROWS_MAX)))
    return draw(st.lists(columns(rows), max_size=5))


@settings(deadline=None, max_examples=500)
@given(st.lists(tables(), max_size=4))
def test_the_kernel_writes_what_plain_python_writes(some: list[list[Column]]) -> None:
    packed = pack_tables(*some)
    assert packed == packing_oracle.pack_tables(*some)
    again = [list(rows) for rows in unpack_tables(Source(packed), len(some))]
    assert again == [list(zip(*table, strict=True)) for table in some]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 34, 48, 49, 255, 256, 257])
def test_at_the_bounds_of_the_codings(count: int) -> None:
    """As many values as `few` takes and one more, of equals the first as the commonest, the longest numbers."""
    spread = [n * 2**40 for n in range(count)]
    ends = [[LOWEST, 2**63 - 1], [LOWEST + 1, 2**63], [-1, HIGHEST - 1], [0, HIGHEST], [HIGHEST, HIGHEST - 1]]
    table = [
        spread,
        spread[::-1],
        [2**40 * (n % 32) for n in range(count)],
        [5 if n % 2 else 2**50 for n in range(count)],
        *([(one if n % 3 else two) for n in range(count)] for one, two in ends),
        *([one] * count for one in (LOWEST, -124, -123, 0, 123, 124, 2**63, HIGHEST)),
    ]
    assert pack_tables(table) == packing_oracle.pack_tables(table)
    signed = [[n - 2**40 for n in column] for column in table[:4]]
    assert pack_tables(signed) == packing_oracle.pack_tables(signed)


@pytest.mark.parametrize("column", [[LOWEST - 1], [0, HIGHEST + 1], [LOWEST, 2**63]])
def test_numbers_of_another_range_are_refused(column: Column) -> None:
    with pytest.raises(OverflowError, match="cannot be packed"):
        pack_tables([column])


@pytest.mark.parametrize(
    "table", [[[1, 2], [1]], [[1], [1, 2]], [[1], []], [[], [1]], [[1, 2], [1], [1, 2, 3], [2**63, 4]]]
)
def test_columns_of_several_lengths_are_refused(table: list[Column]) -> None:
    with pytest.raises(ValueError, match="columns of lengths"):
        pack_tables(table)


def test_one_kernel_is_compiled_for_all_numbers() -> None:
    pack_tables([[1, 2]])
    before = list(packing_kernel.pack.signatures)  # type: ignore[attr-defined]
    pack_tables([], [[2**63, 1], [-1, 5]])
    assert packing_kernel.pack.signatures == before  # type: ignore[attr-defined]
    assert len(before) == 1


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_numbers_are_packed_and_unpacked(number: int, rest: bytes) -> None:
    source = Source(pack_number(number) + rest)
    assert source.number() == number
    assert source.take(len(rest)) == rest
    with pytest.raises(ValueError, match="too soon"):
        source.take(1)


def test_columns_that_differ_little_are_short() -> None:
    """The rare exception costs itself and its place, and few different values what tells them apart."""
    assert len(pack_tables([[2**40] * 200])) < 14
    assert len(pack_tables([[5 if n != 77 else 2**40 for n in range(200)]])) < 18
    assert len(pack_tables([[n * n % 7 * 10**9 for n in range(200)]])) < 75
    assert len(pack_tables([[n % 16 if n % 50 else 2**30 for n in range(200)]])) < 130


def written() -> bytes:
    """Tables of each coding, and of numbers that wrap."""
    draw = np.random.default_rng(4)
    few, near = draw.integers(0, 9, 60) * 10**12, draw.integers(0, 2**48, 40)
    rare = [7 if n % 9 else 2**40 for n in range(60)]
    ends = [[LOWEST, 2**63 - 1, -5], [-1, HIGHEST - 1, 3], [0, HIGHEST, 2**63], [-7, -7, 2**64 - 100]]
    return pack_tables([few.tolist(), rare], [near.tolist()], ends, [])


def test_plain_python_gives_the_same_bytes() -> None:
    assert in_plain_python("tests.engagement.test_packing", "written") == written()
