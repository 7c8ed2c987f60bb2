"""What is particular to the store in memory: its clock and its journal."""

from engine.adapters.memory_store import HOUR_SECONDS, MemoryStore
from engine.domain.ops import APPEND, SET, Op
from engine.ports.store import Commit
from tests.adapters.stores import packed


async def test_times_to_live_follow_the_given_clock() -> None:
    now = 1_000.0
    store = MemoryStore(now=lambda: now)
    ops = [Op(APPEND, b"fa", b"1", 2), Op(SET, b"fs", b"1", 3), Op(APPEND, b"fn", b"1"), Op(SET, b"h", b"1", 1)]
    await store.commit(Commit(0, -1, 1, packed(*ops), answers=[(b"k", b"d", 90)]))
    now += 89
    assert await store.answer(0, b"k") == b"d"
    now += 1
    assert await store.answer(0, b"k") is None
    now = 1_000.0 + HOUR_SECONDS - 1
    await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"fa", b"2"), Op(SET, b"fs", b"2"))))  # expiry stays
    assert (await store.open(0)).state == {b"h": b"1"}
    now = 1_000.0 + HOUR_SECONDS
    assert (await store.open(0)).state == {}
    now = 1_000.0 + 2 * HOUR_SECONDS
    assert await store.load(0, [b"fa", b"fs", b"fn"]) == [None, b"2", b"1"]
    await store.commit(Commit(0, 2, 3, packed(Op(APPEND, b"fa", b"3"))))  # begins anew, without an expiry
    now += 70_000 * HOUR_SECONDS
    assert await store.load(0, [b"fa", b"fs", b"fn"]) == [b"3", None, b"1"]


async def test_what_was_loaded_does_not_change_afterwards() -> None:
    store = MemoryStore()
    await store.commit(Commit(0, -1, 1, packed(Op(APPEND, b"h", b"1"))))
    value, head = (await store.load(0, [b"h"]))[0], await store.open(0)
    await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"h", b"2"))))
    assert (value, head.state) == (b"1", {b"h": b"1"})


async def test_the_journal_names_the_offset_after_each_entry() -> None:
    store = MemoryStore()
    await store.commit(Commit(0, -1, 3, b"", journal=b"one"))
    await store.commit(Commit(0, 3, 3, b""))
    await store.commit(Commit(0, 3, 4, b"", journal=b"two"))
    assert list(store.journal(0)) == [(3, b"one"), (4, b"two")]
    assert list(store.journal(1)) == []
