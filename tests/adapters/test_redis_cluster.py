"""What is particular to Redis Cluster: shards on all nodes, slots that move, a node that is gone."""

from collections.abc import Iterator

import pytest
from redis import Redis

from engine.adapters.redis_client import RedisOptions
from engine.adapters.redis_keys import shard_tag, slot_of_tag
from engine.adapters.redis_store import RedisStore
from engine.domain.ops import APPEND, Op
from engine.ports.store import Commit, StoreUnavailable
from tests.adapters.stores import packed
from tests.support.cluster import NODES, RedisCluster

SHARDS = 12
QUICK = RedisOptions(connect_timeout_seconds=0.5, reply_timeout_seconds=2.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster of its own, for these tests move slots and stop nodes."""
    with RedisCluster() as cluster:
        yield cluster


def _ask(cluster: RedisCluster, node: int, *command: str | int) -> object:
    with Redis.from_url(cluster.nodes[node].url, protocol=2) as client:
        return client.execute_command(*command)


async def test_shards_live_on_every_node(cluster: RedisCluster) -> None:
    store = RedisStore(cluster.url, prefix="spread")
    await store.start()
    for shard in range(SHARDS):
        await store.commit(Commit(shard, -1, 1, packed(Op(APPEND, b"f", b"1"))))
    await store.close()
    held = [_ask(cluster, node, "KEYS", "spread:{*:H") for node in range(NODES)]
    assert sum(map(len, held)) == SHARDS  # type: ignore[arg-type]
    assert all(len(keys) >= SHARDS // NODES - 1 for keys in held)  # type: ignore[arg-type]


async def test_a_slot_that_has_moved_is_followed(cluster: RedisCluster) -> None:
    shard = 0
    slot = slot_of_tag(shard_tag(shard).encode())
    source = slot * NODES // 16_384
    target = (source + 1) % NODES
    store = RedisStore(cluster.url, prefix="moved")
    await store.start()
    await store.commit(Commit(shard, -1, 1, packed(Op(APPEND, b"f", b"1"))))
    names = [bytes(_ask(cluster, node, "CLUSTER", "MYID")).decode() for node in range(NODES)]  # type: ignore[call-overload]
    _ask(cluster, target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    _ask(cluster, source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    while keys := _ask(cluster, source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
        for key in keys:  # type: ignore[attr-defined]
            _ask(cluster, source, "MIGRATE", "127.0.0.1", cluster.nodes[target].port, key, 0, 5_000)
    for node in (target, source, 3 - source - target):
        _ask(cluster, node, "CLUSTER", "SETSLOT", slot, "NODE", names[target])
    await store.commit(Commit(shard, 1, 2, packed(Op(APPEND, b"f", b"2"))))
    assert (await store.open(shard)).offset == 2
    assert await store.load(shard, [b"f"]) == [b"12"]
    await store.close()
    assert _ask(cluster, target, "KEYS", "moved:*:H") != []


@pytest.mark.parametrize("first", ["head", "rest"])
async def test_nothing_runs_on_half_of_a_shard_while_its_slot_moves(cluster: RedisCluster, first: str) -> None:
    shard, prefix = 1, f"half-{first}"
    slot = slot_of_tag(shard_tag(shard).encode())
    store = RedisStore(cluster.url, prefix=prefix, options=QUICK)
    await store.start()
    await store.commit(Commit(shard, -1, 1, packed(Op(APPEND, b"f1", b"1"), Op(APPEND, b"f2", b"1"))))
    names = [bytes(_ask(cluster, node, "CLUSTER", "MYID")).decode() for node in range(NODES)]  # type: ignore[call-overload]
    (source,) = (node for node in range(NODES) if _ask(cluster, node, "CLUSTER", "COUNTKEYSINSLOT", slot))
    target = (source + 1) % NODES
    _ask(cluster, target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    _ask(cluster, source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    keys = sorted(_ask(cluster, source, "CLUSTER", "GETKEYSINSLOT", slot, 100), key=lambda key: key[-1:] == b"H")  # type: ignore[call-overload]
    order = keys[::-1] if first == "head" else keys
    for step, key in enumerate(order):
        with pytest.raises(StoreUnavailable):
            await store.commit(Commit(shard, 1, 2, packed(Op(APPEND, b"f1", b"2"), Op(APPEND, b"f3", b"2"))))
        with pytest.raises(StoreUnavailable):
            await store.open(shard)
        assert _ask(cluster, target, "CLUSTER", "COUNTKEYSINSLOT", slot) == step
        _ask(cluster, source, "MIGRATE", "127.0.0.1", cluster.nodes[target].port, key, 0, 5_000)
    for node in (target, source, 3 - source - target):
        _ask(cluster, node, "CLUSTER", "SETSLOT", slot, "NODE", names[target])
    await store.commit(Commit(shard, 1, 2, packed(Op(APPEND, b"f1", b"2"), Op(APPEND, b"f3", b"2"))))
    assert (await store.open(shard)).offset == 2
    assert await store.load(shard, [b"f1", b"f2", b"f3"]) == [b"12", b"1", b"2"]
    await store.close()
    for node in range(NODES):  # the next one begins with an empty slot
        for key in _ask(cluster, node, "CLUSTER", "GETKEYSINSLOT", slot, 100):  # type: ignore[attr-defined]
            _ask(cluster, node, "DEL", key)


async def test_a_node_that_is_gone_is_unavailable_until_it_returns(cluster: RedisCluster) -> None:
    store = RedisStore(cluster.url, prefix="gone", options=QUICK)
    await store.start()
    shards = {slot_of_tag(shard_tag(shard).encode()) * NODES // 16_384: shard for shard in range(1, SHARDS)}
    shard = shards[NODES - 1]
    await store.commit(Commit(shard, -1, 1, b""))
    cluster.nodes[NODES - 1].kill()
    with pytest.raises(StoreUnavailable):
        await store.commit(Commit(shard, 1, 2, b""))
    with pytest.raises(StoreUnavailable):
        await store.open(shard)
    cluster.nodes[NODES - 1].start()
    cluster.wait()
    assert (await store.open(shard)).offset == -1  # this node kept no append-only file
    await store.commit(Commit(shard, -1, 1, b""))
    await store.close()
