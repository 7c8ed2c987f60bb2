"""State that is not all of one moment is refused; an owner who is merely too late is fenced."""

from collections.abc import Sequence

import pytest

from engine.adapters.memory_log import MemoryRecord
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import KEY_ADMISSION
from engine.ports.store import Fenced, Place, StoreMisconfigured
from engine.ruleset import compile
from engine.service.shard import Shard
from tests.service.parts import Parts
from tests.service.test_dividing import RULES, payment


def parts() -> Parts:
    made = Parts()
    ruleset = compile({"a.yaml": RULES})
    made.crew.new_partition = lambda number: Partition(ruleset, CoreSettings(), shard=number)
    return made


def records(first: int, count: int) -> list[MemoryRecord]:
    return [MemoryRecord(3 * n, payment(n)) for n in range(first, first + count)]  # offsets have gaps


async def opened(parts: Parts) -> Shard:
    shard = parts.crew.shard(0)
    await shard.open()
    return shard


async def test_a_customer_that_is_ahead_of_its_shard_stops_the_worker() -> None:
    world = parts()
    shard = await opened(world)
    await shard.process(records(0, 10))
    held = world.store._shards[0]
    early = {key: bytearray(value) for key, value in held.state.items()}, held.offset
    await shard.process(records(10, 10))
    for key, value in early[0].items():  # all goes back but one customer's admission log
        if key != sorted(k for k in early[0] if k.startswith(KEY_ADMISSION))[0]:
            held.state[key] = value
    held.offset, held.lineage = early[1], b""
    await shard.relay.close()
    after = await opened(world)
    state = {key: bytes(value) for key, value in held.state.items()}
    with pytest.raises(Fenced):  # it may have been another owner's, taken back by a failover: all is read once more
        await after.process(records(10, 10))
    await after.open()
    with pytest.raises(
        StoreMisconfigured, match=r"holds the event at offset \d+, the shard is about to process offset 30"
    ):
        await after.process(records(10, 10))
    assert {key: bytes(value) for key, value in held.state.items()} == state
    await after.relay.close()


async def test_an_owner_that_is_too_late_is_fenced_and_no_more() -> None:
    world = parts()
    late, owner = await opened(world), await opened(world)
    await owner.process(records(0, 10))
    with pytest.raises(Fenced):
        await late.process(records(0, 10))
    await owner.process(records(10, 5))
    assert await late.open() == owner.next_offset
    await late.process(records(15, 5))
    for shard in (late, owner):
        await shard.relay.close()


async def test_what_another_owner_did_and_a_failover_took_back_is_not_loaded() -> None:
    """Found by the simulator: the state was asked for between the two, and the head looks as it did before."""
    world = parts()
    late, owner = await opened(world), await opened(world)
    load = world.store.load

    async def between(shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        world.store.load = load  # type: ignore[method-assign]
        await owner.process(records(0, 10))
        try:
            return await load(shard, keys, at)
        finally:
            world.store._shards.clear()

    world.store.load = between  # type: ignore[method-assign]
    with pytest.raises(Fenced, match="expected offset -1, stored 28"):
        await late.process(records(0, 10))
    assert await late.open() == -1
    assert (await late.process(records(0, 10))).effects.accepted == 10
    for shard in (late, owner):
        await shard.relay.close()
