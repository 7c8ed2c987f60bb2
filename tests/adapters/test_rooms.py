"""The rooms of the real partition, timers and watches among them, in every store: shards begun again all the time."""

import random

from engine.core.controls import stretches
from engine.domain.ops import KEY_TIMER, KEY_WATCH, unpack
from engine.ports.store import Commit, StateStore
from tests.adapters.stores import Backend
from tests.service.observing import Observing, outputs


def test_a_partition_over_a_store_says_what_it_says_in_memory(backend: Backend) -> None:
    draw, world = random.Random(3), Observing()
    values = [world.value(draw, number, 0) for number in range(250)]
    rooms = set()
    where = {"topic": "payments.events", "partition": 0}

    async def body(store: StateStore) -> None:
        told = []
        for start, end in stretches(values, 9):
            head = await store.open(0)
            partition = world.machine(0, lambda: None)
            partition.restore(dict(head.state))
            decoded = partition.decode(values[start:end])
            keys = partition.missing(decoded)
            while keys:
                keys = partition.load(keys, await store.load(0, keys))
            effects = partition.apply(decoded, lambda row, start=start: {**where, "offset": start + row})
            rooms.update((op.key[:1], op.kind) for op in unpack(effects.ops))
            await store.commit(Commit(0, head.offset, end, effects.ops))
            told += [output.id for output in effects.outputs]
        assert told == outputs(values, 0)

    backend.run(body)
    assert {room for room, _ in rooms} >= {KEY_TIMER, KEY_WATCH}
    assert sum(room == KEY_TIMER for room, _ in rooms) == 2  # appended to and deleted
