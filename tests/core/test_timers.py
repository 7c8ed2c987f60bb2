"""Timers against a plain list, over restarts and clocks that leap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.timers import BUCKET_MS, NO_TIMER, Timer, Timers
from engine.domain.ops import APPEND, DELETE, KEY_TIMER, unpack

OWNERS = st.sampled_from([b"", b"a", b"b" * 255])
SET = st.tuples(st.integers(-BUCKET_MS, 9 * BUCKET_MS), st.integers(0, 255), OWNERS, st.binary(max_size=3))
STEPS = st.lists(st.tuples(st.integers(0, BUCKET_MS), st.lists(SET, max_size=4), st.booleans()), max_size=30)


def run(backed: bool, steps: list[tuple[int, list[tuple[int, int, bytes, bytes]], bool]]) -> list[Timer]:
    store: dict[bytes, bytes] = {}
    head, clock, fired = b"", 0, []
    timers = Timers(backed=backed)
    for forward, wanted, restart in steps:
        if restart and backed:
            timers = Timers(backed=True, stored=head)
        before, clock = clock, clock + forward
        for key in timers.missing(clock):
            assert key[:1] == KEY_TIMER
            timers.load(key, store.get(key), before)
        assert sorted(timers.due(clock)) == sorted(timer for timer in timers._heap if timer.due_ms <= clock)
        fired += timers.take(clock)
        assert timers.next_ms > clock
        for due, *rest in wanted:
            timers.schedule(Timer(before + due, *rest), clock)
        for op in unpack(timers.flush(clock)):
            if op.kind == DELETE:
                store.pop(op.key, None)
            else:
                assert op.kind == APPEND
                store[op.key] = store.get(op.key, b"") + op.value
        head = timers.changed() or head
        assert timers.changed() is None
        assert len(store) <= 11 if backed else not store
        assert len(timers.due(NO_TIMER)) <= timers.pending
    return fired


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_each_fires_once_in_order_and_in_time(
    steps: list[tuple[int, list[tuple[int, int, bytes, bytes]], bool]],
) -> None:
    clock, waiting, want = 0, [], []
    for forward, wanted, _ in steps:
        before, clock = clock, clock + forward
        due = sorted(timer for timer in waiting if timer.due_ms <= clock)
        waiting = [timer for timer in waiting if timer.due_ms > clock]
        want += due
        waiting += [Timer(max(before + due_ms, clock + 1), *rest) for due_ms, *rest in wanted]
    assert run(True, steps) == want
    assert run(False, steps) == want


def test_a_timer_of_next_year_is_not_in_memory() -> None:
    timers = Timers(backed=True)
    timers.missing(0)
    timers.schedule(Timer(365 * 86_400_000, 1, b"far"), 0)
    assert timers.pending == 1
    assert timers.next_ms == NO_TIMER
    assert timers.due(NO_TIMER) == []


def test_timers_are_gone_with_their_bucket() -> None:
    timers = Timers(backed=True)
    timers.schedule(Timer(10, 1, b"a"), 0)
    timers.missing(20)
    stored = timers.flush(0)
    key = next(unpack(stored)).key
    again = Timers(backed=True, stored=timers.changed() or b"")
    assert again.missing(20) == [key]
    again.load(key, b"".join(op.value for op in unpack(stored)), 0)
    assert [timer.owner for timer in again.take(10)] == [b"a"]
    assert [(op.kind, op.key) for op in unpack(again.flush(20))] == [(DELETE, key)]
    assert again.missing(20) == []
    assert again.pending == 0
