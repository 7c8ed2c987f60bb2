"""What is particular to Redis: refusals, faults of the server, times to live, the journal, names of keys."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.adapters.commits import LAYOUT
from engine.adapters.embedded import RedisServer, embedded_redis_binary, installed_redis_binary
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_keys import shard_tag
from engine.adapters.redis_store import RedisStore
from engine.domain.ops import APPEND, DELETE, SET, Op
from engine.ports.store import Commit, Fenced, Head, StoreMisconfigured, StoreUnavailable
from tests.adapters.stores import packed

QUICK = RedisOptions(connect_timeout_seconds=0.5, reply_timeout_seconds=0.5)
BATCH = Commit(
    0, -1, 1, packed(Op(APPEND, b"f", b"1", 5), Op(SET, b"h", b"1", 5), Op(SET, b"c", b"1"), Op(DELETE, b"x", b"")),
    b"entry", 0, b"journal", [(b"k", b"d", 9)], [("c", b"p")],
)  # fmt: skip
NOTHING = Head(-1, 0, [], {})


@pytest.fixture(scope="module", params=["redis", "embedded"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of its own for this module, which changes its configuration and stops it."""
    binary = installed_redis_binary() if request.param == "redis" else embedded_redis_binary()
    with RedisServer(binary) as server:
        yield server.start()


@pytest.fixture
async def redis(server: RedisServer) -> Any:
    """A plain client, for a look behind the store; leaves the server empty and as configured."""
    client = Redis.from_url(server.url, protocol=2)
    yield client
    await client.config_set("maxmemory", "0")
    await client.flushall()
    await client.aclose()


@pytest.fixture
async def store(server: RedisServer, redis: Redis) -> Any:
    """A store on that server."""
    store = RedisStore(server.url, options=QUICK)
    await store.start()
    yield store
    await store.close()


async def test_every_eviction_policy_but_noeviction_is_refused(server: RedisServer, redis: Redis) -> None:
    store = RedisStore(server.url)
    for policy in ("allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"):
        await redis.config_set("maxmemory-policy", policy)
        with pytest.raises(StoreMisconfigured, match=f"its maxmemory-policy is {policy}. Set it to noeviction"):
            await store.start()
    await redis.config_set("maxmemory-policy", "noeviction")
    await store.start()
    await store.close()


async def test_a_server_that_names_no_policy_is_asked_or_refused(
    server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(client: RedisClient, section: str) -> list[dict[str, Any]]:
        return [{"redis_version": version}]

    monkeypatch.setattr(RedisClient, "info", silent)
    version = "6.2.14"
    store = RedisStore(server.url)
    await store.start()  # CONFIG GET says noeviction
    await redis.execute_command("ACL", "SETUSER", "managed", "on", ">x", "~*", "+@all", "-config")
    managed = RedisStore(server.url.replace("://", "://managed:x@", 1))
    with pytest.raises(StoreMisconfigured, match="its maxmemory-policy is unknown"):
        await managed.start()
    version = "6.0.16"
    with pytest.raises(StoreMisconfigured, match=r"is 6\.0\.16; 6\.2 or later is needed"):
        await store.start()
    await redis.execute_command("ACL", "DELUSER", "managed")
    await managed.close()
    await store.close()


async def test_the_start_says_what_an_operator_should_know(server: RedisServer, redis: Redis) -> None:
    store = RedisStore(server.url)
    await store.start()
    assert len(store.notes) == 2
    assert "append-only" in store.notes[0]
    assert "maxmemory" in store.notes[1]
    await redis.config_set("maxmemory", "1gb")
    await store.start()
    assert len(store.notes) == 1
    await store.close()


async def test_a_user_may_be_allowed_no_more_than_the_documented_commands(server: RedisServer, redis: Redis) -> None:
    """The list of docs/state.md; CONFIG is not on it, as managed services forbid it."""
    allowed = (
        "+info +set +get +mget +evalsha +eval +hmget +llen +xrevrange +hset +append +ttl +pttl +expire +del +sadd "
        "+srem +ltrim +rpush +xadd +publish +smembers +lrange +subscribe +unsubscribe +ping"
    )
    await redis.execute_command("ACL", "SETUSER", "steward", "on", ">secret", "~st:*", "&*", *allowed.split())
    store = RedisStore(server.url.replace("://", "://steward:secret@", 1))
    await store.start()
    await store.commit(BATCH)
    assert (await store.open(0)).state == {b"h": b"1"}
    assert await store.load(0, [b"f", b"c"]) == [b"1", b"1"]
    assert await store.answer(0, b"k") == b"d"
    assert await store.give(0, b"k", b"given", 60, 60.0) == (True, b"d")
    await store.close()
    await redis.execute_command("ACL", "SETUSER", "steward", "-evalsha", "-eval")
    weaker = RedisStore(server.url.replace("://", "://steward:secret@", 1))
    with pytest.raises(StoreMisconfigured, match="the user may not do this"):
        await weaker.open(0)
    await weaker.close()
    stranger = RedisStore(server.url.replace("://", "://steward:wrong@", 1))
    with pytest.raises(StoreMisconfigured, match="password") as refused:
        await stranger.start()
    assert "wrong@" not in str(refused.value)
    await stranger.close()
    await redis.execute_command("ACL", "DELUSER", "steward")


async def test_a_full_memory_refuses_the_whole_commit(store: RedisStore, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    for commit in (BATCH, Commit(0, -1, 1, packed(Op(DELETE, b"x", b""))), Commit(0, -1, 1, b"")):
        with pytest.raises(StoreUnavailable, match="memory is full"):
            await store.commit(commit)
        assert await store.open(0) == NOTHING
    await redis.config_set("maxmemory", "0")
    assert await redis.keys("*{*") == []
    await store.commit(BATCH)


async def test_a_replica_refuses_the_whole_commit(store: RedisStore, redis: Redis) -> None:
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="is a replica"):
            await store.commit(BATCH)
    finally:
        await redis.execute_command("REPLICAOF", "NO", "ONE")
    assert await store.open(0) == NOTHING
    await store.commit(BATCH)


async def test_missing_replicas_refuse_the_whole_commit(store: RedisStore, redis: Redis) -> None:
    await redis.config_set("min-replicas-to-write", "1")
    try:
        with pytest.raises(StoreUnavailable, match="too few replicas"):
            await store.commit(BATCH)
    finally:
        await redis.config_set("min-replicas-to-write", "0")
    assert await store.open(0) == NOTHING


async def test_a_server_that_forgot_the_scripts_gets_them_again(store: RedisStore, redis: Redis) -> None:
    await store.commit(BATCH)
    await redis.script_flush()
    await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"f", b"2"))))
    await redis.script_flush()
    assert (await store.open(0)).offset == 2
    assert await store.load(0, [b"f"]) == [b"12"]


