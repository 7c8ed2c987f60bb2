"""One suite for every state store: what the service relies on, whatever is behind the port."""

import asyncio
import struct
from collections.abc import Callable

import pytest

from engine.domain.ops import APPEND, DELETE, SET, Op
from engine.ports.store import Commit, Fenced, Head, StateStore
from tests.adapters.stores import Backend, packed

NASTY = [b"f\x00\x01\xff\xfe", b"f{x}", b"f}{", b"f\r\n$3\r\nfoo", b"c" + "ключ\u202e".encode(), b"a" * 255, b"f:*?[]"]


def test_a_new_shard_is_empty(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        assert await store.open(0) == Head(-1, 0, [], {})
        assert await store.load(0, [b"fx", b"cy"]) == [None, None]
        assert await store.load(0, []) == []
        assert await store.answer(0, b"k") is None

    backend.run(body)


def test_operations_apply_in_order_and_survive_a_reopen(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        ops = packed(
            Op(APPEND, b"f1", b"one"), Op(APPEND, b"f1", b"two"), Op(SET, b"c1", b"x"), Op(SET, b"c1", b"y"),
            Op(SET, b"gone", b"1"), Op(DELETE, b"gone", b""), Op(DELETE, b"never", b""), Op(APPEND, b"f2", b""),
            Op(SET, b"back", b"1"), Op(DELETE, b"back", b""), Op(APPEND, b"back", b"2"),
        )  # fmt: skip
        await store.commit(Commit(4, -1, 10, ops))
        await store.commit(Commit(4, 10, 11, packed(Op(APPEND, b"f1", b"three"))))
        keys = [b"f1", b"c1", b"gone", b"never", b"f2", b"back", b"f1"]
        want = [b"onetwothree", b"y", None, None, b"", b"2", b"onetwothree"]
        assert await store.load(4, keys) == want
        other = backend.again()
        assert (await other.open(4)).offset == 11
        assert await other.load(4, keys) == want
        assert (await other.open(5)).offset == -1
        assert await other.load(5, keys) == [None] * len(keys)

    backend.run(body)


@pytest.mark.parametrize("expected", [-1, 0, 9, 11, 1 << 52])
def test_the_fence_refuses_every_offset_but_the_stored_one(backend: Backend, expected: int) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 10, packed(Op(SET, b"c", b"old")), b"entry"))
        stale = Commit(
            0, expected, expected + 5, packed(Op(SET, b"c", b"new"), Op(SET, b"h", b"new")), b"again", 1, b"",
            [(b"k", b"d", 9)], [("c", b"p")],
        )  # fmt: skip
        with pytest.raises(Fenced) as refused:
            await store.commit(stale)
        assert (refused.value.shard, refused.value.expected, refused.value.stored) == (0, expected, 10)
        assert await store.open(0) == Head(10, 1, [(0, b"entry")], {})
        assert await store.load(0, [b"c"]) == [b"old"]
        assert await store.answer(0, b"k") is None

    backend.run(body)


def test_values_are_loaded_as_of_one_commit_or_refused(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        keys = [b"c%d" % number for number in range(1_500)]  # more than one call's worth
        assert await store.load(0, [b"cx"], (-1, b"")) == [None]
        for place in ((0, b""), (-1, b"a")):
            with pytest.raises(Fenced) as refused:
                await store.load(0, [b"cx"], place)
            assert (refused.value.expected, refused.value.stored) == (place[0], -1)
        ops = packed(*(Op(SET, key, key + b"\x00") for key in keys[1:]))
        await store.commit(Commit(0, -1, 5, ops, next_lineage=b"a\n\x00"))
        want = [None, *(key + b"\x00" for key in keys[1:])]
        assert await store.load(0, keys, (5, b"a\n\x00")) == want == await store.load(0, keys)
        assert await store.load(0, [], (5, b"a\n\x00")) == []
        for place in ((5, b""), (5, b"b"), (4, b"a\n\x00"), (-1, b"")):
            for names in ([], keys):
                with pytest.raises(Fenced) as refused:
                    await store.load(0, names, place)
                assert (refused.value.expected, refused.value.stored) == (place[0], 5)

    backend.run(body)


def test_the_fence_refuses_a_first_commit_that_expects_a_history(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        with pytest.raises(Fenced) as refused:
            await store.commit(Commit(0, 0, 5, b""))
        assert refused.value.stored == -1
        assert (await store.open(0)).offset == -1

    backend.run(body)


def test_the_fence_refuses_the_right_offset_reached_through_other_commits(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 5, packed(Op(SET, b"cx", b"old")), next_lineage=b"a\n\x00"))
        assert (await store.open(0)).lineage == b"a\n\x00"
        for lineage in (b"", b"b"):
            with pytest.raises(Fenced, match="other commits"):
                await store.commit(Commit(0, 5, 6, packed(Op(SET, b"cx", b"new")), lineage=lineage))
        assert await store.load(0, [b"cx"]) == [b"old"]
        await store.commit(Commit(0, 5, 6, b"", lineage=b"a\n\x00", next_lineage=b"b"))
        head = await backend.again().open(0)
        assert (head.offset, head.lineage) == (6, b"b")

    backend.run(body)


def test_an_offset_may_stay_where_it_is(backend: Backend) -> None:
    """The last commit of a drain acknowledges relayed entries and reads no input."""

    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 10, b"", b"entry"))
        await store.commit(Commit(0, 10, 10, b"", relayed=1))
        assert await store.open(0) == Head(10, 1, [], {})

    backend.run(body)


