"""Touches between shards, in every store: applied once whatever arrives twice, late or in other batches."""

import asyncio
import random
import struct
from collections.abc import Sequence

import pytest

from engine.domain.ops import APPEND, DELETE, SET, Op, rewrite
from engine.ports.store import Commit, Delivery, DeliveryGap, Head, StateStore
from tests.adapters.stores import Backend, packed

HOME, SOURCE = 3, 1


def delivery(previous: int, first: int, end: int, touches: Sequence[tuple[int, Op]], source: int = SOURCE) -> Delivery:
    offsets = b"".join(struct.pack("<I", offset - first) for offset, _ in touches)
    return Delivery(HOME, source, previous, first, end, offsets, packed(*(op for _, op in touches)))


def mark(offset: int, source: int = SOURCE, key: bytes = b"f1") -> tuple[int, Op]:
    return offset, Op(APPEND, key, b"%d.%d;" % (source, offset), offset % 3)


def test_touches_wait_in_a_list_of_their_own(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(0, -1, 1, b"", b"out", touches=b"a"))
        await store.commit(Commit(0, 1, 2, b""))
        await store.commit(Commit(0, 2, 3, b"", touches=b"b\n\x00"))
        assert await store.open(0) == Head(3, 1, [(0, b"out")], {}, ((0, b"a"), (1, b"b\n\x00")), 2)
        with pytest.raises(ValueError, match="delivered"):
            await store.commit(Commit(0, 3, 4, b"", touches=b"c", delivered=3))
        with pytest.raises(ValueError, match="delivered"):
            await store.commit(Commit(0, 3, 4, b"", delivered=-1))
        await store.commit(Commit(0, 3, 4, b"", touches=b"c", delivered=2))
        await store.commit(Commit(0, 4, 5, b"", delivered=1))
        assert await backend.again().open(0) == Head(5, 1, [(0, b"out")], {}, ((2, b"c"),), 3)

    backend.run(body)


