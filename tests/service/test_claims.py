"""Claims through real shards and stores, whatever goes wrong: each that was made is at its identity's home, once."""

import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from engine.core.claims import KEY, RECORD
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_CLAIM
from engine.domain.outputs import Reward
from engine.engagement.marketing.identities import bounds_of
from engine.ruleset import compile
from tests.service.simulator.loop import run
from tests.service.simulator.referrals import Referrals
from tests.service.simulator.simulation import Simulation

_RULES = """
models: {anomaly: null}
campaigns:
  - id: gift
    on: payment.settled
    when: amount > LEAST
    then: {reward: points, amount: 5}
    hold: 2h
    caps: [{times: 1000}, {by: card, times: 3}]
    abuse: off
"""
SETS = tuple(compile({"c.yaml": _RULES.replace("LEAST", least)}) for least in ("0", "1"))
CARDS = 7


class Claiming(Referrals):
    """Customers of all partitions pay with a few cards."""

    first, second = SETS
    sets = {one.hash: one for one in SETS}  # noqa: RUF012 - never written

    def _event(self, draw: random.Random, identity: int, partition: int, at: int, customer: int, kind: str) -> bytes:
        body: dict[str, Any] = json.loads(super()._event(draw, identity, partition, at, customer, kind))
        return json.dumps({**body, "card_id": f"k{draw.randrange(CARDS)}"}).encode()


@pytest.mark.parametrize("seed", range(10))
def test_every_claim_is_at_home_once_whatever_goes_wrong(seed: int) -> None:
    """Killed, paused and replaced owners, lost answers: each grant has its claim and each claim its grant, and a card
    has had no more than three, but for what shards gave before they knew of each other."""
    partitions = 2 + seed % 2
    simulation = Simulation(seed, world=Claiming(partitions), partitions=partitions, events=60)
    simulation.faults = replace(simulation.faults, rollbacks=0)  # after one, what was decided otherwise was sent before
    run(simulation.run())
    homes: dict[int, list[int]] = {}
    for shard, held in simulation.store._shards.items():
        for key, value in held.state.items():
            if key[:1] == KEY_CLAIM:
                _, identity, code = KEY.unpack(key)
                assert identity % partitions == shard
                assert code == bounds_of(SETS[0].live[0])[0].code
                homes[identity] = [number for number, _, _ in RECORD.iter_unpack(bytes(value))]
    assert set(homes) <= {hash64(f"k{card}") for card in range(CARDS)}
    made = [msgspec.json.decode(sent.output.data, type=Reward)
            for sent in simulation.broker.sent if sent.output.kind == "reward"]  # fmt: skip
    granted = {int(one.lot_id[4:], 16) for one in made if one.available_at}
    claimed = Counter(number for numbers in homes.values() for number in numbers)
    assert granted
    assert set(claimed) == granted
    assert set(claimed.values()) == {1}
    assert max(map(len, homes.values())) <= 3 * partitions
