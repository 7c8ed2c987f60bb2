"""Exposures and their windows: against a plain sum over payments; a planted effect is found through them."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.history import History
from engine.engagement.marketing.effects import WINDOW_MS, Closed, Effects, Exposures

START = 1_767_225_600_000


def history_of(payments: list[tuple[int, int]]) -> History:
    history = History()
    for number, (day, minor) in enumerate(payments):
        history.pay(Paid(START + day * DAY_MS, number + 1, minor, 0, "card", "5411", "EUR"), "")
    return history


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(1, 9_000)), max_size=40),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["a:1", "b:1"])), max_size=8),
)
def test_windows_are_plain_sums(payments: list[tuple[int, int]], occasions: list[tuple[int, str]]) -> None:
    history, exposures, until = history_of(payments), Exposures(), dict[str, int]()
    for day, campaign in sorted(occasions):
        at = START + day * DAY_MS
        closed = exposures.close(at, history)
        for name, _, spent, before, _ in closed:
            opened = until.pop(name) - WINDOW_MS
            assert spent == sum(m for d, m in payments if opened < START + d * DAY_MS <= opened + WINDOW_MS)
            assert before == sum(m for d, m in payments if opened - WINDOW_MS < START + d * DAY_MS <= opened)
        assert exposures.open(campaign, False, at, history) == (campaign not in until)
        until.setdefault(campaign, at + WINDOW_MS)
        assert exposures.next_due() == min(until.values())
    assert {name for name, *_ in exposures.close(START + 500 * DAY_MS, history)} == set(until)


def test_a_planted_lift_is_inside_and_the_interval_narrows() -> None:
    """Customers with rhythms of their own; those who were reached spend 5 % more. Looked at three times."""
    draw, effects, widths = random.Random(4), Effects(), list[float]()
    for number in range(30_000):
        held, usual = draw.random() < 0.1, draw.gammavariate(3.0, 1_500.0)
        before = [(day, int(usual * draw.uniform(0.8, 1.2))) for day in range(1, 28, 3)]
        lift = 1.0 if held else 1.05
        after = [(day, int(usual * lift * draw.uniform(0.8, 1.2))) for day in range(29, 56, 3)]
        exposures, history = Exposures(), history_of([*before, *after])
        exposures.open("a:1", held, START + 28 * DAY_MS, history)
        effects.observe(exposures.close(START + 56 * DAY_MS, history))
        if number + 1 in (3_000, 10_000, 30_000):
            lift_now = effects.of["a:1"].lift()
            assert lift_now is not None
            assert lift_now.relative.low <= 0.05 <= lift_now.relative.high
            widths.append(lift_now.relative.high - lift_now.relative.low)
    assert widths == sorted(widths, reverse=True)
    assert lift_now.relative.low > 0.0


def test_refunds_are_taken_off_and_shards_add_up() -> None:
    history, exposures = history_of([(1, 5_000), (40, 3_000)]), Exposures()
    exposures.open("a:1", True, START + 30 * DAY_MS, history)
    history.refund(2, 1_000, START + 41 * DAY_MS, "")
    closed = exposures.close(START + 60 * DAY_MS, history)
    assert closed == [Closed("a:1", True, 2_000, 0, 0)]
    one, two = Effects(), Effects()
    one.observe(closed)
    two.observe(closed)
    one.tally("a:1").granted += 500
    one.tally("a:1").describe("points", "", 0.0)
    two.tally("a:1").granted += 20
    two.add(Effects.load(one.dump()))
    assert two.of["a:1"].dump() != one.of["a:1"].dump()
    assert (two.tallies["a:1"].granted, two.tallies["a:1"].kind) == (520, "points")


def test_what_was_given_is_counted_with_the_window_in_which_it_was() -> None:
    history, effects = history_of([(1, 100)]), Effects()
    tally = effects.tally("a:1")
    some = [Exposures() for _ in range(3)]
    for number, exposures in enumerate(some):
        effects.open("a:1", number == 2, START + number * DAY_MS, exposures, history)
        effects.give("a:1", 10, exposures)
    assert (tally.waiting, tally.promised, tally.measured) == (2, 20, 0), "who is held out is given nothing"
    effects.give("a:1", -4, some[0])
    effects.observe(some[0].close(START + WINDOW_MS, history))
    assert (tally.waiting, tally.promised, tally.measured) == (1, 10, 6)
    effects.give("a:1", -1, some[0])  # taken back after its window
    effects.drop(some[1])
    assert (tally.waiting, tally.promised, tally.measured) == (0, 0, 5)