async def test_no_server_is_unavailable_and_the_password_stays_secret() -> None:
    store = RedisStore("redis://user:hidden@127.0.0.1:1/0", options=QUICK)
    for call in (store.start(), store.open(0), store.load(0, [b"f"]), store.commit(BATCH), store.answer(0, b"k")):
        with pytest.raises(StoreUnavailable, match=r"Redis at redis://127.0.0.1:1/0: no connection") as refused:
            await call
        assert "hidden" not in str(refused.value)
    await store.close()
    with pytest.raises(ValueError, match="not a Redis URL"):
        RedisStore("http://user:hidden@host")


async def test_a_silent_server_is_unavailable_and_the_next_look_tells(server: RedisServer, store: RedisStore) -> None:
    await store.commit(BATCH)
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"f", b"2"))))
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await store.load(0, [b"f"])
    finally:
        server.signal(signal.SIGCONT)
    head = await store.open(0)  # the commit was sent: it may have been applied, but only as a whole
    assert await store.load(0, [b"f"]) == [{1: b"1", 2: b"12"}[head.offset]]
    await store.commit(Commit(0, head.offset, 3, packed(Op(APPEND, b"f", b"3"))))
    with pytest.raises(Fenced):
        await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"f", b"2"))))


async def test_a_restarted_server_is_found_again(server: RedisServer, store: RedisStore) -> None:
    await store.commit(BATCH)
    server.kill()
    with pytest.raises(StoreUnavailable, match="no connection"):
        await store.open(0)
    server.start()
    assert await store.open(0) == NOTHING  # without an append-only file
    await store.commit(BATCH)


async def test_another_layout_is_refused_everywhere(store: RedisStore, redis: Redis) -> None:
    await store.commit(BATCH)
    await redis.hset(f"st:{{{shard_tag(0)}}}:H", "layout", LAYOUT + 1)
    message = f"state of layout {LAYOUT + 1}; this version reads layout {LAYOUT}"
    with pytest.raises(StoreMisconfigured, match=message):
        await store.open(0)
    with pytest.raises(StoreMisconfigured, match=message):
        await store.commit(Commit(0, 1, 2, b""))
    await store.commit(Commit(1, -1, 1, b""))
    await redis.set("st:layout", LAYOUT + 1)
    with pytest.raises(StoreMisconfigured, match=message):
        await store.start()