def _malformed() -> dict[str, bytes]:
    good = packed(Op(SET, b"cgood", b"new"), Op(APPEND, b"fgood", b"new"), Op(SET, b"hgood", b"new"))
    header = struct.Struct("<BBHI")
    return {
        "kind 0": good + header.pack(0, 2, 0, 1) + b"cx1",
        "kind 4": good + header.pack(4, 2, 0, 1) + b"cx1",
        "no key": good + header.pack(2, 0, 0, 1) + b"1",
        "no key at the end": good + header.pack(2, 0, 0, 0),
        "capital key": good + header.pack(2, 2, 0, 1) + b"Hx1",
        "binary key": good + header.pack(2, 2, 0, 1) + b"\x00x1",
        "short header": good + b"\x02",
        "header but one": good + header.pack(2, 1, 0, 1)[:7],
        "header only": good + header.pack(2, 2, 0, 1),
        "short value": good + header.pack(2, 2, 0, 9) + b"cx1",
        "huge value": good + header.pack(2, 2, 0, 0xFFFFFFFF) + b"cx1",
        "one byte more": good + packed(Op(SET, b"c", b"1")) + b"x",
    }


@pytest.mark.parametrize("ops", _malformed().values(), ids=_malformed().keys())
def test_one_malformed_operation_and_nothing_is_written(backend: Backend, ops: bytes) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 1, packed(Op(SET, b"cgood", b"old"))))
        with pytest.raises(ValueError, match=r"operation|key"):
            await store.commit(Commit(0, 1, 2, ops, b"entry", 0, b"journal", [(b"k", b"d", 9)]))
        assert await store.open(0) == Head(1, 0, [], {})
        assert await store.load(0, [b"cgood", b"fgood", b"hgood", b"cx"]) == [b"old", None, None, None]
        assert await store.answer(0, b"k") is None
        await store.commit(Commit(0, 1, 2, b""))

    backend.run(body)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Commit(0, 5, 4, b""),
        lambda: Commit(0, -2, 4, b""),
        lambda: Commit(0, -1, -1, b""),
        lambda: Commit(0, -1, 1 << 53, b""),
        lambda: Commit(0, -1, 1, b"", relayed=-1),
        lambda: Commit(0, -1, 1, b"", relayed=1),
        lambda: Commit(0, -1, 1, b"", answers=[(b"k", b"d", 0)]),
        lambda: Commit(0, -1, 0, b"", journal=b"x"),
        lambda: Commit(16_384, -1, 1, b""),
        lambda: Commit(-1, -1, 1, b""),
    ],
)
def test_nonsense_is_refused(backend: Backend, make: Callable[[], Commit]) -> None:
    async def body(store: StateStore) -> None:
        with pytest.raises(ValueError, match=r"shard|relayed"):
            await store.commit(make())
        assert await store.open(0) == Head(-1, 0, [], {})

    backend.run(body)


def test_outbox_entries_wait_until_they_are_relayed(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 1, b"", b"a"))
        await store.commit(Commit(0, 1, 2, b""))
        await store.commit(Commit(0, 2, 3, b"", b"b\n\x00{}"))
        await store.commit(Commit(0, 3, 4, b"", b"c"))
        assert await store.open(0) == Head(4, 3, [(0, b"a"), (1, b"b\n\x00{}"), (2, b"c")], {})
        await store.commit(Commit(0, 4, 5, b"", b"d", relayed=2))
        assert await store.open(0) == Head(5, 4, [(2, b"c"), (3, b"d")], {})
        await store.commit(Commit(0, 5, 6, b"", relayed=1))  # an older acknowledgement takes nothing back
        assert await store.open(0) == Head(6, 4, [(2, b"c"), (3, b"d")], {})
        with pytest.raises(ValueError, match="relayed"):
            await store.commit(Commit(0, 6, 7, b"", b"e", relayed=5))
        await store.commit(Commit(0, 6, 7, b"", b"e", relayed=4))
        assert await backend.again().open(0) == Head(7, 5, [(4, b"e")], {})
        await store.commit(Commit(0, 7, 8, b"", relayed=5))
        assert await store.open(0) == Head(8, 5, [], {})

    backend.run(body)


