"""The heads of shards whose customers come from shards of another number.

What belongs to a whole shard cannot be divided. New shard `i` goes on from old shard `i` modulo their number: what the
models learned, how long features have been fed, rates, rules, lists, snoozes. Clock and cool-downs are joined
out of all old shards that customers come from; timers are made anew. Up to when cases have matured is the earliest of
them: of those a new shard gets, none is through. Budgets of campaigns are divided (`engine.core.moving_campaigns`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from engine.core import moving_campaigns
from engine.core.adoption import HEAD_LAYOUT, HEAD_RULESET
from engine.core.clock import ShardClock
from engine.core.cooldowns import Cooldowns
from engine.core.label_desk import HEAD_LABELS, HEAD_MATURING
from engine.core.lists import HEAD_LIST
from engine.core.moving_cases import done
from engine.core.observers import HEAD_COOLDOWNS, HEAD_TIMERS
from engine.core.small_state import HEAD_CLOCK, HEAD_RATES
from engine.core.snoozes import HEAD_SNOOZES
from engine.features import layout as layouts
from engine.ports.store import Head
from engine.service.marks import KEY_OUTPUTS, KEY_PARTITIONS

_JOINED: Final = (
    HEAD_CLOCK, HEAD_COOLDOWNS, HEAD_TIMERS, HEAD_LAYOUT, HEAD_LABELS, HEAD_MATURING, KEY_OUTPUTS, KEY_PARTITIONS,
    *moving_campaigns.HEADS,
)  # fmt: skip
_IN_FORCE: Final = {HEAD_RATES: "rates", HEAD_RULESET: "rule sets", HEAD_SNOOZES: "snoozes", HEAD_LIST: "lists"}


class LayoutsApart(Exception):
    """Shards do not agree on what their logs hold."""


def donor(shard: int, origins: Sequence[int], heads: Mapping[int, Head]) -> int:
    """The old shard whose detector and rules a new one goes on from: one that ever processed something."""
    wanted = shard % len(heads)
    return next(old for old in (wanted, *origins, *heads) if heads[old].offset >= 0)


def head_of(
    shard: int, shards: int, origins: Sequence[int], heads: Mapping[int, Head], layout: bytes | None
) -> tuple[dict[bytes, bytes], bytes]:
    """What the head of a new shard, one of so many, holds but for its timers, and its clock."""
    giver = donor(shard, origins, heads)
    state = heads[giver].state
    kept = {name: value for name, value in state.items() if name not in _JOINED}
    from_all = [heads[old].state for old in {*origins, giver}]
    clock = ShardClock.joined([held[HEAD_CLOCK] for held in from_all if HEAD_CLOCK in held])
    cooldowns = Cooldowns.joined(held[HEAD_COOLDOWNS] for held in from_all if HEAD_COOLDOWNS in held)
    matured = min((held[HEAD_LABELS] for held in from_all if HEAD_LABELS in held), key=done, default=None)
    joined = {HEAD_CLOCK: clock, HEAD_COOLDOWNS: cooldowns, HEAD_LAYOUT: layout, HEAD_LABELS: matured}
    begun = {old: head.state for old, head in heads.items() if head.offset >= 0}
    campaigns = moving_campaigns.joined(begun, shard, shards)
    return {**kept, **campaigns, **{name: value for name, value in joined.items() if value}}, clock


def layout_of(agreed: bytes | None, heads: Mapping[int, Head]) -> bytes | None:
    """The layout that says what all logs hold; None where nothing was ever kept. Raises `LayoutsApart`."""
    longest = agreed
    for head in heads.values():
        held = head.state.get(HEAD_LAYOUT)
        if held is None:
            continue
        ours, theirs = layouts.load(held), layouts.load(longest)
        if not theirs.extends(ours):
            if not ours.extends(theirs):
                raise LayoutsApart("shards keep their feature logs under layouts that contradict each other")
            longest = held
    return longest


def differences(heads: Mapping[int, Head]) -> list[str]:
    """What is not in force in every shard that processed something, in words; empty where all agree."""
    states = [head.state for head in heads.values() if head.offset >= 0]
    found = []
    for prefix, told in _IN_FORCE.items():
        held = [{name: value for name, value in state.items() if name.startswith(prefix)} for state in states]
        if any(one != held[0] for one in held):
            found.append(
                f"the shards have different {told} in force: new shard i takes those of old shard i mod {len(heads)}"
            )
    return found
