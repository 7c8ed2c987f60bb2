"""What campaigns know of a whole shard, rather than of one customer: small state of its head."""

import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.engagement.customer.customer import Population
from engine.engagement.marketing.budgets import Budgets
from engine.engagement.marketing.choosing import Bandits
from engine.engagement.marketing.effects import Effects
from engine.engagement.models.ranks import Ranks

HEAD_POPULATION: Final = KEY_HEAD + b"population"  # ranks of customers, deflated
HEAD_BUDGETS: Final = KEY_HEAD + b"budgets"
HEAD_BANDITS: Final = KEY_HEAD + b"bandits"  # what campaigns that choose have learned
HEAD_EFFECTS: Final = KEY_HEAD + b"effects"  # what campaigns gave, and did

RANKS: Final = ("recency", "frequency", "money")


class CampaignState:
    """What campaigns of one shard go on from.

    Args:
        head: as stored, `{}` for a new shard.
        exponent: of the base currency.

    Attributes:
        population: what is known of all customers.
        budgets: the shard's part of them, and what is left.
        effects: what campaigns gave and did.
        bandits: what campaigns that choose have learned.
    """

    def __init__(self, head: Mapping[bytes, bytes], exponent: int) -> None:
        self.population = population_of(head, exponent)
        self.budgets = budgets_of(head)
        self.effects = effects_of(head, exponent)
        self.bandits = bandits_of(head, exponent)
        self._saved = self._stored()

    def ops(self) -> list[bytes]:
        """State operations for what has changed since the last call."""
        packed = []
        for key, value in self._stored().items():
            if value != self._saved[key]:
                self._saved[key] = value
                packed.append(pack(Op(SET, key, value)))
        return packed

    def _stored(self) -> dict[bytes, bytes]:
        return {
            HEAD_POPULATION: packed_population(self.population),
            HEAD_BUDGETS: msgspec.msgpack.encode(self.budgets.dump()),
            HEAD_EFFECTS: msgspec.msgpack.encode(self.effects.dump()),
            HEAD_BANDITS: msgspec.msgpack.encode(self.bandits.dump()),
        }


def population_of(head: Mapping[bytes, bytes], exponent: int) -> Population:
    """What the shard knows of all its customers; `exponent` is that of the base currency."""
    population = Population.under(exponent)
    if HEAD_POPULATION in head:
        parts = msgspec.msgpack.decode(zlib.decompress(head[HEAD_POPULATION]))
        for name, stored in zip(RANKS, parts, strict=True):
            setattr(population, name, Ranks(stored))
    return population


def packed_population(population: Population) -> bytes:
    """As stored."""
    return zlib.compress(msgspec.msgpack.encode([getattr(population, name).dump() for name in RANKS]), 1)


def budgets_of(head: Mapping[bytes, bytes]) -> Budgets:
    """The shard's part of budgets, and what is left."""
    return Budgets.load(msgspec.msgpack.decode(head[HEAD_BUDGETS])) if HEAD_BUDGETS in head else Budgets()


def bandits_of(head: Mapping[bytes, bytes], exponent: int) -> Bandits:
    """What campaigns that choose have learned in the shard."""
    return Bandits(exponent, msgspec.msgpack.decode(head[HEAD_BANDITS]) if HEAD_BANDITS in head else None)


def effects_of(head: Mapping[bytes, bytes], exponent: int) -> Effects:
    """What campaigns gave and did in the shard; `exponent` is that of the base currency."""
    found = head.get(HEAD_EFFECTS)
    return Effects(exponent) if found is None else Effects.load(msgspec.msgpack.decode(found), exponent)
