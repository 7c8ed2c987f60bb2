"""The matcher against a naive one, and case by case."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.settlements import SettlementLine
from engine.service.reconcile.matching import STATUSES, reconcile
from engine.service.reconcile.payments import Movement
from tests.reconcile.naive import statuses


def movement(
    payment: str = "p1", minor: int = 1000, *, refund: str = "", direction: str = "credit", currency: str = "EUR",
    event: str = "e", expected: bool = True,
) -> Movement:  # fmt: skip
    kind = "payment.refunded" if direction == "debit" else "payment.settled"
    return Movement(event, kind, "c1", payment, refund, direction, minor, currency, 0, expected)  # type: ignore[arg-type]


def line(
    *references: str, minor: int = 1000, direction: str = "credit", currency: str = "EUR", line_id: str = ""
) -> SettlementLine:
    return SettlementLine("f:2", line_id, references or ("p1",), direction, minor, currency)  # type: ignore[arg-type]


PAYMENTS = st.sampled_from(["p1", "p2", "p3"])
AMOUNTS = st.integers(1, 8)
SIDES = st.sampled_from(["credit", "debit"])
CURRENCIES = st.sampled_from(["EUR", "EUR", "USD"])
REFERENCES = st.lists(st.sampled_from(["p1", "p2", "p3", "r1", "r2", "zz"]), max_size=2).map(tuple)
MOVEMENTS = st.lists(
    st.builds(
        lambda payment, minor, refund, side, currency: movement(
            payment, minor, refund=refund if side == "debit" else "", direction=side, currency=currency
        ),
        PAYMENTS, AMOUNTS, st.sampled_from(["", "r1", "r2"]), SIDES, CURRENCIES,
    ),
    max_size=7,
)  # fmt: skip
LINES = st.lists(
    st.builds(SettlementLine, st.just("f:2"), st.sampled_from(["", "", "l1"]), REFERENCES, SIDES, AMOUNTS, CURRENCIES),
    max_size=7,
)


@settings(max_examples=500, deadline=None)
@given(MOVEMENTS, LINES, st.integers(0, 3))
def test_equal_to_a_naive_matcher(ours: list[Movement], theirs: list[SettlementLine], tolerance: int) -> None:
    ours = [one._replace(event_id=f"e{index}") for index, one in enumerate(ours)]
    theirs = [one._replace(place=f"f:{index}") for index, one in enumerate(theirs)]
    found = reconcile(ours, theirs, tolerance)
    # Everything is in exactly one finding.
    assert Counter(one.movement for one in found if one.movement) == Counter(ours)
    assert Counter(one.line for one in found if one.line) == Counter(theirs)
    counts = Counter(one.status for one in found)
    wanted = statuses(ours, theirs, tolerance)
    for status in ("matched", "amount_differs", "currency_differs"):
        assert counts[status] == wanted[status], status
    alone = wanted["left over"] + wanted["missing_in_payments"] + wanted["duplicate_line"]
    assert sum(counts.values()) == sum(counts[status] for status in STATUSES[:3]) + alone
    for one in found:
        if one.movement and one.line:
            assert one.movement.direction == one.line.direction
            same = one.movement.currency == one.line.currency
            assert same == (one.status != "currency_differs")
            assert (one.status == "matched") == (same and abs(one.difference) <= tolerance)
        else:
            assert one.status in STATUSES[3:]


@settings(max_examples=100, deadline=None)
@given(MOVEMENTS, LINES, st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_does_not_matter(
    ours: list[Movement], theirs: list[SettlementLine], tolerance: int, random: object
) -> None:
    def told(a: list[Movement], b: list[SettlementLine]) -> Counter[tuple[str, int]]:
        return Counter((one.status, one.difference) for one in reconcile(a, b, tolerance))

    mixed, shuffled = list(ours), list(theirs)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert told(ours, theirs) == told(mixed, shuffled)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance", "expected"),
    [
        ([movement()], [line()], 0, ["matched"]),
        ([movement()], [line(minor=998)], 2, ["matched"]),
        ([movement()], [line(minor=997)], 2, ["amount_differs"]),
        ([movement()], [line(currency="USD")], 0, ["currency_differs"]),
        ([movement()], [], 0, ["missing_in_settlements"]),
        ([movement(expected=False)], [], 0, []),
        ([movement(expected=False)], [line()], 0, ["matched"]),
        ([], [line()], 0, ["missing_in_payments"]),
        ([movement()], [line(), line()], 0, ["matched", "duplicate_line"]),
        ([movement()], [line(), line(minor=500)], 0, ["matched", "missing_in_payments"]),
        ([movement(event="a"), movement(event="b")], [line()], 0, ["matched", "duplicate_payment"]),
        ([movement()], [line(line_id="x"), line(line_id="x")], 0, ["matched", "duplicate_line"]),
        ([movement()], [line("unknown", "p1")], 0, ["matched"]),
        ([movement()], [line(direction="debit")], 0, ["missing_in_settlements", "missing_in_payments"]),
        (
            [movement(direction="debit", refund="r1", minor=300), movement(direction="debit", refund="r2", minor=300)],
            [line("r2", "p1", minor=300, direction="debit")],
            0,
            ["matched", "missing_in_settlements"],
        ),
    ],
)  # fmt: skip
def test_cases(ours: list[Movement], theirs: list[SettlementLine], tolerance: int, expected: list[str]) -> None:
    assert Counter(one.status for one in reconcile(ours, theirs, tolerance)) == Counter(expected)


def test_a_refund_is_the_one_that_is_named() -> None:
    ours = [movement(direction="debit", refund=refund, minor=300, event=refund) for refund in ("r1", "r2")]
    found = {one.status: one for one in reconcile(ours, [line("r2", minor=300, direction="debit")])}
    assert found["matched"].movement == ours[1]
    assert found["missing_in_settlements"].movement == ours[0]
