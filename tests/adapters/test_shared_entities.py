"""Shards that share entities over every store: owners come and go, and each log ends with every touch once."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from engine.adapters.memory_log import MemoryRecord
from engine.core.controls import stretches
from engine.domain.ops import KEY_FEATURE
from engine.ports.store import StateStore
from tests.adapters.stores import Backend
from tests.service import sharing
from tests.service.sharing import ONE, SETS, SMALL, Sharing
from tests.service.test_sharing import Deployment, nothing

EVENTS = 160


async def work(deployment: Deployment, number: int, values: Sequence[bytes | None], draw: random.Random) -> None:
    """One partition from its first record to its last, by owners of whom some die between commit and delivery."""
    shard = deployment.shard(number)
    done = max(0, await shard.open())
    for start, end in stretches(values, 9):
        if draw.random() < 0.3:
            shard._neighbours.deliver = nothing  # type: ignore[method-assign]
        records = [MemoryRecord(offset, values[offset]) for offset in range(start, end)]
        await shard.process(records)
        if draw.random() < 0.4:
            await shard.relay.close()
            shard = deployment.shard(number)
            done = await shard.open()
            assert done == end
    await shard.relay.close()
    last = deployment.shard(number)
    assert await last.open() == len(values)
    await last.relay.close()


@pytest.mark.parametrize("shards", [2, 8])
def test_every_touch_once_whoever_owns_the_shards(backend: Backend, shards: int) -> None:
    draw = random.Random(shards)
    world = Sharing()
    values = [[world.value(draw, n, p) for n in range(EVENTS // shards)] for p in range(shards)]
    layout, logs = sharing.alone(values)

    async def body(store: StateStore) -> None:
        deployment = Deployment(shards, store)
        await asyncio.gather(*(work(deployment, number, values[number], draw) for number in range(shards)))
        assert not deployment.fatal
        assert await store.layout() == layout
        machine = sharing.Crashing(ONE, SMALL, rulesets=SETS.get)
        machine.spread(shards)
        machine.restore({})
        homes = {key: machine.home(key) for key, _ in logs if key.startswith(KEY_FEATURE)}
        shared = [(key, home) for key, home in homes.items() if home is not None]
        assert len({home for _, home in shared}) > shards // 2
        found = [(key, (await store.load(home, [key]))[0] or b"") for key, home in shared]
        elsewhere = [(await store.load((home + 1) % shards, [key]))[0] for key, home in shared]
        assert elsewhere == [None] * len(shared)
        assert sharing.touches(layout, found) == sharing.touches(
            layout, [(k, v) for k, v in logs if homes[k] is not None]
        )

    backend.run(body)