def test_head_state_comes_with_the_head(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        big = bytes(range(256)) * 8_192
        ops = packed(Op(SET, b"hlayout", b"1"), Op(APPEND, b"hlog", b"ab"), Op(SET, b"hbig", big), Op(SET, b"h", b"0"))
        await store.commit(Commit(0, -1, 1, ops + packed(Op(SET, b"cnot", b"1"))))
        await store.commit(Commit(0, 1, 2, packed(Op(APPEND, b"hlog", b"c"), Op(DELETE, b"h", b""))))
        head = await backend.again().open(0)
        assert head.state == {b"hlayout": b"1", b"hlog": b"abc", b"hbig": big}
        assert (await store.open(1)).state == {}

    backend.run(body)


def test_keys_and_values_are_any_bytes(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        values = [key * 3 + b"\x00\r\n" for key in NASTY]
        await store.commit(Commit(7, -1, 1, packed(*map(Op, [SET] * len(NASTY), NASTY, values))))
        assert await store.load(7, NASTY) == values
        await store.commit(Commit(7, 1, 2, b"", answers=[(key, b"d" + key, 60) for key in NASTY]))
        assert [await store.answer(7, key) for key in NASTY] == [b"d" + key for key in NASTY]
        assert await store.load(7, NASTY) == values

    backend.run(body)


def test_a_large_value_and_a_large_batch(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        big = bytes(range(256)) * 4_096
        await store.commit(Commit(0, -1, 1, packed(Op(SET, b"cbig", big)), big))
        many = [Op((APPEND, SET)[i % 2], b"f%d" % (i % 3_000), b"%d," % i, i % 7) for i in range(5_000)]
        await store.commit(Commit(0, 1, 2, packed(*many)))
        keys = [b"f%d" % i for i in range(3_000)] + [b"cbig"]
        want: dict[bytes, bytes] = {b"cbig": big}
        for op in many:
            want[op.key] = want.get(op.key, b"") + op.value if op.kind == APPEND else op.value
        assert await store.load(0, keys) == [want[key] for key in keys]
        assert (await store.open(0)).outbox == [(0, big)]

    backend.run(body)


def test_two_owners_race_and_one_wins(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        owners = [store, *(backend.again() for _ in range(7))]
        offset = -1
        for turn in range(10):
            commits = [
                owner.commit(Commit(0, offset, turn, packed(Op(APPEND, b"f", b"%d;" % i)), b"%d" % i))
                for i, owner in enumerate(owners)
            ]
            results = await asyncio.gather(*commits, return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["Fenced"] * 7 + ["NoneType"]
            offset = turn
        head = await store.open(0)
        assert (head.offset, head.outbox_next) == (9, 10)
        assert await store.load(0, [b"f"]) == [b"".join(entry + b";" for _, entry in head.outbox)]

    backend.run(body)


def test_replies_reach_who_listens(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        async with (
            backend.replies() as replies,
            replies.subscribe("node {1}") as mine,
            replies.subscribe("n2") as other,
        ):
            sent = [("node {1}", b"first\r\n"), ("n2", b"\x00"), ("nobody", b"lost"), ("node {1}", b"second")]
            await store.commit(Commit(0, -1, 1, b"", replies=sent))
            assert [await anext(mine), await anext(mine), await anext(other)] == [b"first\r\n", b"second", b"\x00"]

    backend.run(body)


def test_a_given_answer_comes_before_the_owners_unless_that_is_older_than_the_call(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        assert await store.give(3, b"k", b"given", 60, 0.5) == (True, None)
        assert await store.answer(3, b"k") == b"given"
        await store.commit(Commit(3, -1, 1, b"", answers=[(b"k", b"owner", 60), (b"old", b"first", 60)]))
        assert await backend.again().answer(3, b"k") == b"given"
        assert await store.give(3, b"k", b"given", 60, 10.0) == (True, b"owner")
        await asyncio.sleep(0.02)
        assert await store.give(3, b"old", b"given", 60, 0.001) == (False, b"first")
        assert await store.answer(3, b"old") == b"first"
        assert await store.answer(4, b"k") is None
        for key in NASTY:
            assert await store.give(7, key, b"g" + key, 60, 1.0) == (True, None)
        assert [await store.answer(7, key) for key in NASTY] == [b"g" + key for key in NASTY]

    backend.run(body)
