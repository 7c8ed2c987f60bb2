"""Campaigns of a customer who is ahead of everybody else: a shard that slept, a history sorted by customer."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest

from engine.core.effects import Output
from engine.domain.outputs import Reward
from engine.ruleset.ruleset import RuleSet
from tests.core.campaign_world import START, campaigns, run
from tests.core.rig import DAY, HOUR

SORTED: Final = ("c1", "c2", "c3")


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return campaigns()


def record(number: int, kind: str, time_ms: int, customer: str, **fields: Any) -> bytes:
    body = {"event_id": f"e{number}", "type": kind, "event_time": time_ms, "customer_id": customer, **fields}
    if kind.startswith("payment."):
        body = {"payment_id": f"p{number}", "amount": 90, "currency": "EUR", "merchant_category": "5411", **body}
    return json.dumps(body).encode()


def life(first: int, customer: str) -> list[bytes]:
    """One customer who pays, comes back after the hold and spends, and goes on so for two years."""
    lines = []
    for month in range(24):
        number, at = first + 3 * month, START + 30 * month * DAY
        lines += [
            record(number, "payment.settled", at, customer),
            record(number + 1, "payment.settled", at + 5 * DAY, customer),
            record(number + 2, "points.redeemed", at + 20 * DAY, customer, points=80, redemption_id=f"r{number}"),
        ]
    return lines


def entries(outputs: Sequence[Output], customer: str) -> list[tuple[int, Reward]]:
    """A customer's ledger entries, each with its event time."""
    made = [(one.time_ms, msgspec.json.decode(one.data, type=Reward)) for one in outputs if one.kind == "reward"]
    return [(at, entry) for at, entry in made if entry.customer_id == customer]


def test_a_history_sorted_by_customer_gives_each_what_they_have_alone(ruleset: RuleSet) -> None:
    """But for the holdout and what is drawn from whom they are, which is why each is compared with themselves."""
    lives = {customer: life(100 * place, customer) for place, customer in enumerate(SORTED)}
    lines = [line for customer in SORTED for line in lives[customer]]
    together = run(ruleset, lines, 10_000)[0]
    for customer in SORTED:
        alone = run(ruleset, lives[customer], 10_000)[0]
        assert entries(together, customer) == entries(alone, customer)
        redeemed = [at for at, entry in entries(together, customer) if entry.why == "redeemed"]
        assert set(redeemed) == {START + (30 * month + 20) * DAY for month in range(24)}
    for size, restart_every in ((1, 1), (7, 2), (40, 1)):
        assert run(ruleset, lines, size, restart_every=restart_every, customers_max=1)[0] == together


def test_the_first_event_after_a_long_sleep_has_its_own_time(ruleset: RuleSet) -> None:
    past = [record(n, "payment.settled", START + n * HOUR, f"c{n % 2}") for n in range(4)]
    now = START + 40 * DAY
    found = run(ruleset, [*past, record(9, "payment.settled", now, "new")], 10_000)[0]
    assert {at for at, _ in entries(found, "new")} == {now}


def test_a_wrong_calendar_is_not_believed_and_moves_nobody_else(ruleset: RuleSet) -> None:
    past = [record(n, "payment.settled", START + n * HOUR, f"c{n % 2}") for n in range(4)]
    wrong = record(8, "payment.settled", START + 80 * DAY, "w")
    absurd = record(9, "payment.settled", 4_080_000_000_000, "a")
    after = [record(n, "payment.settled", START + n * HOUR, f"c{n % 2}") for n in range(10, 14)]
    found = run(ruleset, [*past, wrong, after[0], absurd, *after[1:]], 10_000)[0]
    without = run(ruleset, [*past, *after], 10_000)[0]
    for customer in ("c0", "c1"):
        assert entries(found, customer) == entries(without, customer)
    assert {at for at, _ in entries(found, "w")} == {START + 80 * DAY}
    assert {at for at, _ in entries(found, "a")} == {START + 10 * HOUR}  # the clock, and the allowed lateness