def test_a_delivery_takes_effect_once(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        first = delivery(-1, 10, 13, [mark(10), mark(12), mark(12, key=b"f2")])
        assert await store.deliver(first) == 13
        assert await store.deliver(first) == 13
        assert await store.deliver(delivery(13, 13, 20, [mark(19)])) == 20
        assert await store.deliver(first) == 20
        # Another owner's batches of the same records, after the source was rolled back.
        assert await store.deliver(delivery(-1, 10, 16, [mark(10), mark(12)])) == 20
        assert await store.deliver(delivery(16, 16, 25, [mark(19), mark(20), mark(24, key=b"f2")])) == 25
        assert await store.deliver(delivery(-1, 0, 5, [mark(2, 0)], source=0)) == 5
        assert await backend.again().load(HOME, [b"f1", b"f2"]) == [b"1.10;1.12;1.19;1.20;0.2;", b"1.12;1.24;"]
        assert await store.open(HOME) == Head(-1, 0, [], {})

    backend.run(body)


def test_a_home_that_misses_a_delivery_says_so_and_changes_nothing(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        with pytest.raises(DeliveryGap) as missed:
            await store.deliver(delivery(10, 10, 12, [mark(11)]))
        assert (missed.value.previous, missed.value.applied) == (10, -1)
        await store.deliver(delivery(-1, 3, 10, [mark(5)]))
        with pytest.raises(DeliveryGap) as missed:
            await store.deliver(delivery(11, 11, 12, [mark(11)]))
        assert (missed.value.home, missed.value.source, missed.value.applied) == (HOME, SOURCE, 10)
        assert await store.load(HOME, [b"f1"]) == [b"1.5;"]
        assert await store.deliver(delivery(10, 10, 12, [mark(11)])) == 12

    backend.run(body)


def test_logs_of_claims_are_delivered_as_logs_of_entities_are(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        await store.deliver(delivery(-1, 3, 10, [mark(5, key=b"i1"), mark(6), mark(7, key=b"i1")]))
        anew = [(11, rewrite(b"i1", b"1.5;1.7;", b"new;")), mark(12, key=b"i1")]
        for _ in range(2):
            await store.deliver(delivery(10, 11, 13, anew))
        assert await store.load(HOME, [b"i1", b"f1"]) == [b"new;1.12;", b"1.6;"]

    backend.run(body)


MALFORMED = {
    "set": ([Op(SET, b"f1", b"x")], 4),
    "delete": ([Op(DELETE, b"f1", b"")], 4),
    "customer": ([Op(APPEND, b"c1", b"x")], 4),
    "too few offsets": ([Op(APPEND, b"f1", b"x")] * 2, 4),
    "too many offsets": ([Op(APPEND, b"f1", b"x")], 8),
    "unconditional": ([Op(4, b"f1", bytes(44))], 4),
    "no condition": ([Op(4, b"f1", b"\x01" * 43)], 4),
}


@pytest.mark.parametrize(("ops", "offsets"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_delivery_changes_nothing(backend: Backend, ops: list[Op], offsets: int) -> None:
    async def body(store: StateStore) -> None:
        good = packed(Op(APPEND, b"f1", b"new"))
        with pytest.raises(ValueError, match=r"operation|offsets"):
            await store.deliver(Delivery(HOME, SOURCE, -1, 0, 9, bytes(4 + offsets), good + packed(*ops)))
        with pytest.raises(ValueError, match="operation"):
            await store.deliver(Delivery(HOME, SOURCE, -1, 0, 9, bytes(4), good[:-1]))
        for wrong in (Delivery(16_384, 0, -1, 0, 9, b"", b""), Delivery(0, -1, -1, 0, 9, b"", b"")):
            with pytest.raises(ValueError, match="shards"):
                await store.deliver(wrong)
        for previous, first, end in ((-2, 0, 9), (10, 0, 9), (-1, 10, 9), (-1, 0, 1 << 53)):
            with pytest.raises(ValueError, match="delivery"):
                await store.deliver(Delivery(HOME, SOURCE, previous, first, end, b"", b""))
        assert await store.load(HOME, [b"f1"]) == [None]
        assert await store.deliver(Delivery(HOME, SOURCE, -1, 0, 9, bytes(4), good)) == 9

    backend.run(body)


def test_a_rewrite_keeps_what_others_appended_and_happens_once(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        await store.commit(Commit(HOME, -1, 1, packed(Op(APPEND, b"f1", b"abcdef"), Op(APPEND, b"f2", b"xy"))))
        mine = rewrite(b"f1", b"abcdef", b"AF", 5)
        theirs = rewrite(b"f1", b"abcdef", b"A-F")
        await store.deliver(delivery(-1, 0, 1, [(0, Op(APPEND, b"f1", b"gh"))]))
        await store.deliver(delivery(1, 1, 2, [(1, mine), (1, Op(APPEND, b"f1", b"i"))]))
        await store.commit(Commit(HOME, 1, 2, packed(theirs, rewrite(b"gone", b"x", b"y"))))
        assert await store.load(HOME, [b"f1", b"gone"]) == [b"AFghi", None]
        # Grown to the length that was read, but something else.
        late = rewrite(b"f1", b"AFghj", b"lost")
        too_short = rewrite(b"f2", b"xyz", b"lost")
        await store.commit(Commit(HOME, 2, 3, packed(late, too_short, rewrite(b"f2", b"xy", b""))))
        assert await store.load(HOME, [b"f1", b"f2"]) == [b"AFghi", b""]

    backend.run(body)


def test_the_layout_is_extended_by_who_read_it(backend: Backend) -> None:
    async def body(store: StateStore) -> None:
        assert await store.layout() is None
        assert not await store.extend_layout(b"0", b"1")
        assert await store.extend_layout(None, b"1")
        assert not await store.extend_layout(None, b"2")
        assert await backend.again().layout() == b"1"
        assert await store.extend_layout(b"1", b"1\n\x00")
        assert await store.layout() == b"1\n\x00"

    backend.run(body)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_deliveries_applies_each_touch_once(backend: Backend, seed: int) -> None:
    """Eight sources cut the same records into batches again and again, as owners that are killed and rolled back do."""
    draw = random.Random(seed)

    async def source(store: StateStore, number: int) -> None:
        touches = [mark(offset, number) for offset in range(0, 60, draw.randint(1, 4))]
        done = 0
        while done < 60:
            back = max(0, done - draw.choice([0, 0, 5, 30]))
            previous = back if back else -1
            end = min(60, back + draw.randint(1, 9))
            part = [touch for touch in touches if back <= touch[0] < end]
            for _ in range(draw.randint(1, 2)):
                done = max(done, await store.deliver(delivery(previous, back, end, part, number)))
            await asyncio.sleep(0)
        expected.extend(op.value for _, op in touches)

    expected: list[bytes] = []

    async def body(store: StateStore) -> None:
        await asyncio.gather(*(source(store, number) for number in range(8)))
        [log] = await store.load(HOME, [b"f1"])
        assert sorted((log or b"").split(b";")[:-1]) == sorted(value[:-1] for value in expected)

    backend.run(body)
