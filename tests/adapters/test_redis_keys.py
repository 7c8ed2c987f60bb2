"""Hash tags: real cluster slots, the same for ever, spread evenly over the nodes of any cluster."""

import pytest
from redis.crc import key_slot

from engine.adapters.commits import SHARDS_MAX
from engine.adapters.redis_keys import SLOT_STEP, SLOTS, Keys, shard_tag, slot_of_tag


def test_slots_are_those_of_redis_cluster() -> None:
    assert slot_of_tag(b"123456789") == 0x31C3  # the check value of CRC-16/XMODEM
    keys = Keys("st")
    for shard in (0, 1, 7, 999, 16_383):
        assert key_slot(keys.base(shard) + b"H") == slot_of_tag(shard_tag(shard).encode())
        assert key_slot(keys.base(shard) + b"f}{\r\n") == shard * SLOT_STEP % SLOTS


def test_every_shard_has_a_short_tag_of_its_own() -> None:
    tags = [shard_tag(shard) for shard in range(SHARDS_MAX)]
    assert len(set(tags)) == SHARDS_MAX
    assert max(map(len, tags)) == 4
    assert tags[:6] == [
        "1bz",
        "594",
        "j6a",
        "886",
        "g7c",
        "608",
    ]  # written down: a changed tag would lose the state behind it


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 6, 10])
@pytest.mark.parametrize("shards", [1, 3, 12, 16, 48, 64, 100, 256])
def test_shards_spread_evenly_over_the_nodes(nodes: int, shards: int) -> None:
    held = [0] * nodes
    for shard in range(shards):
        held[slot_of_tag(shard_tag(shard).encode()) * nodes // SLOTS] += 1
    assert max(held) - min(held) <= 3


@pytest.mark.parametrize("shard", [-1, SHARDS_MAX])
def test_a_shard_outside_the_range_is_refused(shard: int) -> None:
    with pytest.raises(ValueError, match="0 to 16383"):
        shard_tag(shard)


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a:b", "a\nb"])
def test_a_prefix_may_not_move_the_tag(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Keys(prefix)
