"""Random histories: memory and Redis answer alike; a killed Redis comes back before or after a commit, not between."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.adapters.embedded import RedisServer, embedded_redis_binary, installed_redis_binary
from engine.adapters.redis_store import RedisStore
from engine.domain.ops import APPEND, DELETE, SET, Op
from engine.ports.store import Commit, Fenced, StateStore, StoreUnavailable
from tests.adapters.stores import Backend, packed

KEYS = [b"f1", b"f2", b"c\r\n", b"a}{", b"t\x01\xff", b"w\x00", b"h1", b"h2", b"h"]
SHARDS = 3
RUNS = 10
KILL_COMMITS = 4
KILL_WAIT_SECONDS = 30.0

ops = st.builds(
    Op,
    st.sampled_from([APPEND, SET, DELETE]),
    st.sampled_from(KEYS),
    st.binary(max_size=6),
    st.sampled_from([0, 0, 1, 65_535]),
)
steps = st.fixed_dictionaries({
    "shard": st.integers(0, SHARDS - 1),
    "ops": st.lists(ops, max_size=6),
    "ahead": st.integers(0, 3),
    "off_by": st.sampled_from([0, 0, 0, 0, 1, -1]),
    "outbox": st.binary(max_size=3),
    "relayed": st.integers(0, 9),
    "spoil": st.sampled_from([b"", b"", b"", b"", b"\x01", b"\x09\x01\x00\x00\x00\x00\x00\x00c"]),
    "answers": st.lists(st.tuples(st.sampled_from(KEYS), st.binary(max_size=3), st.integers(60, 90)), max_size=2),
})  # fmt: skip


async def _step(store: StateStore, step: dict[str, object], offsets: list[int]) -> str:
    """One commit of a history; what became of it."""
    shard = int(str(step["shard"]))
    expected = max(offsets[shard] + int(str(step["off_by"])), -1)
    commit = Commit(
        shard, expected, max(expected, 0) + int(str(step["ahead"])), packed(*step["ops"]) + bytes(step["spoil"]),  # type: ignore[misc,call-overload]
        step["outbox"], step["relayed"], b"", step["answers"],  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        await store.commit(commit)
    except (Fenced, ValueError) as error:
        return type(error).__name__
    return "stored"


async def _all(store: StateStore) -> list[object]:
    """Everything the port shows of every shard."""
    seen: list[object] = []
    for shard in range(SHARDS):
        seen += [await store.open(shard), await store.load(shard, KEYS), [await store.answer(shard, k) for k in KEYS]]
    return seen


@pytest.mark.parametrize("kind", ["installed_redis", "embedded_redis"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=25))
def test_memory_and_redis_answer_alike(
    request: pytest.FixtureRequest, kind: str, history: Sequence[dict[str, object]]
) -> None:
    redis = Backend(request.getfixturevalue(kind))

    async def body(store: StateStore) -> None:
        memory = Backend(None).again()
        offsets = [-1] * SHARDS
        for step in history:
            told = [await _step(each, step, offsets) for each in (memory, store)]
            assert told[0] == told[1]
            offsets = [(await memory.open(shard)).offset for shard in range(SHARDS)]
        assert await _all(store) == await _all(memory)
        assert await _all(redis.again()) == await _all(memory)

    redis.run(body)


def _commit(turn: int) -> Commit:
    """About 1 MB: everything of it names its turn, so that a mixture shows."""
    mark = b"%08d" % turn
    writes = [Op(SET, b"c%d" % i, mark * 120) for i in range(1_000)] + [Op(APPEND, b"flog", mark), Op(SET, b"h", mark)]
    return Commit(0, turn - 1, turn, packed(*writes), mark, relayed=max(turn - 1, 0), journal=mark if turn else b"")


async def _whole(store: StateStore) -> int:
    """The turn that every part of the state agrees on."""
    head = await store.open(0)
    turn = head.offset
    values = await store.load(0, [b"c%d" % i for i in range(1_000)])
    if turn == -1:
        assert (values, head.outbox, head.state) == ([None] * 1_000, [], {})
        return turn
    mark = b"%08d" % turn
    assert values == [mark * 120] * 1_000
    assert await store.load(0, [b"flog"]) == [b"".join(b"%08d" % done for done in range(turn + 1))]
    assert head.state == {b"h": mark}
    assert head.outbox == [(entry, b"%08d" % entry) for entry in range(max(turn - 1, 0), turn + 1)]
    assert head.outbox_next == turn + 1
    return turn


@pytest.mark.parametrize("kind", ["redis", "embedded"])
def test_a_killed_server_comes_back_before_or_after_a_commit(kind: str, tmp_path: Path) -> None:
    binary = installed_redis_binary() if kind == "redis" else embedded_redis_binary()
    draw = random.Random(11)

    async def commits(store: StateStore, first: int, stored: list[int], enough: asyncio.Event) -> None:
        with suppress(StoreUnavailable):
            for turn in range(first, first + 1_000):
                await store.commit(_commit(turn))
                stored.append(turn)
                if len(stored) == KILL_COMMITS:
                    enough.set()

    async def once(server: RedisServer) -> None:
        store = RedisStore(server.url)
        first = await _whole(store) + 1
        stored: list[int] = []
        enough = asyncio.Event()
        task = asyncio.create_task(commits(store, first, stored, enough))
        await asyncio.wait_for(enough.wait(), KILL_WAIT_SECONDS)
        await asyncio.sleep(draw.random() * 0.02)
        await asyncio.to_thread(server.kill)
        await task
        await asyncio.to_thread(server.start)
        again = RedisStore(server.url)
        # What was acknowledged is there, for the operating system survived; at most the commit in flight comes on top.
        assert await _whole(again) - stored[-1] in (0, 1)
        await store.close()
        await again.close()

    # With `everysec` a server whose disk is slow holds writes back for up to two seconds, and a kill loses those.
    always = ("--appendfsync", "always")
    with RedisServer(binary, tmp_path / "redis", append_only=True, arguments=always) as server:
        server.start()
        for _ in range(RUNS):
            asyncio.run(once(server))
