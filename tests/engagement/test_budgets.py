"""Leases of a budget that shards move between each other: never more than the budget, whatever becomes of letters."""

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.campaign_state import HEAD_BUDGETS
from engine.core.engagement import HEAD_ENGAGED, NEW
from engine.core.letters import budget_letter, transfer_of
from engine.core.moving_campaigns import joined
from engine.engagement.marketing.budgets import ASKED_MAX, PATIENCE_MS, Budgets, Transfer
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.compiler import compile as compile_rules

KEY = "earn:1"
HOUR = 3_600_000


@lru_cache
def campaign(points: int) -> Campaign:
    [found] = compile_rules({"c.yaml": f"""
campaigns:
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {{reward: points, amount: amount}}
    caps: [{{times: 5, per: day}}]
    budget: {{points: {points}}}
"""}).campaigns  # fmt: skip
    return found


class Shards:
    """Shards with one budget, and letters that are on their way, arrive, arrive again, or never do."""

    def __init__(self, count: int, points: int) -> None:
        self.points, self.campaign = points, campaign(points)
        self.shards = [Budgets() for _ in range(count)]
        self.now = 0
        self.way: list[Transfer] = []
        self.seen: list[Transfer] = []
        for number, budgets in enumerate(self.shards):
            budgets.adopt([self.campaign], number, count)

    def post(self, *letters: Transfer) -> None:
        for letter in letters:
            assert transfer_of(budget_letter(letter, self.now)) == letter
            self.way.append(letter)
            self.seen.append(letter)

    def reserve(self, shard: int, minor: int) -> bool:
        allowed = self.shards[shard].reserve(self.campaign, minor)
        self.post(*self.shards[shard].requests(self.now))
        return allowed

    def arrive(self, letter: Transfer) -> None:
        answer = self.shards[letter.receiver].take(letter)
        self.post(*([] if answer is None else [answer]))

    def settle(self) -> None:
        """Everything that is on its way arrives."""
        while self.way:
            self.arrive(self.way.pop(0))

    def restart(self, shard: int) -> None:
        stored = msgspec.msgpack.decode(msgspec.msgpack.encode(self.shards[shard].dump()))
        loaded = Budgets.load(stored)
        assert loaded == self.shards[shard]
        loaded.adopt([self.campaign], shard, len(self.shards))
        self.shards[shard] = loaded

    def check(self) -> None:
        held = [budgets.of[KEY] for budgets in self.shards]
        assert all(0 <= one.reserved + one.spent <= one.lease for one in held)
        assert sum(one.lease for one in held) <= self.points
        given = sum(sum(one.exchange.gave.values()) for one in held if one.exchange)
        got = sum(sum(one.exchange.got.values()) for one in held if one.exchange)
        assert sum(one.lease for one in held) + given - got == self.points, "nothing is lost or made"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["grant", "grant", "release", "spend", "arrive", "arrive", "again", "lose", "wait", "restart"]),
        st.integers(0, 30),
        st.integers(1, 40),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(count=st.integers(2, 5), points=st.sampled_from([1, 7, 60, 200, 400]), steps=STEPS)
def test_leases_never_exceed_the_budget(count: int, points: int, steps: list[tuple[str, int, int]]) -> None:
    world = Shards(count, points)
    for what, which, amount in steps:
        shard = which % count
        budgets = world.shards[shard]
        if what == "grant":
            world.reserve(shard, amount)
        elif what in ("release", "spend"):
            getattr(budgets, what)(KEY, min(amount, budgets.of[KEY].reserved))
        elif what == "wait":
            world.now += amount * PATIENCE_MS // 20
        elif what == "restart":
            world.restart(shard)
        elif what == "again" and world.seen:
            world.arrive(world.seen[which % len(world.seen)])
        elif what == "arrive" and world.way:
            world.arrive(world.way.pop(which % len(world.way)))
        elif what == "lose" and world.way:
            world.way.pop(which % len(world.way))
        world.check()


@pytest.mark.parametrize("count", [2, 3, 8])
def test_one_busy_shard_comes_to_all_that_nobody_else_needs(count: int) -> None:
    world, granted, refused = Shards(count, 9_000), 0, 0
    for step in range(4_000):
        world.now += 20 * 1_000
        if world.reserve(0, 5):
            granted += 5
        else:
            refused += 1
        if step % 2:
            world.settle()
        world.check()
    assert granted == 9_000
    assert sum(budgets.of[KEY].left for budgets in world.shards) == 0
    assert refused < 4_000 - 1_800 + 1, "it asks before it has to refuse"
    assert len(world.seen) < 40 * count, "and asks seldom, once nobody has anything left"


