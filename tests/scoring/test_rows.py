"""Labelled rows and the set of them that is remembered, against plain lists, through restarts and damage."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.ops import APPEND, DELETE, SET, unpack
from engine.scoring.rows import LabelledRows, dump_rows, joined, load_rows, newest, no_rows
from engine.scoring.training_set import HEAD_ROWS, HEAD_ROWS_QUARANTINED, TrainingSet
from tests.scoring.labelled import DAY_MS, HOUR_MS, INPUTS, START_MS, arriving, payments

Head = dict[bytes, bytes]


def same(a: LabelledRows, b: LabelledRows) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in fields(LabelledRows))


def store(head: Head, ops: Iterable[bytes]) -> None:
    for packed in ops:
        for op in unpack(packed):
            match op.kind:
                case x if x == APPEND:
                    head[op.key] = head.get(op.key, b"") + op.value
                case x if x == SET:
                    head[op.key] = op.value
                case x if x == DELETE:
                    head.pop(op.key, None)


def some(n: int, first: int = 0, at_ms: int = START_MS) -> LabelledRows:
    return arriving(payments(1, n, first)[1], at_ms, 0.5)


def test_rows_come_back_as_they_were_stored() -> None:
    parts = [(START_MS, some(5)), (START_MS + HOUR_MS, some(0, 5)), (START_MS + HOUR_MS, some(3, 5))]
    data = b"".join(dump_rows(hour_ms, rows) for hour_ms, rows in parts)
    found, good = load_rows(data, INPUTS)
    assert good == len(data)
    assert [hour_ms for hour_ms, _ in found] == [hour_ms for hour_ms, _ in parts]
    assert all(same(a, b) for (_, a), (_, b) in zip(found, parts, strict=True))


@given(st.data())
@settings(max_examples=60)
def test_what_stands_before_a_damage_is_read(data: st.DataObject) -> None:
    blocks = [dump_rows(START_MS, some(4, 4 * i)) for i in range(3)]
    bad = bytearray(b"".join(blocks))
    at = data.draw(st.integers(0, len(bad) - 1))
    if data.draw(st.booleans()):
        bad[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del bad[at:]
    found, good = load_rows(bytes(bad), INPUTS)
    assert len(found) == at // len(blocks[0])
    assert good == len(found) * len(blocks[0])


def test_the_last_row_of_a_payment_counts() -> None:
    draw = np.random.default_rng(1)
    rows = some(60).take(draw.integers(0, 60, 200))
    fraud = draw.integers(0, 2, 200).astype(np.uint8)
    rows = LabelledRows(**{**{f.name: getattr(rows, f.name) for f in fields(rows)}, "fraud": fraud})
    last: dict[int, tuple[int, int]] = {}
    for place, (payment, label) in enumerate(zip(rows.payments.tolist(), rows.fraud.tolist(), strict=True)):
        last[payment] = (place, label)
    found = newest(rows)
    expected = sorted((place, payment, label) for payment, (place, label) in last.items())
    assert list(zip(found.payments.tolist(), found.fraud.tolist(), strict=True)) == [e[1:] for e in expected]
    assert newest(no_rows(INPUTS)).n == 0


def test_a_row_stands_for_those_that_were_not_drawn() -> None:
    rows = some(50)
    assert rows.weight.tolist() == [1.0 if fraud else 2.0 for fraud in rows.fraud]
    assert joined([rows]).n == 50


class Oracle:
    """The same as a list of (hour, payment, arrived), nothing ever stored."""

    def __init__(self, memory_days: int, rows_max: int) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.memory_days, self.rows_max = memory_days, rows_max

    def close(self, boundary_ms: int) -> list[int]:
        old = [row for row in self.rows if row[0] < boundary_ms]
        while old and (old[0][2] <= boundary_ms - self.memory_days * DAY_MS or len(old) > self.rows_max):
            old.pop(0)
        self.rows = old + [row for row in self.rows if row[0] >= boundary_ms]
        return [payment for _, payment, _ in old]


@given(
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30), st.booleans()), min_size=1, max_size=60),
    rows_max=st.sampled_from((25, 10_000)),
)
@settings(max_examples=60, deadline=None)
def test_restarts_change_nothing(steps: list[tuple[int, int, bool]], rows_max: int) -> None:
    """Rows of any hours, days closed as they pass, restarts anywhere: what a boundary sees is what a list says."""
    held, oracle, head = TrainingSet(INPUTS, 2, backed=True, rows_max=rows_max), Oracle(2, rows_max), Head()
    hour_ms, payment, last_ms = START_MS, 0, START_MS
    for hours, n, restarts in steps:
        hour_ms += hours * HOUR_MS
        boundary_ms = hour_ms - hour_ms % DAY_MS
        if boundary_ms > last_ms:
            assert joined(list(held.close(boundary_ms))).payments.tolist() == oracle.close(boundary_ms)
            last_ms = boundary_ms
        arrived_ms = hour_ms + HOUR_MS * (n % 3 - 1)
        held.append(hour_ms, some(n, payment, arrived_ms))
        oracle.rows += [(hour_ms, payment + i, arrived_ms) for i in range(n)]
        payment += n
        fresh = joined(list(held.since(last_ms, hour_ms + 1))).payments.tolist()
        assert fresh == [p for at, p, _ in oracle.rows if last_ms <= at]
        store(head, held.ops())
        if restarts:
            held = TrainingSet(INPUTS, 2, backed=True, rows_max=rows_max)
            assert held.restore(head) == []
    assert len([key for key in head if key.startswith(HEAD_ROWS)]) <= 5
    store(head, held.forget())
    assert head == {}


def test_rows_that_were_not_drawn_are_passed_over_and_frauds_never() -> None:
    held = TrainingSet(INPUTS, 90, backed=False)
    rows = arriving(payments(1, 400)[1], START_MS, 0.0)
    held.append(START_MS, rows)
    assert held.n == int(rows.fraud.sum()) > 0
    assert held.ops() == []


def test_a_damaged_day_is_put_aside_and_the_rest_kept() -> None:
    held, head = TrainingSet(INPUTS, 90, backed=True), Head()
    for day in range(3):
        for part in range(2):
            held.append(START_MS + day * DAY_MS, some(5, 10 * day + 5 * part))
    store(head, held.ops())
    key = HEAD_ROWS + str(START_MS // DAY_MS + 1).encode()
    whole, block = head[key], len(head[key]) // 2
    head[key] = whole[: block + 9] + b"!" + whole[block + 10 :]
    again = TrainingSet(INPUTS, 90, backed=True)
    (problem,) = again.restore(head)
    assert f"damaged from byte {block}" in problem
    assert again.n == 25
    damaged = head[key]
    store(head, again.ops())
    assert head[key] == whole[:block]
    assert head[HEAD_ROWS_QUARANTINED + key[len(HEAD_ROWS) :]] == damaged
    assert TrainingSet(INPUTS, 90, backed=True).restore(head) == []


def test_rows_of_other_inputs_are_refused() -> None:
    rows: Any = some(3)
    with pytest.raises(ValueError, match=r"\(3, 6\); \(3, 7\) expected"):
        TrainingSet(INPUTS + 1, 90, backed=True).append(START_MS, rows)
