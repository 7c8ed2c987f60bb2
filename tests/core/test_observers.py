"""Alerts about what happens and what does not, against an oracle that takes one event at a time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.ops import KEY_TIMER, KEY_WATCH
from tests.core.rig import DAY, HOUR, MINUTE, RULES, Oracle, Rig, event, rules

START = 1_760_000_000_000
RULESET = rules()
KINDS = ("payment.captured", "payment.settled", "payment.failed", "offer.redeemed", "offer.viewed", "account.login")


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any] | int]:
    """Events of a few payments, sources and offers: gaps, late ones, outliers from 1970 and 2099, ticks."""
    pace = draw(st.sampled_from([20_000, 5 * MINUTE, HOUR, DAY]))
    now = START
    found: list[dict[str, Any] | int] = []
    for number in range(draw(st.integers(1, 60))):
        now += draw(st.integers(0, pace))
        odd = draw(st.integers(0, 39))
        time_ms = now
        if odd == 0:
            time_ms = draw(st.sampled_from([1_000, 4_080_000_000_000, now + 9 * DAY, now - 9 * DAY, now + 7 * DAY]))
        elif odd < 8:
            time_ms = now - draw(st.integers(0, 3 * HOUR))
        elif odd == 9:
            found.append(now)
            continue
        kind = draw(st.sampled_from(KINDS))
        fields = {
            "payment_id": f"p{draw(st.integers(0, 3))}",
            "offer_id": f"o{draw(st.integers(0, 1))}",
            "acquirer": f"a{draw(st.integers(0, 1))}",
            "source": draw(st.sampled_from(["s0", "s1", None])),
            "amount": draw(st.sampled_from([1, 10])),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        if not kind.startswith("payment."):
            del fields["amount"]
        found.append(event(number, kind, time_ms, draw(st.integers(0, 2)), **fields))
    return found


@settings(max_examples=150, deadline=None)
@given(histories())
def test_what_comes_out_is_what_the_oracle_says(history: list[dict[str, Any] | int]) -> None:
    oracle = Oracle(RULESET)
    want = oracle.run(history)
    for size, backed, restart, kept in ((1, True, 1, 0), (7, True, 0, 1_000), (7, True, 2, 0), (500, False, 0, 0)):
        rig = Rig(RULESET, backed=backed, restart_every=restart, watches_max=kept)
        assert rig.run(history, size) == want, (size, backed, restart)
        assert rig.counts == oracle.counts


def test_a_settlement_that_does_not_come_is_told_before_the_first_event_past_it() -> None:
    history = [
        event(1, "payment.captured", START, payment_id="p"),
        event(2, "payment.captured", START + MINUTE, payment_id="q"),
        event(3, "payment.settled", START + HOUR, payment_id="p"),
        event(4, "account.login", START + 4 * HOUR),
        event(5, "account.login", START + 4 * HOUR + MINUTE, customer=1),
        event(6, "account.login", START + 9 * HOUR),
    ]
    found = Rig(RULESET).run(history, 500)
    assert found == Oracle(RULESET).run(history)
    assert [place for place, _ in found] == [4]


def test_a_follower_that_comes_first_counts_and_one_too_late_does_not() -> None:
    late = [
        event(1, "payment.settled", START + HOUR, payment_id="p"),
        event(2, "payment.captured", START, payment_id="p"),
    ]
    end = event(9, "account.login", START + 6 * HOUR)
    assert Rig(RULESET).run([*late, end], 500) == []
    over = [event(1, "payment.captured", START, payment_id="p"),
            event(2, "payment.settled", START + 3 * HOUR + 1, payment_id="p")]  # fmt: skip
    assert len(Rig(RULESET).run([*over, end], 500)) == 1


def test_a_quiet_shard_is_woken_by_a_tick() -> None:
    rig = Rig(RULESET)
    assert rig.run([event(1, "account.login", START, source="s")], 1) == []
    assert rig.observers.waiting == START
    assert rig.run([START + 15 * MINUTE + HOUR - 1], 1) == []
    assert len(rig.run([START + 15 * MINUTE + HOUR], 1)) == 1
    assert rig.observers.waiting is None


def test_nothing_is_left_behind() -> None:
    """Timers of years in buckets, each gone when the clock has passed it; watches gone when they are over."""
    rig, past = Rig(RULESET, restart_every=3, watches_max=0), START
    for number in range(400):
        past = START + number * 20 * MINUTE
        rig.batch([event(number, "payment.captured", past, customer=number % 3, source="s")])
        assert sum(key[:1] == KEY_TIMER for key in rig.store) <= 2
        assert sum(key[:1] == KEY_WATCH for key in rig.store) <= 16
    rig.batch([], [past + DAY])
    assert [key for key in rig.store if key[:1] in (KEY_TIMER, KEY_WATCH)] == []
    assert rig.observers.waiting is None


def test_memory_alone_forgets_what_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.core.watches.IDLE_SWEEP", 50)
    rig = Rig(RULESET, backed=False)
    for number in range(1_000):
        rig.batch([event(number, "payment.captured", START + number * 20 * MINUTE)])
        assert len(rig.observers._watches) <= 200


def test_one_cause_raises_one_alert_in_a_while() -> None:
    def failure(number: int, minutes: int, acquirer: str) -> dict[str, Any]:
        return event(number, "payment.failed", START + minutes * MINUTE, acquirer=acquirer)

    history = [failure(i, minute, acquirer) for i, (minute, acquirer) in enumerate(
        [(0, "a"), (5, "a"), (6, "b"), (29, "a"), (30, "a"), (3, "a"), (59, "a"), (60, "a")]
    )]  # fmt: skip
    assert [place for place, _ in Rig(RULESET).run(history, 3)] == [0, 2, 4, 7]


def test_a_rule_that_is_gone_says_nothing_and_one_that_stays_goes_on() -> None:
    history = [event(1, "payment.captured", START, source="s")]
    rig = Rig(RULESET)
    rig.run(history, 1)
    rig.ruleset = rules(RULES.replace("id: source_silent", "id: another"))
    rig.observers.adopt(rig.ruleset)
    assert len(rig.run([START + 5 * HOUR], 1)) == 1


def test_a_title_is_cut_and_ids_do_not_depend_on_it() -> None:
    ruleset = rules(RULES.replace('title: "{source}"', 'title: "' + "{source}" * 9 + '"'))
    rig = Rig(ruleset)
    rig.run([event(1, "account.login", START, source="s" * 200)], 1)
    watch = next(value for key, value in rig.store.items() if key[:1] == KEY_WATCH)
    assert watch.count(b"s") < 600
