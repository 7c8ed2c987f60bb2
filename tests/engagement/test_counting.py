"""Caps count as a list of all grants would, and never less."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS, period, period_end
from engine.engagement.marketing.counting import RECENT_MAX, Counts
from engine.ruleset.campaigns.bounds import TIMES_ELAPSED_MAX
from engine.ruleset.campaigns.model import Cap

START: Final = 1_767_225_600_000
CAPS: Final = (
    Cap("customer", 3, period="day"), Cap("customer", 5, per_ms=2 * DAY_MS), Cap("customer", 60), Cap("device", 1),
    Cap("customer", amount=40.0, period="week"), Cap("customer", amount=30.0, per_ms=3 * DAY_MS),
)  # fmt: skip


def left(grants: list[tuple[int, float]], cap: Cap, now: int, zone: str) -> float:
    """Room under one cap, from all grants there have been."""
    counted = grants
    if cap.period:
        counted = [one for one in grants if period(one[0], cap.period, zone) == period(now, cap.period, zone)]
    elif cap.per_ms:
        counted = [one for one in grants if one[0] > now - cap.per_ms]
    if cap.times:
        return float("inf") if len(counted) < cap.times else 0.0
    return max(0.0, cap.amount - sum(amount for _, amount in counted))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, DAY_MS), st.integers(1, 20)), max_size=40),
    st.sampled_from(["", "Asia/Tokyo", "America/New_York"]),
)
def test_room_is_what_a_list_of_all_grants_leaves(steps: list[tuple[int, int]], zone: str) -> None:
    counts, grants, now = Counts(), [], START
    for wait, amount in steps:
        now += wait
        room = counts.room("c:1", CAPS, now, zone)
        assert room == min(left(grants, cap, now, zone) for cap in CAPS if cap.by == "customer")
        if room > 0:
            granted = min(float(amount), room)
            counts.count("c:1", CAPS, granted, now, zone)
            grants.append((now, granted))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, DAY_MS), max_size=12),
    st.sampled_from(["", "Asia/Tokyo", "America/New_York"]),
    st.sampled_from(["day", "week", "month", "year"]),
    st.floats(0, 1),
)
def test_there_is_no_room_before_the_next_room(steps: list[int], zone: str, name: str, share: float) -> None:
    caps = (Cap("customer", 3, period=name), Cap("customer", 5, per_ms=2 * DAY_MS), Cap("device", 1))
    counts, now = Counts(), START
    for wait in steps:
        now += wait
        if counts.room("c", caps, now, zone) > 0:
            counts.count("c", caps, 1.0, now, zone)
    at = counts.next_room("c", caps, now, zone)
    assert (at == now) == (counts.room("c", caps, now, zone) > 0)
    if at > now:
        assert (
            counts.room("c", caps, at - 1, zone) == counts.room("c", caps, now + int(share * (at - now - 1)), zone) == 0
        )
    ends = period_end(now, name, zone)
    assert period(now, name, zone) == period(ends - 1, name, zone) != period(ends, name, zone)


def test_more_grants_than_are_remembered_count_for_no_less() -> None:
    cap = (Cap("customer", amount=1_000.0, per_ms=30 * DAY_MS),)
    counts, total = Counts(), 0.0
    for place in range(3 * RECENT_MAX):
        now = START + place * 60_000
        amount = min(5.0, counts.room("c:1", cap, now, ""))
        if amount > 0:
            counts.count("c:1", cap, amount, now, "")
            total += amount
    assert total == 1_000.0
    assert max(len(counter.recent) for counter in counts.of["c:1"].values()) <= RECENT_MAX
    assert counts.room("c:1", cap, START + 31 * DAY_MS, "") == 1_000.0


def test_as_many_are_remembered_as_a_file_may_ask_for() -> None:
    assert RECENT_MAX >= TIMES_ELAPSED_MAX


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 8 * 3_600_000), st.sampled_from(["Pacific/Kiritimati", "Pacific/Midway", ""])),
             max_size=60),
    st.sampled_from(["day", "week", "month"]),
)  # fmt: skip
def test_who_goes_back_over_midnight_has_no_period_twice(steps: list[tuple[int, str]], name: str) -> None:
    caps = (Cap("customer", 2, period=name),)
    counts, grants, now = Counts(), dict[str, int](), START
    for wait, zone in steps:
        now += wait
        if counts.room("c:1", caps, now, zone) > 0:
            counts.count("c:1", caps, 1.0, now, zone)
            token = max([period(now, name, zone), *grants])  # the latest that has begun
            grants[token] = grants.get(token, 0) + 1
    assert all(times <= 2 for times in grants.values())
    later = now + 63 * DAY_MS
    assert counts.room("c:1", caps, later, "") > 0, "the next period has room"


def test_there_and_back_at_once_earns_nothing_more() -> None:
    counts, now, cap = Counts(), START + 11 * 3_600_000, (Cap("customer", 1, period="day"),)
    granted = 0
    for zone in ["Pacific/Kiritimati", "Pacific/Midway"] * 5:
        if counts.room("c:1", cap, now, zone) > 0:
            counts.count("c:1", cap, 1.0, now, zone)
            granted += 1
    assert granted == 1
