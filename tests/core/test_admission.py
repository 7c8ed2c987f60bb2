"""Admission against a naive oracle: duplicates, lateness, decisions, trims; in any batches, through any reload."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median_high

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.admission import Admission, AdmissionLimits, TornState
from engine.core.admission_kernel import TRIM_MEDIAN_RECORDS, TRIM_RECORDS_MIN
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import APPEND, SET, unpack
from engine.features.columns import Columns

LIMITS = AdmissionLimits(lateness_ms=100, dedupe_ms=1_000, payment_ms=3_000)
Row = tuple[str, str, str, str, int]  # customer, event, payment, type, time


def columns(rows: list[Row]) -> Columns:
    n = len(rows)
    strings = np.zeros((len(STRING_FIELDS), n), np.uint64)
    for i, row in enumerate(rows):
        for name, text in zip(("customer_id", "event_id", "payment_id", "type"), row[:4], strict=True):
            strings[STRING_INDEX[name], i] = hash64(text)
    return Columns(
        n=n, time_ms=np.array([row[4] for row in rows], np.int64), strings=strings,
        numbers=np.full((len(NUMBER_FIELDS), n), np.nan), bools=np.full((len(BOOL_FIELDS), n), -1, np.int8),
        minor=np.zeros(n, np.int64), exponent=np.full(n, -1, np.int8), base_minor=np.zeros(n, np.int64),
        base_exponent=np.full(n, -1, np.int8), decides=np.zeros(n, bool), late=np.zeros(n, bool), events=[None] * n,
    )  # fmt: skip


@dataclass
class Oracle:
    """Keeps lists; trims by the rule of the module's docstring."""

    logs: dict[str, list[tuple[str, str, int]]] = field(default_factory=lambda: defaultdict(list))
    left: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def admit(self, row: Row) -> tuple[bool, bool, bool]:
        customer, event, payment, kind, time = row
        log = self.logs[customer]
        if any(entry[:2] == ("event", event) for entry in log):
            return True, False, False
        times = [entry[2] for entry in log if entry[0] == "event"]
        late = bool(times) and time < max(times) - LIMITS.lateness_ms
        requested = any(entry[:2] == ("payment", payment) for entry in log)
        log.append(("event", event, time))
        if kind == "payment.requested" and not requested:
            log.append(("payment", payment, time))
        decides = kind in ("payment.requested", "transfer.sent") or (kind == "payment.authorised" and not requested)
        if len(log) >= TRIM_RECORDS_MIN and len(log) >= 2 * self.left[customer]:
            reference = median_high(entry[2] for entry in log[-TRIM_MEDIAN_RECORDS:])
            horizons = {"event": LIMITS.dedupe_ms, "payment": LIMITS.payment_ms}
            self.logs[customer] = [entry for entry in log if entry[2] >= reference - horizons[entry[0]]]
            self.left[customer] = len(self.logs[customer])
        return False, late, decides


TYPES = ("payment.requested", "payment.authorised", "transfer.sent", "payment.settled")


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Row], list[int], list[bool]]:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count = draw(st.integers(1, 400))
    pace = draw(st.sampled_from([1, 5, 50]))
    rows: list[Row] = []
    for i in range(count):
        time = i * pace + int(rng.integers(-300, 300))
        if rng.random() < 0.02:
            time += 10**9
        rows.append((
            f"c{rng.integers(0, 3)}", f"e{rng.integers(0, count * 2)}", f"p{rng.integers(0, count)}",
            TYPES[rng.integers(0, 4)], time,
        ))  # fmt: skip
    cuts = sorted({int(c) for c in rng.integers(0, count, draw(st.integers(0, 6)))})
    return rows, cuts, [bool(b) for b in rng.integers(0, 2, len(cuts) + 1)]


def store(state: dict[bytes, bytes], ops: bytes) -> None:
    for op in unpack(ops):
        assert op.kind in (APPEND, SET)
        state[op.key] = (state.get(op.key, b"") if op.kind == APPEND else b"") + op.value


