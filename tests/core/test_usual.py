"""Watches of silence that learn what is usual, against an oracle that has the whole history before it."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.moving import Watching
from engine.core.small_state import HEAD_CLOCK
from engine.core.usual import KEEP_MS
from engine.core.watches import Watch
from engine.domain.ids import output_id
from engine.domain.ops import KEY_WATCH
from engine.ruleset import report
from tests.core.rig import DAY, HOUR, LATE, MINUTE, Rig, event, rules

ROOT = Path(__file__).resolve().parents[2]
START = 1_760_054_400_000  # a midnight (UTC)
WITHIN = 75 * MINUTE
RULES = """
rules:
  - id: source_silent
    on: [any]
    when: not missing(source)
    unless_followed_by: {same: source, within: 75m, usual: 2}
    then: {alert: operations, severity: high, title: "{source}"}
"""
RULESET = rules(RULES)


def alert_id(one: dict[str, Any]) -> str:
    return output_id("alert", "observer", "source_silent", one["customer_id"], one["event_id"])


def at(times: Sequence[int], source: str = "s", first: int = 0) -> list[dict[str, Any]]:
    return [event(first + i, "account.login", time, i % 3, source=source) for i, time in enumerate(times)]


def silences(events: list[dict[str, Any]], end_ms: int, within: int = WITHIN, k: float = 2) -> list[str]:
    """Ids of the alerts about events of one source, with all of them at hand; the clock has come to `end_ms`."""
    events = sorted(events, key=lambda one: one["event_time"])
    found, past = [], dict[int, int]()
    for number, one in enumerate(events):
        time = one["event_time"]
        gap = time - events[number - 1]["event_time"] if number else 0
        day = time // DAY
        past[day] = max(past.get(day, 0), gap if gap > int(within / k) else 0)
        days = sorted(past)[-28:]
        longest = sorted((past[known] for known in days), reverse=True)
        then = events[number + 1]["event_time"] if number + 1 < len(events) else None
        if len(days) <= 3 or then == time:
            continue
        rank = 4 if len(days) > 21 else 3 if len(days) > 14 else 2
        due = time + max(within, int(k * longest[rank - 1]))
        if due <= end_ms and (then is None or then > due):
            found.append(alert_id(one))
    return found


def poisson(draw: random.Random, days: float, a_day: float) -> list[int]:
    times, now = [], float(START)
    while now < START + days * DAY:
        times.append(int(now))
        now += draw.expovariate(a_day / DAY)
    return times


@pytest.mark.parametrize("a_day", [0.7, 5, 30, 200])
@pytest.mark.parametrize("seed", range(3))
def test_what_comes_out_is_what_the_oracle_says_in_whichever_order_it_comes_in(a_day: float, seed: int) -> None:
    draw = random.Random(seed)
    days = 40 if a_day < 100 else 12
    hole = START + days // 2 * DAY
    sources = {
        name: at([t for t in poisson(draw, days, a_day) if not hole < t < hole + seed * 30 * HOUR], name, first)
        for name, first in (("a", 0), ("b", 100_000))
    }
    end = START + 2 * days * DAY
    want = sorted(found for events in sources.values() for found in silences(events, end - LATE))
    events = sorted((one for found in sources.values() for one in found), key=lambda one: one["event_time"])
    shuffled = sorted(events, key=lambda one: one["event_time"] + draw.randrange(LATE))
    assert want or a_day > 1
    for history in (events, shuffled):
        for size, backed, restart in ((1, False, 0), (13, True, 1), (500, True, 0)):
            rig = Rig(RULESET, backed=backed, restart_every=restart, watches_max=0 if restart else 1_000)
            found = rig.run([*history, end], size)
            assert sorted(identity for _, identity in found) == want, (size, backed)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any] | int]:
    """Events of two sources at changing paces, late ones, far ones, ticks."""
    now, found = START, list[dict[str, Any] | int]()
    for number in range(draw(st.integers(1, 60))):
        now += draw(st.integers(0, draw(st.sampled_from([MINUTE, HOUR, 10 * HOUR, DAY, 4 * DAY]))))
        late = draw(st.sampled_from([0, 0, 0, 0, MINUTE, LATE, 3 * HOUR, 3 * DAY, -9 * DAY]))
        if late == MINUTE:
            found.append(now)
        source = draw(st.sampled_from(["a", "b"]))
        found.append(event(number, "account.login", now - late, draw(st.integers(0, 2)), source=source))
    return [*found, now + 40 * DAY]


@settings(max_examples=150, deadline=None)
@given(histories())
def test_neither_batches_nor_restarts_change_what_comes_out(history: list[dict[str, Any] | int]) -> None:
    want = Rig(RULESET, backed=False).run(history, 1)
    for size, backed, restart, kept in ((1, True, 1, 0), (7, True, 0, 1_000), (7, True, 2, 0), (500, False, 0, 0)):
        rig = Rig(RULESET, backed=backed, restart_every=restart, watches_max=kept)
        assert rig.run(history, size) == want, (size, backed, restart)


def test_a_quiet_source_does_not_flood_and_an_outage_of_a_busy_one_is_told_in_time() -> None:
    draw = random.Random(7)
    quiet = at(poisson(draw, 50, 14), "quiet")
    outage = START + 30 * DAY + 11 * HOUR
    times = [t for t in poisson(draw, 50, 400) if not outage <= t < outage + 3 * HOUR]
    busy = at(times, "busy", 100_000)
    history = sorted([*quiet, *busy], key=lambda one: one["event_time"])
    plain = Rig(rules(RULES.replace(", usual: 2", "")))
    assert len(plain.run(history, 500)) > 200
    found = [identity for _, identity in Rig(RULESET).run(history, 500)]
    last = max((one for one in busy if one["event_time"] < outage), key=lambda one: one["event_time"])
    assert found.count(alert_id(last)) == 1
    assert len(found) <= 3
    place = next(place for place, identity in Rig(RULESET).run(history, 500) if identity == alert_id(last))
    due = last["event_time"] + WITHIN
    assert history[place - 1]["event_time"] - LATE < due <= history[place]["event_time"] - LATE


def test_three_outages_in_four_weeks_do_not_teach_that_outages_are_usual_but_closed_sundays_are_learned() -> None:
    minutes = [START + i * 5 * MINUTE for i in range(60 * 288)]
    outages = [START + day * DAY + 9 * HOUR for day in (30, 38, 45, 52)]
    times = [t for t in minutes if not any(at <= t < at + 5 * HOUR for at in outages)]
    found = Rig(RULESET).run(at(times), 500)
    assert len(found) == 4
    weekdays = [t for t in minutes if datetime.fromtimestamp(t / 1_000, UTC).weekday() != 6]
    found = Rig(RULESET).run(at(weekdays), 500)
    assert 1 <= len(found) <= 4  # the first Sundays are news


def test_nothing_is_said_of_a_source_of_three_days() -> None:
    times = [START + i * 5 * MINUTE for i in range(3 * 288)]
    assert Rig(RULESET).run([*at(times), START + 9 * DAY], 500) == []
    assert len(Rig(RULESET).run([*at([*times, START + 3 * DAY]), START + 9 * DAY], 500)) == 1


def test_what_is_kept_of_a_source_is_bounded_and_ends() -> None:
    rig = Rig(RULESET, restart_every=5, watches_max=0)
    for number in range(400):
        rig.batch(at([START + number * 7 * HOUR], first=number))
        assert all(len(value) < 700 for key, value in rig.store.items() if key[:1] == KEY_WATCH)
    rig = Rig(RULESET, backed=False)
    rig.batch(at([START]))
    rig.batch([], [START + KEEP_MS + 3 * DAY])
    rig.observers._watches._swept = -10_000
    rig.observers.flush()
    assert len(rig.observers._watches) == 0


def test_another_number_of_shards_learns_anew_and_loses_no_hit() -> None:
    rig = Rig(RULESET)
    rig.run(at([START + i * 20 * HOUR for i in range(9)]), 500)
    key, stored = next((key, value) for key, value in rig.store.items() if key[:1] == KEY_WATCH)
    was = msgspec.msgpack.decode(stored, type=Watch)
    assert was.usual is not None
    watching = Watching()
    watching.add(key, stored, 0, lambda _: 1, [0, 1])
    moved = {shard: watching.of(shard, rig.store[HEAD_CLOCK])[0] for shard in (0, 1)}
    found = {shard: msgspec.msgpack.decode(watches[0][1], type=Watch) for shard, watches in moved.items()}
    assert (found[0].armed, found[1].armed) == ([], was.armed)
    assert [watch.usual for watch in found.values()] == [None, None]
    watching.add(key, msgspec.msgpack.encode(Watch(usual=was.usual)), 0, lambda _: 1, [0, 1])
    assert watching.of(0, rig.store[HEAD_CLOCK])[0] == []


def test_the_shipped_rule_learns() -> None:
    shipped = {rule.id: rule for rule in report.load(ROOT / "rules").observers}
    follow = shipped["source_silent"].follow
    assert follow is not None
    assert (follow.within_ms, follow.usual, follow.look_ms) == (WITHIN, 2.0, WITHIN // 2)
    assert shipped["settlement_missing"].follow.look_ms == shipped["settlement_missing"].follow.within_ms  # type: ignore[union-attr]
