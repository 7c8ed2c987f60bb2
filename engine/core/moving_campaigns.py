"""What campaigns keep of a whole shard, taken to shards of another number.

- Ranks are added up: a new shard goes on with those of all customers, of which it moves its own.
- Of each budget lease, promises and what is spent are divided. Which promise belongs to whose customers is not known:
  one that is settled in a shard with no promise left stays counted where it is, so nothing is ever over-spent. What
  one old shard has given and another has not got yet is divided, too; its letter is of another generation then.
- What campaigns did is added up shard by shard: that of old shard `i` goes on in new shard `i` modulo their number.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.core.campaign_state import (
    HEAD_BUDGETS,
    HEAD_EFFECTS,
    HEAD_POPULATION,
    RANKS,
    budgets_of,
    effects_of,
    packed_population,
    population_of,
)
from engine.core.engagement import HEAD_ENGAGED, LATER, NEW
from engine.engagement.marketing.budgets import Budget, Budgets

HEADS: Final = (HEAD_BUDGETS, HEAD_EFFECTS, HEAD_POPULATION, HEAD_ENGAGED)
_ANY: Final = 2  # an exponent: what is only added up does not depend on it


def joined(states: Mapping[int, Mapping[bytes, bytes]], shard: int, shards: int) -> dict[bytes, bytes]:
    """What the head of a new shard holds, one of so many: of the heads of all old ones that processed something."""
    engaged = [state[HEAD_ENGAGED] for state in states.values() if HEAD_ENGAGED in state]
    if not engaged:
        return {}
    population, effects = population_of({}, _ANY), effects_of({}, _ANY)
    for old, state in states.items():
        other = population_of(state, _ANY)
        for name in RANKS:
            getattr(population, name).add(getattr(other, name))
        if old % shards == shard:
            effects.add(effects_of(state, _ANY))
    new = len(engaged) == len(states) and all(value == NEW for value in engaged)
    return {
        HEAD_ENGAGED: NEW if new else LATER,
        HEAD_POPULATION: packed_population(population),
        HEAD_BUDGETS: msgspec.msgpack.encode(_divided(list(states.values()), shard, shards).dump()),
        HEAD_EFFECTS: msgspec.msgpack.encode(effects.dump()),
    }


def _divided(states: list[Mapping[bytes, bytes]], shard: int, shards: int) -> Budgets:
    held = [budgets_of(state) for state in states]
    budgets = Budgets(generation=1 + max(one.generation for one in held))
    for key in dict.fromkeys(key for one in held for key in one.of):
        mine = [one.of[key] for one in held if key in one.of]
        sums = (
            sum(budget.left + budget.given for budget in mine),
            sum(budget.reserved for budget in mine),
            sum(budget.spent for budget in mine),
            sum(budget.part for budget in mine),
        )
        left, reserved, spent, part = (total // shards + (shard < total % shards) for total in sums)
        budgets.of[key] = Budget(left + reserved + spent, reserved, spent, part)
    return budgets