def test_a_lost_answer_is_made_up_for_by_the_next_letter() -> None:
    world = Shards(2, 100)
    assert not world.reserve(0, 60)
    [asked] = world.way
    assert (asked.receiver, asked.wanted, asked.given) == (1, 8 * 60 - 50, 0)
    world.way.clear()
    world.arrive(asked)
    world.way.clear()  # the answer is lost
    assert [budgets.of[KEY].lease for budgets in world.shards] == [50, 0]
    world.now = PATIENCE_MS - 1
    assert not world.reserve(0, 60) and not world.way
    world.now = PATIENCE_MS
    assert not world.reserve(0, 60)
    world.settle()
    assert [budgets.of[KEY].lease for budgets in world.shards] == [100, 0]
    assert world.reserve(0, 60)


def test_a_repeated_request_is_answered_once_and_a_repeated_answer_counts_once() -> None:
    world = Shards(2, 1_000)
    world.reserve(0, 70)
    [asked] = world.way
    world.way.clear()
    world.arrive(asked)
    world.arrive(asked)
    [answer] = world.way
    assert answer.given == 250, "half of what it has"
    for _ in range(3):
        world.arrive(answer)
        assert world.shards[0].of[KEY].lease == 500 + 250
        world.check()


def test_nobody_is_asked_for_long_where_nobody_has_enough() -> None:
    world = Shards(20, 20)
    for _ in range(100):
        world.reserve(3, 50)
        world.settle()
    asked = [letter for letter in world.seen if letter.wanted]
    assert [letter.receiver for letter in asked] == [4 + peer for peer in range(ASKED_MAX)]
    assert world.shards[3].of[KEY].left == 1 + ASKED_MAX, "they gave what they had"
    world.now += PATIENCE_MS
    world.reserve(3, 50)
    assert world.way[-1].receiver == 4 + ASKED_MAX


def test_a_shard_on_its_own_asks_nobody_and_stores_what_it_did_before() -> None:
    world = Shards(1, 10)
    assert not world.reserve(0, 50)
    assert not world.way
    assert world.shards[0].dump() == {KEY: (10, 0, 0, 10)}
    told = Transfer(KEY, 1, 0, 0, 1, 5, 100)
    assert world.shards[0].take(told) is None
    assert world.shards[0].of[KEY].lease == 10


@pytest.mark.parametrize("letter", [
    Transfer(KEY, 1, 0, 1, 1, 0, 30), Transfer(KEY, 0, 0, 0, 1, 0, 30), Transfer(KEY, 9, 0, 0, 1, 0, 30),
    Transfer(KEY, 0, 1, 0, 1, 0, 30),
])  # fmt: skip
def test_letters_of_before_a_move_for_others_or_of_nobody_change_nothing(letter: Transfer) -> None:
    world = Shards(2, 100)
    before = world.shards[0].dump()
    assert world.shards[0].take(letter) is None
    assert world.shards[0].dump() == before


@pytest.mark.parametrize("seed", range(5))
def test_what_is_on_its_way_when_shards_are_made_others_is_divided_with_the_rest(seed: int) -> None:
    draw, world = random.Random(seed), Shards(4, 5_000)
    while len(world.seen) < 12 or sum(budgets.of[KEY].lease for budgets in world.shards) == 5_000:
        world.now += HOUR // 10
        world.reserve(draw.choice((0, 0, 1, 2)), draw.randrange(1, 60))
        if draw.random() < 0.7 and world.way:
            world.arrive(world.way.pop(draw.randrange(len(world.way))))
    held = [budgets.of[KEY] for budgets in world.shards]
    moved = _moved([budgets.dump() for budgets in world.shards], 3)
    assert sum(budgets.of[KEY].lease for budgets in moved) == 5_000
    assert sum(budgets.of[KEY].reserved for budgets in moved) == sum(one.reserved for one in held)
    for number, budgets in enumerate(moved):
        budgets.adopt([world.campaign], number, 3)
        for letter in world.way:
            assert budgets.take(letter) is None
    assert sum(budgets.of[KEY].lease for budgets in moved) == 5_000
    again = _moved([budgets.dump() for budgets in moved], 4)
    assert {budgets.generation for budgets in again} == {2}


def _moved(stored: Sequence[Any], shards: int) -> list[Budgets]:
    states = {
        number: {HEAD_ENGAGED: NEW, HEAD_BUDGETS: msgspec.msgpack.encode(one)} for number, one in enumerate(stored)
    }
    heads = [joined(states, shard, shards)[HEAD_BUDGETS] for shard in range(shards)]
    return [Budgets.load(msgspec.msgpack.decode(head)) for head in heads]