async def test_a_commit_that_failed_half_way_is_noticed(store: RedisStore, redis: Redis) -> None:
    """It takes a foreign key of a wrong type, which only another program could have put there."""
    await store.commit(BATCH)
    key = f"st:{{{shard_tag(0)}}}:c"
    await redis.delete(key)
    await redis.hset(key, "not", "ours")
    with pytest.raises(StoreMisconfigured, match="WRONGTYPE"):
        await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"f", b"2"), Op(APPEND, b"c", b"2"))))
    with pytest.raises(StoreMisconfigured, match=r"shard 0: a commit to offset 2 stopped half way, .* one is 1"):
        await store.commit(Commit(0, 1, 2, b""))
    with pytest.raises(StoreMisconfigured, match="half way"):
        await store.open(0)


async def test_times_to_live(store: RedisStore, redis: Redis) -> None:
    """At least what was asked for, at most a sixteenth more; 0 leaves an expiry as it is."""
    base = f"st:{{{shard_tag(0)}}}:".encode()

    async def hours(*names: bytes) -> list[float]:
        return [max(await redis.ttl(base + name) / 3600, 0) for name in names]

    names = [b"fa", b"fs", b"fn", b"fm"]
    ops = [Op(APPEND, b"fa", b"1", 32), Op(SET, b"fs", b"1", 48), Op(APPEND, b"fn", b"1"), Op(SET, b"fm", b"1", 65_535)]
    await store.commit(Commit(0, -1, 1, packed(*ops), answers=[(b"k", b"d", 90)]))
    assert await hours(*names) == pytest.approx([34, 51, 0, 65_535 * 17 / 16], abs=0.01)
    assert 80 < await redis.ttl(base + b"Ak") <= 90
    ops = [Op(APPEND, b"fa", b"2"), Op(SET, b"fs", b"2"), Op(APPEND, b"fn", b"2", 16), Op(SET, b"fm", b"2", 16)]
    await store.commit(Commit(0, 1, 2, packed(*ops)))
    assert await hours(*names) == pytest.approx([34, 51, 17, 17], abs=0.01)
    assert await redis.ttl(base + b"H") == -1
    await redis.expire(base + b"fa", int(32.5 * 3600))
    await redis.expire(base + b"fs", int(31.5 * 3600))
    ops = [Op(APPEND, name, b"3", 32) for name in names]
    await store.commit(Commit(0, 2, 3, packed(*ops)))
    assert await hours(*names) == pytest.approx([32.5, 34, 34, 34], abs=0.01)  # enough is left of the first alone
    await redis.pexpire(base + b"fa", 1)
    await asyncio.sleep(0.01)
    assert await store.load(0, [b"fa", b"fs"]) == [None, b"23"]


async def test_the_journal_holds_the_last_batches(server: RedisServer, store: RedisStore, redis: Redis) -> None:
    key = f"st:{{{shard_tag(0)}}}:J"
    await store.commit(BATCH)
    await store.commit(Commit(0, 1, 9, b"", journal=b"two\x00"))
    await store.commit(Commit(0, 9, 9, b""))
    assert await redis.xrange(key) == [(b"1-0", {b"r": b"journal"}), (b"9-0", {b"r": b"two\x00"})]
    small = RedisStore(server.url, journal_length_max=10)
    for offset in range(9, 1_000):
        await small.commit(Commit(0, offset, offset + 1, b"", journal=b"r"))
    await small.close()
    assert 10 <= await redis.xlen(key) <= 200  # trimmed by whole nodes of 100
    await redis.xadd(key, {b"r": b"foreign"}, id="5000-0")
    with pytest.raises(ValueError, match="journal already holds 5000-0"):
        await store.commit(Commit(0, 1_000, 1_001, packed(Op(SET, b"c", b"2")), journal=b"r"))
    assert await store.load(0, [b"c"]) == [b"1"]


async def test_every_key_of_a_shard_carries_its_tag(store: RedisStore, redis: Redis) -> None:
    await store.commit(BATCH)
    base = b"st:{%s}:" % shard_tag(0).encode()
    assert sorted(await redis.keys("*")) == sorted([b"st:layout", *(base + name for name in (
        b"H", b"O", b"J", b"I", b"Ak", b"f", b"h", b"c"
    ))])  # fmt: skip


async def test_the_index_of_head_state_follows_it(store: RedisStore, redis: Redis) -> None:
    await store.commit(BATCH)
    assert await redis.smembers(f"st:{{{shard_tag(0)}}}:I") == {b"h"}
    await store.commit(Commit(0, 1, 2, packed(Op(DELETE, b"h", b""), Op(APPEND, b"hb", b"1"))))
    assert await redis.smembers(f"st:{{{shard_tag(0)}}}:I") == {b"hb"}
    await redis.delete(f"st:{{{shard_tag(0)}}}:hb")  # as if it had expired
    assert (await store.open(0)).state == {}