@given(streams())
@settings(max_examples=60, deadline=None)
def test_equals_the_oracle_in_any_batches_through_any_reload(stream: tuple[list[Row], list[int], list[bool]]) -> None:
    rows, cuts, drops = stream
    oracle = Oracle()
    expected = [oracle.admit(row) for row in rows]
    state: dict[bytes, bytes] = {}
    backed, alone = Admission(LIMITS, backed=True), Admission(LIMITS, backed=False)
    got: list[tuple[bool, bool, bool]] = []
    got_alone: list[tuple[bool, bool, bool]] = []
    for (start, end), drop in zip(zip([0, *cuts], [*cuts, len(rows)], strict=True), drops, strict=True):
        if drop:
            backed.clear()
        batch = columns(rows[start:end])
        keys = backed.missing(batch)
        backed.load(keys, [state.get(key) for key in keys])
        admitted, same = backed.admit(batch), alone.admit(batch)
        store(state, admitted.ops)
        got += zip(admitted.duplicate.tolist(), admitted.late.tolist(), admitted.decides.tolist(), strict=True)
        got_alone += zip(same.duplicate.tolist(), same.late.tolist(), same.decides.tolist(), strict=True)
    assert got == expected
    assert got_alone == expected
    assert alone.missing(columns(rows)) == []


def test_an_event_from_the_far_future_forgets_no_id() -> None:
    admission = Admission(AdmissionLimits(), backed=False)
    day = 86_400_000
    rows: list[Row] = [("c", f"e{i}", f"p{i}", "payment.requested", i * 1000) for i in range(100)]
    rows[40] = ("c", "e40", "p40", "payment.requested", 80 * 365 * day)
    assert not admission.admit(columns(rows)).duplicate.any()
    assert admission.admit(columns(rows)).duplicate.all()


def test_old_ids_are_forgotten_and_memory_is_used_again() -> None:
    admission = Admission(LIMITS, backed=False)
    for start in range(0, 40_000, 500):
        rows: list[Row] = [("c", f"e{i}", f"p{i}", "payment.settled", i * 100) for i in range(start, start + 500)]
        admission.admit(columns(rows))
    assert admission._pool.arrays.used[0] < 2_000
    assert admission.admit(columns([("c", "e39999", "p", "payment.settled", 0)])).duplicate[0]
    assert not admission.admit(columns([("c", "e1", "p", "payment.settled", 0)])).duplicate[0]


@given(streams())
@settings(max_examples=20, deadline=None)
def test_a_log_that_is_ahead_of_the_shard_is_refused_and_no_other(
    stream: tuple[list[Row], list[int], list[bool]],
) -> None:
    """Offsets are stored with what their events left, also through trims; those of any earlier batch are no fault."""
    rows, cuts, _ = stream
    state: dict[bytes, bytes] = {}
    begin = 5 << 32  # past 32 bits
    batches = list(zip([0, *cuts], [*cuts, len(rows)], strict=True))
    for start, end in batches:
        admission, batch = Admission(LIMITS, backed=True), columns(rows[start:end])
        offsets = np.arange(begin + 2 * start, begin + 2 * end, 2)  # with gaps, as transactions leave them
        if end > start:
            before = dict(state)
            keys = admission.missing(batch)
            admission.load(keys, [state.get(key) for key in keys], int(offsets[0]))
            admitted = admission.admit(batch, offsets)
            store(state, admitted.ops)
            if keys and state.get(keys[0]) != before.get(keys[0]):
                with pytest.raises(TornState, match=f"about to process offset {int(offsets[0])}"):
                    Admission(LIMITS, backed=True).load(keys[:1], [state[keys[0]]], int(offsets[0]))


def test_half_a_record_is_no_fault_of_the_event() -> None:
    with pytest.raises(TornState, match="in the middle of a record"):
        Admission(LIMITS, backed=True).load([b"a" + bytes(8)], [bytes(21)])
