"""The drift monitor: quiet on calm days, loud on a change, the same however it is fed, stored and loaded."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.ops import DELETE, SET, unpack
from engine.scoring.drift.alarm import INPUTS, LABELS, SCORE, SKILL, DriftAlarm
from engine.scoring.drift.monitor import DAY_MS, HEAD_PAST, HEAD_ROWS, HEAD_TODAY, DriftMonitor, forget
from engine.scoring.drift.settings import DriftSettings
from engine.scoring.rows import LabelledRows

NAMES = ("amount", "weekend", "age_s", "country_known")
FAST = DriftSettings(payments_min=50, sample_max=64, labels_min=40, frauds_min=4)


class Stream:
    """Days of payments with a weekly and a daily rhythm, growing ages, and what changes from a day on."""

    def __init__(self, days: int, payments: int, change: str = "", at: int = 60, seed: int = 1) -> None:
        self.days, self.payments, self.change, self.at = days, payments, change, at
        self.random = np.random.default_rng(seed)

    def day(self, day: int) -> tuple[np.ndarray, np.ndarray, LabelledRows]:
        random, on = self.random, self.change if day >= self.at else ""
        n = int(self.payments * (0.6 if day % 7 >= 5 else 1.0))
        amount = random.lognormal(4.5 if on == "amount" else 4.0, 0.8, n)
        known = np.where(random.random(n) < (0.7 if on == "missing" else 0.99), 1.0, np.nan)
        x = np.column_stack((amount, np.full(n, float(day % 7 >= 5)), random.random(n) * 86_400 * (day + 1), known))
        score = random.beta(1, 30 if on == "score" else 100, n)
        return x.astype(np.float32), score, self.labels(n, on)

    def labels(self, n: int, on: str) -> LabelledRows:
        random = self.random
        fraud = (random.random(n) < (0.12 if on == "labels" else 0.03)).astype(np.uint8)
        margin = np.where(fraud == 1, random.normal(-3.5 if on == "skill" else 0.0, 1.0, n), -6.0)
        share = np.where(fraud == 1, 1.0, np.where(random.random(n) < 0.5, 0.5, 0.0))
        zeros = np.zeros(n, np.int64)
        return LabelledRows(
            zeros.astype(np.uint64), zeros, zeros, fraud, np.zeros((n, len(NAMES)), np.uint16),
            zeros.astype(np.float32), zeros.astype(np.float32), margin.astype(np.float32), share.astype(np.float32),
        )  # fmt: skip

    def feed(self, monitor: DriftMonitor) -> list[tuple[int, DriftAlarm]]:
        found = []
        for day in range(self.days + 1):
            found += [(day, alarm) for alarm in monitor.hour(day * DAY_MS)]
            x, score, rows = self.day(day)
            monitor.observe(x, score)
            monitor.labels(rows)
        return found


def test_calm_months_are_quiet() -> None:
    for seed in range(3):
        assert Stream(180, 1_500, seed=seed).feed(DriftMonitor(NAMES, backed=False)) == []


@pytest.mark.parametrize(
    ("change", "subject", "says"),
    [
        ("amount", INPUTS, "amount from"),
        ("missing", INPUTS, "country_known missing in 29"),
        ("score", SCORE, "the mean fraud score went from 0.0099 to 0.03"),
        ("labels", LABELS, "the share of frauds among labels went from 3.0 % to"),
        ("skill", SKILL, "the score that frauds had been given went from 0.4"),
    ],
)
def test_a_change_is_told_once_within_days(change: str, subject: str, says: str) -> None:
    found = Stream(110, 1_500, change).feed(DriftMonitor(NAMES, backed=False))
    assert [alarm.subject for _, alarm in found] == [subject]
    day, alarm = found[0]
    assert 61 <= day <= 62
    assert any(says in line for line in alarm.details), alarm.details
    assert alarm.at_ms == day * DAY_MS
    assert alarm.size >= 1.0 and alarm.severity in ("low", "medium", "high") and alarm.action


def test_a_slow_change_is_told_too() -> None:
    monitor, random = DriftMonitor(("amount",), backed=False), np.random.default_rng(2)
    found = []
    for day in range(120):
        found += [day for _ in monitor.hour(day * DAY_MS)]
        middle = 4.0 + 0.05 * min(max(day - 60, 0), 20)  # e-fold in three weeks
        monitor.observe(random.lognormal(middle, 0.8, (1_500, 1)).astype(np.float32), np.full(1_500, np.nan))
    assert found and 61 < found[0] <= 75


def test_what_is_usual_is_the_median_of_the_weeks_before() -> None:
    monitor = DriftMonitor(NAMES, whole=[False, True, False, True], backed=False)
    assert np.isnan(monitor.usual()).all()
    Stream(30, 1_500).feed(monitor)
    amount, weekend, age, known = monitor.usual().tolist()
    assert amount == pytest.approx(np.exp(4.0), rel=0.15)
    assert (weekend, known) == (0.0, 1.0) and age > 0.0


def test_quiet_days_are_joined() -> None:
    monitor = DriftMonitor(("amount",), replace(FAST, payments_min=100), backed=False)
    for day in range(9):
        assert monitor.hour(day * DAY_MS) == []
        monitor.observe(np.ones((40, 1), np.float32), np.full(40, 0.5))
    # Three days make a block; its end is noticed on the fourth.
    assert monitor.usual().tolist() == [pytest.approx(1.0, rel=0.2)]


def pieces(n: int, cuts: list[int]) -> list[slice]:
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    return [slice(a, b) for a, b in pairwise(edges)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=4), st.integers(1, 9), st.integers(0, 5))
def test_batches_and_restarts_do_not_matter(cuts: list[int], every: int, seed: int) -> None:
    """One monitor is fed whole days; another pieces, and is dropped and loaded again from what it had stored."""
    whole, parted = DriftMonitor(NAMES, FAST), DriftMonitor(NAMES, FAST)
    first, second = Stream(45, 150, "amount", 30, seed), Stream(45, 150, "amount", 30, seed)
    stored: dict[bytes, bytes] = {}
    steps = 0
    for day in range(45):
        assert whole.hour(day * DAY_MS) == parted.hour(day * DAY_MS)
        x, score, rows = first.day(day)
        whole.observe(x, score)
        whole.labels(rows)
        x, score, rows = second.day(day)
        for part in pieces(len(x), cuts):
            parted.observe(x[part], score[part])
            parted.labels(rows.take(part))
            apply(stored, parted.ops())
            steps += 1
            if steps % every == 0:
                parted = DriftMonitor(NAMES, FAST)
                parted.restore(stored)
        np.testing.assert_array_equal(whole.usual(), parted.usual())
    assert whole.dump() == parted.dump()


def apply(stored: dict[bytes, bytes], ops: list[bytes]) -> None:
    for op in unpack(b"".join(ops)):
        if op.kind == SET:
            stored[op.key] = op.value
        elif op.kind == DELETE:
            stored.pop(op.key, None)
        else:
            stored[op.key] = stored.get(op.key, b"") + op.value


def fed(days: int = 30) -> tuple[DriftMonitor, dict[bytes, bytes]]:
    monitor, stored = DriftMonitor(NAMES, FAST), {}
    Stream(days, 150).feed(monitor)
    apply(stored, monitor.ops())
    return monitor, stored


@pytest.mark.parametrize("key", [HEAD_PAST, HEAD_ROWS, HEAD_TODAY])
def test_damaged_state_is_refused_and_nothing_is_kept_of_it(key: bytes) -> None:
    _, stored = fed()
    value = stored[key]
    for damaged in (value[:-1], value[: len(value) // 2], b"", value[:-9] + bytes([value[-9] ^ 0xFF]) + value[-8:]):
        if key == HEAD_ROWS and len(damaged) == len(value):
            continue  # rows have no checksum of their own: their number and bins are checked
        monitor, held = DriftMonitor(NAMES, FAST), {**stored, key: damaged}
        monitor.restore(held)
        assert len(monitor.problems) == 1
        assert monitor.dump() == DriftMonitor(NAMES, FAST).dump()
        apply(held, monitor.ops())
        again = DriftMonitor(NAMES, FAST)
        again.restore(held)
        assert again.problems == []


def test_state_of_other_inputs_is_refused() -> None:
    _, stored = fed()
    with pytest.raises(ValueError, match="other inputs"):
        DriftMonitor((*NAMES[1:], NAMES[0]), FAST).load(stored[HEAD_PAST])


def test_a_replaced_monitor_takes_its_state_along() -> None:
    _, stored = fed()
    other = DriftMonitor(("amount",), FAST, replaces=True)
    other.observe(np.ones((3, 1), np.float32), np.full(3, 0.5))
    apply(stored, other.ops())
    again = DriftMonitor(("amount",), FAST)
    again.restore(stored)
    assert again.ops() == other.ops() == []
    apply(stored, forget())
    assert stored == {}


def test_without_a_store_nothing_is_kept() -> None:
    monitor = DriftMonitor(NAMES, FAST, backed=False)
    Stream(10, 150).feed(monitor)
    assert monitor.ops() == []


def test_missing_and_infinite_values_reach_no_sum() -> None:
    monitor = DriftMonitor(("amount",), FAST, backed=False)
    for day in range(40):
        assert monitor.hour(day * DAY_MS) == []
        values = np.array([[np.nan], [np.inf], [-np.inf], [1.0]] * 20, np.float32)
        monitor.observe(values, np.array([np.nan, np.inf, 0.5, -np.inf] * 20))
    assert np.isfinite(monitor.usual()).all()


def test_after_a_change_the_inputs_are_left_to_settle() -> None:
    """Another change within two weeks is told when they are over, where it still stands out."""

    def told(second: int) -> list[int]:
        monitor, random, found = DriftMonitor(("amount",), backed=False), np.random.default_rng(3), []
        for day in range(80):
            found += [day for _ in monitor.hour(day * DAY_MS)]
            middle = 4.0 + (day >= 40) + (day >= second)
            monitor.observe(random.lognormal(middle, 0.8, (1_500, 1)).astype(np.float32), np.full(1_500, np.nan))
        return found

    assert told(50) == [41, 55]
    assert told(60) == [41, 61]
