"""Transitions: exact at their thresholds, the same however often somebody looks, never flapping, the warning first."""

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.customer.states import (
    DAY_MS,
    FIRST,
    HOLD_MS,
    MEMBERSHIP,
    NEVER,
    TABLES,
    Facts,
    States,
    Transition,
    diagram,
)

Look = tuple[int, Facts]


def facts_of(times: list[int], now: int, upset: Sequence[int] = ()) -> Facts:
    """What is known of somebody who signed up on day 1, paid at these times and answered badly at those, by now."""
    paid = [t for t in times if t <= now]
    gaps = [b - a for a, b in pairwise(paid)]
    gap = sum(gaps) // len(gaps) if gaps else 0
    spread = isqrt(sum((one - gap) ** 2 for one in gaps) // len(gaps)) if gaps else 0
    bad = max((t for t in upset if t <= now), default=0)
    return Facts(DAY_MS, paid[0] if paid else 0, paid[-1] if paid else 0, len(paid), gap, spread, upset_ms=bad)


def follow(times: list[int], until: int, every: int | None = None, upset: list[int] | None = None) -> list[Transition]:
    """All transitions: looking at each payment and answer and whenever one is due; and besides, `every` so often."""
    states, made, now, upset = States(), list[Transition](), DAY_MS, upset or []
    looks = sorted({*times, *upset, until, *(range(DAY_MS, until, every) if every else ())})
    for look in looks:
        while (due := states.next_due(facts_of(times, now, upset))) < look:
            now = max(now, due)
            made += states.look(facts_of(times, now, upset), now)
        made += states.look(facts_of(times, look - 1, upset), look)
        now = look
        made += states.look(facts_of(times, now, upset), now)
    return made


payments = st.lists(st.integers(2 * DAY_MS, 500 * DAY_MS), max_size=25, unique=True).map(sorted)
answers = st.lists(st.integers(2 * DAY_MS, 500 * DAY_MS), max_size=4)


@settings(deadline=None, max_examples=200)
@given(payments, answers, st.integers(DAY_MS // 3, 9 * DAY_MS))
def test_looking_more_often_finds_the_same(times: list[int], upset: list[int], every: int) -> None:
    assert follow(times, 600 * DAY_MS, upset=upset) == follow(times, 600 * DAY_MS, every, upset)


@settings(deadline=None, max_examples=300)
@given(payments, answers)
def test_nobody_flaps_and_nobody_is_lost_without_a_warning(times: list[int], upset: list[int]) -> None:
    made = follow(times, 900 * DAY_MS, upset=upset)
    for dimension, rows in TABLES.items():
        mine = [one for one in made if one.dimension == dimension]
        assert all((one.start, one.end) in {(row.start, row.end) for row in rows} for one in mine)
        states = [FIRST[dimension], *(one.end for one in mine)]
        assert [one.start for one in mine] == states[:-1]
        for earlier, later in pairwise(mine):
            assert later.at_ms - earlier.at_ms >= HOLD_MS[dimension]
    lifecycle = [one for one in made if one.dimension == "lifecycle"]
    for before, after in pairwise(lifecycle):
        if after.end == "lost":
            assert before.end == "at_risk"
            assert after.at_ms > before.at_ms


def test_a_life_from_prospect_to_lost_and_back() -> None:
    times = [10 * DAY_MS + 7 * DAY_MS * number for number in range(16)]  # weekly for 15 weeks
    made = [(one.end, one.at_ms // DAY_MS) for one in follow([*times, 400 * DAY_MS], 500 * DAY_MS)
            if one.dimension == "lifecycle"]  # fmt: skip
    last = times[-1] // DAY_MS
    assert made[:5] == [("new", 10), ("active", 24), ("loyal", 100), ("at_risk", last + 14), ("lost", last + 90)]
    assert made[5:7] == [("won_back", 400), ("active", 430)]


def test_activity_changes_exactly_at_its_thresholds() -> None:
    at = 50 * DAY_MS
    found = [(one.end, one.at_ms) for one in follow([at], 300 * DAY_MS) if one.dimension == "activity"]
    assert found == [("active", at), ("potential", at + 30 * DAY_MS), ("churned", at + 90 * DAY_MS)]
    states = States()
    states.look(facts_of([at], at), at)
    assert states.look(facts_of([at], at), at + 30 * DAY_MS - 1, ("activity",)) == []
    assert states.look(facts_of([at], at), at + 30 * DAY_MS, ("activity",))[0].end == "potential"


@pytest.mark.parametrize(
    ("start", "rank", "end"),
    [
        ("low", 0.4799, "low"), ("low", 0.48, "mid"), ("low", 0.80, "high"), ("mid", 0.7999, "mid"),
        ("mid", 0.80, "high"), ("mid", 0.40, "mid"), ("mid", 0.3999, "low"), ("high", 0.72, "high"),
        ("high", 0.7199, "mid"), ("high", 0.3999, "low"), ("mid", float("nan"), "mid"),
    ],
)  # fmt: skip
def test_value_tiers_have_two_thresholds(start: str, rank: float, end: str) -> None:
    states = States()
    states.now["value_tier"] = start, 1
    states.look(Facts(value_rank=rank), 30 * DAY_MS, ("value_tier",))
    assert states.of("value_tier") == end


def test_a_tier_is_held_for_a_week_before_the_next() -> None:
    states = States()
    assert [one.end for one in states.look(Facts(value_rank=0.5), DAY_MS)] == ["mid"]
    assert states.look(Facts(value_rank=0.9), 8 * DAY_MS - 1) == []
    assert [one.end for one in states.look(Facts(value_rank=0.9), 8 * DAY_MS)] == ["high"]


def test_membership_is_granted_at_once_and_lost_by_a_step_at_the_end_of_its_cycle() -> None:
    tiers = (50_000, 100_000, 500_000)
    states = States()
    first = states.look(Facts(spend_12m=99_999, cycle_ends_ms=400 * DAY_MS, tiers=tiers), DAY_MS, ("membership",))
    assert [one.end for one in first] == ["silver"]
    more = states.look(Facts(spend_12m=100_000, cycle_ends_ms=400 * DAY_MS, tiers=tiers), DAY_MS, ("membership",))
    assert [one.end for one in more] == ["gold"]
    poor = Facts(spend_12m=0, cycle_ends_ms=400 * DAY_MS, tiers=tiers)
    assert states.look(poor, 400 * DAY_MS - 1, ("membership",)) == []
    fallen = states.look(poor, 400 * DAY_MS, ("membership",))
    assert [(one.end, one.at_ms) for one in fallen] == [("silver", 400 * DAY_MS)]
    again = states.look(poor._replace(cycle_ends_ms=765 * DAY_MS), 900 * DAY_MS, ("membership",))
    assert [(one.end, one.at_ms) for one in again] == [("basic", 765 * DAY_MS)]


def test_what_does_not_come_with_time_is_dated_when_it_is_seen() -> None:
    tiers, states = (50_000, 100_000, 500_000), States()
    for day, spent in ((100, 50_000), (300, 100_000), (450, 500_000)):
        made = states.look(Facts(spend_12m=spent, tiers=tiers), day * DAY_MS, ("membership",))
        assert [one.at_ms for one in made] == [day * DAY_MS]
    for day, rank in ((10, 0.5), (40, 0.9), (90, 0.1)):  # each long after the week that a tier is held
        made = states.look(Facts(value_rank=rank), day * DAY_MS, ("value_tier",))
        assert [one.at_ms for one in made] == [day * DAY_MS]


def test_every_state_can_be_reached_and_only_memberships_have_an_order() -> None:
    for dimension, rows in TABLES.items():
        reached, grown = {FIRST[dimension]}, True
        while grown:
            more = reached | {row.end for row in rows if row.start in reached}
            grown, reached = more != reached, more
        assert reached == {row.start for row in rows} | {row.end for row in rows}
        assert all(f"    {row.start} --> {row.end}: " in diagram(dimension) for row in rows)
    assert set(MEMBERSHIP) == {row.start for row in TABLES["membership"]} | {row.end for row in TABLES["membership"]}


def test_who_only_signed_up_is_a_prospect_and_leaves_one_day() -> None:
    assert [(one.dimension, one.end) for one in follow([], 300 * DAY_MS)] == [("activity", "churned")]
    assert States().next_due(Facts()) == NEVER
