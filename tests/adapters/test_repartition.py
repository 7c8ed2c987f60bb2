"""A deployment that is moved to another number of partitions goes on as if it had had them from the beginning."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from engine.adapters.embedded import RedisServer
from engine.adapters.memory_generation import MemoryGeneration
from engine.adapters.memory_store import MemoryStore
from engine.adapters.redis_generation import RedisGeneration
from engine.bootstrap import unix_ms
from engine.core.adoption import HEAD_WARMING
from engine.core.campaign_state import HEAD_BUDGETS
from engine.core.claims import KEY
from engine.core.label_desk import HEAD_MATURING
from engine.core.learning import HEAD_LEARNED
from engine.core.observers import HEAD_TIMERS
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_CLAIM
from engine.engagement.marketing.identities import bounds_of
from engine.ports.copies import Piece
from engine.ports.generation import EMPTY, IN_SERVICE, OUT_OF_SERVICE, Generation
from engine.ports.log import LogBounds
from engine.ports.store import Commit, Delivery, StoreMisconfigured
from engine.ruleset import RuleSet
from engine.service.move_ends import drop_old, undo
from engine.service.move_note import NotReady
from engine.service.owners import Stray
from engine.service.partitioners import murmur2
from engine.service.repartition import Move, Report
from tests.adapters.stores import Backend
from tests.service.moving import (
    CAMPAIGNS,
    CLAIMING,
    CUSTOMERS,
    GAP,
    HOUR,
    LEARNING,
    T0,
    Deployment,
    Past,
    move,
    note,
    stream,
)

EVENTS = 160
MANY = 1_000 * HOUR
NAMES = [f"customer-{number}" for number in range(CUSTOMERS)]


class Generations:
    """Key spaces on one server, or in memory."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Generation:
        if name not in self._made:
            url, prefix = self._backend.url, f"{self._backend.prefix}.{name}"
            self._made[name] = (
                MemoryGeneration(MemoryStore(), unix_ms) if url is None else RedisGeneration(url, prefix=prefix)
            )
        return self._made[name]

    async def close(self) -> None:
        for made in self._made.values():
            if isinstance(made, RedisGeneration):
                await made.close()


def run(backend: Backend, body: Callable[[Generations], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = Generations(backend)
        try:
            await body(made)
        finally:
            await made.close()

    asyncio.run(whole())


async def begin(generation: Generation, partitions: int) -> Deployment:
    await generation.store.start()
    return Deployment(generation.store, partitions)


async def halves(
    generations: Generations, events: list[dict[str, Any]], before: int, after: int, ruleset: RuleSet
) -> tuple[Deployment, Deployment]:
    """Half of the events, the move, the other half."""
    await generations["old"].store.start()
    first = Deployment(generations["old"].store, before, ruleset)
    await first.play(events[: EVENTS // 2])
    await move(generations["old"], generations["new"], Past(first), after)
    second = Deployment(generations["new"].store, after, ruleset)
    await second.play(events[EVENTS // 2 :])
    return first, second


async def straight(events: list[dict[str, Any]], partitions: int) -> Deployment:
    """The same events with that number from the beginning."""
    deployment = Deployment(MemoryStore(), partitions)
    await deployment.play(events)
    await deployment.tick(T0 + MANY)
    return deployment


async def same(parts: list[Deployment], want: Deployment, *, labels: bool = True) -> None:
    """What the parts of a history made is what a straight run makes; `labels`: what features saw of labels, too."""
    features = {event: seen for part in parts for event, seen in part.features.items()}
    left_out = () if labels else LABELS
    assert _without(features, left_out) == _without(want.features, left_out)
    decisions = {event: decision for part in parts for event, decision in part.decisions.items()}
    assert {e: _told(d) for e, d in decisions.items()} == {e: _told(d) for e, d in want.decisions.items()}
    assert await parts[-1].accounts() == await want.accounts()
    assert sum(part.duplicates for part in parts) == want.duplicates
    sent = sum((part.sent for part in parts[1:]), parts[0].sent)
    assert sent == want.sent
    assert max(sent.values()) == 1


def _without(features: dict[str, dict[str, Any]], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {event: {n: v for n, v in seen.items() if n not in names} for event, seen in features.items()}


def _told(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision without what stands in it only where entities are shared."""
    return {name: value for name, value in decision.items() if name != "seen"}


LABELS = ("own_frauds", "own_labels", "ip_labels")
"""Of a customer nobody named, a decision may mature in a shard that is not the customer's."""

CHANGES = [(2, 3), (4, 2), (1, 4), (3, 1), (2, 4)]


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2)])
def test_customers_with_campaigns_go_on_where_they_move(backend: Backend, before: int, after: int) -> None:
    """Rewards, offers and transitions are those of a straight run, whether the customer does anything later or not; but
    for the tiers by value, which go by the customers of a shard. Budgets hold in sum."""

    async def body(generations: Generations) -> None:
        events = stream(before, EVENTS)
        first, second = await halves(generations, events, before, after, CAMPAIGNS)
        straight = Deployment(MemoryStore(), after, CAMPAIGNS)
        await straight.play(events)
        for deployment in (second, straight):
            for hours in range(0, 1_000, 100):
                await deployment.tick(T0 + GAP + (20 + hours) * HOUR)
        want = _engagement(straight)
        assert _engagement(first) + _engagement(second) == want
        assert {kind for kind, _ in want} == {"reward", "offer", "lifecycle"}
        heads = [await generations["new"].store.open(shard) for shard in range(after)]
        budgets = [msgspec.msgpack.decode(head.state[HEAD_BUDGETS])["earn:1"] for head in heads]
        spent = [msgspec.msgpack.decode((await straight.store.open(shard)).state[HEAD_BUDGETS])["earn:1"]
                 for shard in range(after)]  # fmt: skip
        assert sum(lease for lease, *_ in budgets) == 100_000
        assert sum(r + s for _, r, s, _ in budgets) >= sum(r + s for _, r, s, _ in spent)
        assert all(r + s <= lease for lease, r, s, _ in budgets)

    run(backend, body)


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2)])
def test_what_was_claimed_before_a_move_is_claimed_after_it(backend: Backend, before: int, after: int) -> None:
    async def body(generations: Generations) -> None:
        events = stream(before, EVENTS)
        first, second = await halves(generations, events, before, after, CLAIMING)
        given = [_merchants(deployment, events) for deployment in (first, second)]
        assert set(given[0]) == {"m0", "m1", "m2"}, "each merchant's gift was given before the move"
        assert max(given[0].values()) <= before
        assert not given[1]
        [bound] = bounds_of(CLAIMING.live[0])
        for merchant in given[0]:
            identity = hash64(merchant)
            held = [await generations["new"].store.load(shard, [KEY.pack(KEY_CLAIM, identity, bound.code)])
                    for shard in range(after)]  # fmt: skip
            assert [values[0] is not None for values in held] == [shard == identity % after for shard in range(after)]

    run(backend, body)


def _merchants(deployment: Deployment, events: list[dict[str, Any]]) -> Counter[str]:
    """Grants by merchant."""
    of = {event["payment_id"]: event["merchant_id"] for event in events if event["type"] == "payment.requested"}
    rewards = [json.loads(output.data) for _, _, output in deployment.sink.sent if output.kind == "reward"]
    return Counter(of[one["occasion"]] for one in rewards if one["available_at"])


def _engagement(deployment: Deployment) -> Counter[tuple[str, str]]:
    kinds = ("reward", "offer", "lifecycle")
    made = [output for _, _, output in deployment.sink.sent if output.kind in kinds]
    return Counter((output.kind, output.id) for output in made if b'"value_tier"' not in output.data)


async def moved(
    generations: Generations, before: int, after: int, kept: int | None, names: list[str], *, labels: bool = True
) -> tuple[Deployment, Report, Deployment]:
    """The first half of a stream, the move, the second half; what both halves made is checked."""
    events = stream(before * 10 + after, EVENTS)
    first = await begin(generations["old"], before)
    await first.play(events[: EVENTS // 2])
    waiting = [await generations["old"].store.open(shard) for shard in range(before)]
    assert sum(HEAD_TIMERS in head.state for head in waiting) == before, "something waits to be settled"
    assert sum(HEAD_MATURING in head.state for head in waiting) == before, "something waits to mature"
    report = await move(generations["old"], generations["new"], Past(first, kept, names), after)
    second = await begin(generations["new"], after)
    await second.play(events[EVENTS // 2 :])
    await second.tick(T0 + MANY)
    assert second.duplicates > 0
    assert any(seen["own_frauds"] for seen in second.features.values())
    await same([first, second], await straight(events, after), labels=labels)
    return first, report, second


@pytest.mark.parametrize(("before", "after"), CHANGES)
@pytest.mark.parametrize(("kept", "names"), [(None, []), (0, NAMES), (0, [])])
def test_it_goes_on_as_if_it_had_always_been_so(before: int, after: int, kept: int | None, names: list[str]) -> None:
    """`kept`: how much of the log is left to learn from whose the keys are; `names`: the customers that are known
    otherwise. What nobody knows of goes to several shards."""

    async def body(generations: Generations) -> None:
        exact = kept is None or before % after == 0
        _, report, _ = await moved(generations, before, after, kept, names, labels=exact or bool(names))
        assert (report.keys["spread"] > 0) == (not exact)
        assert any("wait to mature" in remark for remark in report.remarks) == (not exact and not names)

    run(Backend(None), body)


def test_on_every_store(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        _, report, _ = await moved(generations, 2, 3, 20, NAMES)
        assert report.keys["spread"] > 0, "of groups of customer and merchant, only those of the last events are known"
        assert await generations["old"].state() == OUT_OF_SERVICE
        await drop_old(generations["old"], generations["new"], "old", "new")
        assert await generations["old"].state() == EMPTY
        assert await generations["new"].state() == IN_SERVICE

    run(backend, body)


@pytest.mark.parametrize("counts", [(1, 2, 3), (2, 3, 2, 1), (2, 4, 3)])
def test_copies_that_nobody_touched_are_no_evidence_when_it_is_moved_again(
    installed_redis: RedisServer, counts: tuple[int, ...]
) -> None:
    async def body(generations: Generations) -> None:
        names, share = "abcd", EVENTS // len(counts)
        events = stream(sum(counts), EVENTS, share * (len(counts) - 1))
        parts = []
        for turn, partitions in enumerate(counts):
            part = await begin(generations[names[turn]], partitions)
            await part.play(events[turn * share : (turn + 1) * share])
            parts.append(part)
            if turn + 1 < len(counts):
                here, there = names[turn : turn + 2]
                past = Past(part, 0)
                report = await move(generations[here], generations[there], past, counts[turn + 1], here, there)
                assert turn == 0 or report.keys["stale"] + report.keys["spread"] > 0
        await parts[-1].tick(T0 + MANY)
        await same(parts, await straight(events[: share * len(counts)], counts[-1]), labels=False)

    run(Backend(installed_redis), body)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_move_that_was_killed_is_begun_again(backend: Backend, at: int) -> None:
    async def body(generations: Generations) -> None:
        events = stream(at, EVENTS)
        first = await begin(generations["old"], 2)
        await first.play(events[: EVENTS // 2])
        new, commits = generations["new"], 0
        commit = new.store.commit

        async def mortal(given: Commit) -> None:
            nonlocal commits
            commits += 1
            if commits == at:
                raise Killed
            await commit(given)

        new.store.commit = mortal  # type: ignore[method-assign]
        opened = new.open_up
        new.open_up = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await move(generations["old"], new, Past(first, 0), 3)
        assert await new.state() == OUT_OF_SERVICE
        with pytest.raises(StoreMisconfigured, match="out of service"):
            await generations["old"].store.open(0)
        with pytest.raises(NotReady, match=r"begun: finish it \(--prefix new\)"):
            await move(generations["old"], generations["other"], Past(first), 3, after="other")
        new.open_up, new.store.commit = opened, commit  # type: ignore[method-assign]
        await move(generations["old"], new, Past(first, 0), 3)
        with pytest.raises(NotReady, match="moved already"):
            await move(generations["old"], new, Past(first, 0), 3)
        second = await begin(new, 3)
        await second.play(events[EVENTS // 2 :])
        await second.tick(T0 + MANY)
        await same([first, second], await straight(events, 3), labels=False)

    run(backend, body)


async def killed(*_: object) -> None:
    raise Killed


def test_what_is_not_at_rest_is_not_moved(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        events = stream(3, 60)
        old, new = generations["old"], generations["new"]
        with pytest.raises(NotReady, match="nothing to move"):
            await move(old, new, Past(Deployment(old.store, 2)), 3)
        first = await begin(old, 2)
        await first.play(events)
        first.records[1].append(b"{}")
        with pytest.raises(
            NotReady, match=r"shard 1: 1 records or more are not processed: stop or switch the producers"
        ):
            await move(old, new, Past(first), 3)
        first.records[1].pop()
        with pytest.raises(NotReady, match="2 partitions already"):
            await move(old, new, Past(first), 2)
        first.records[2] = []
        with pytest.raises(NotReady, match="its state was made with 2 partitions, the topic has 3"):
            await move(old, new, Past(first), 4)
        del first.records[2]
        head = await old.store.open(0)
        unsent = Commit(0, head.offset, head.offset, b"", b"entry", head.outbox_next, b"", lineage=head.lineage)
        await old.store.commit(replace(unsent, next_lineage=head.lineage))
        with pytest.raises(NotReady, match="shard 0: 1 batches of outputs are not sent: start a worker"):
            await move(old, new, Past(first), 3)
        assert (await old.state(), await new.state()) == (IN_SERVICE, EMPTY)

    run(backend, body)


def test_it_can_wait_for_that_and_learns_meanwhile(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        events = stream(4, EVENTS)
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(events[:60])
        head = await old.store.open(0)
        at = Commit(0, head.offset, head.offset, b"", lineage=head.lineage, next_lineage=head.lineage)
        await old.store.commit(replace(at, outbox=b"entry", relayed=head.outbox_next))
        said: list[str] = []

        async def sleep(seconds: float) -> None:
            await old.store.commit(replace(at, relayed=head.outbox_next + 1))
            await first.play(events[60 : EVENTS // 2])

        await Move(old, new, Past(first), note(4), say=said.append).run(sleep)
        assert [line.splitlines()[0] for line in said] == ["waiting:"]
        second = await begin(new, 4)
        await second.play(events[EVENTS // 2 :])
        await second.tick(T0 + MANY)
        await same([first, second], await straight(events, 4))

    run(backend, body)


def test_what_is_not_processed_can_be_taken_along_also_from_a_topic_that_has_grown(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        events, half = stream(9, EVENTS), EVENTS // 2
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(events[:half])
        first.records |= {2: [], 3: []}  # somebody has added partitions, and producers use them
        for event in events[half : half + 40]:
            partition = murmur2(event["customer_id"].encode()) % 4
            first.records[partition].append(json.dumps(event).encode())
        tick = {"event_id": "t", "type": "control.tick", "event_time": T0}
        first.records[3].append(json.dumps(tick).encode())
        with pytest.raises(NotReady, match="its state was made with 2 partitions, the topic has 4"):
            await move(old, new, Past(first), 4)
        past, opened = Past(first), new.open_up
        new.open_up = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await Move(old, new, past, note(4), take_along=True).run()
        new.open_up = opened  # type: ignore[method-assign]
        report = await Move(old, new, past, note(4), take_along=True).run()
        assert report.carried == 41
        assert len(past.copied) == 40 + 4, "a control event goes to every partition"
        place = {json.loads(value)["event_id"]: n for n, (_, value) in enumerate(past.copied)}
        copies = sorted(past.copied, key=lambda copy: place[json.loads(copy[1])["event_id"]])
        second = await begin(new, 4)
        await second.play_copies(copies)
        await second.play(events[half + 40 :])
        await second.tick(T0 + MANY)
        want = await straight(events, 4)
        assert second.sent + first.sent == want.sent
        assert await second.accounts() == await want.accounts()
        assert first.duplicates + second.duplicates == want.duplicates

    run(backend, body)


def test_an_owner_that_still_runs_is_noticed_and_afterwards_refused(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(stream(3, 60))
        head = await old.store.open(1)
        late = Commit(1, head.offset, head.offset + 1, b"", lineage=head.lineage, next_lineage=b"later")
        at_work = Past(first)

        async def customers() -> AsyncIterator[str]:
            await old.store.commit(late)
            yield "customer-1"

        at_work.customers = customers  # type: ignore[method-assign]
        with pytest.raises(NotReady, match="shard 1 went on meanwhile: a worker is running"):
            await move(old, new, at_work, 3)
        assert (await old.state(), await new.state()) == (IN_SERVICE, EMPTY)
        first.records[1].append(b"{}")
        await move(old, new, Past(first), 3)
        again = replace(late, expected=late.next_offset, next_offset=late.next_offset + 1, lineage=b"later")
        with pytest.raises(StoreMisconfigured, match="out of service"):
            await old.store.commit(again)
        with pytest.raises(StoreMisconfigured, match="out of service"):
            await old.store.deliver(Delivery(0, 1, -1, 0, 9_999, b"", b""))

    run(backend, body)


def test_events_that_come_to_the_old_log_meanwhile_stop_the_move(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(stream(3, 60))
        archive = old.archive

        async def archiving() -> list[Piece]:
            first.records[0].append(b"{}")
            return await archive()

        old.archive = archiving  # type: ignore[method-assign]
        with pytest.raises(NotReady, match="a producer still writes to it"):
            await move(old, new, Past(first), 3)
        assert (await old.state(), await new.state()) == (IN_SERVICE, OUT_OF_SERVICE)
        assert (await old.store.open(0)).offset == len(first.records[0]) - 1

    run(backend, body)


def test_a_move_is_undone_until_something_was_processed(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        events = stream(8, 120, 90)
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(events[:60])
        with pytest.raises(NotReady, match="no move from this prefix"):
            await undo(old, new)
        await move(old, new, Past(first), 3)
        await undo(old, new)
        assert (await old.state(), await new.state()) == (IN_SERVICE, EMPTY)
        await first.play(events[60:90])
        with pytest.raises(NotReady, match="not moved"):
            await drop_old(old, new, "old", "new")
        await move(old, new, Past(first), 3)
        second = await begin(new, 3)
        await second.play(events[90:])
        with pytest.raises(NotReady, match="to go back now would lose them"):
            await undo(old, new)
        await second.tick(T0 + MANY)
        await same([first, second], await straight(events, 3))

    run(backend, body)


def test_the_detector_goes_on_from_one_old_shard_each() -> None:
    """What was learned cannot be divided: scores are those of old shard `i mod N`, all else is as it was."""

    async def body(generations: Generations) -> None:
        events = stream(5, EVENTS)
        first = Deployment(generations["old"].store, 2, LEARNING)
        await first.play(events[: EVENTS // 2])
        before = [await generations["old"].store.open(shard) for shard in range(2)]
        await move(generations["old"], generations["new"], Past(first), 3)
        for shard in range(3):
            state = (await generations["new"].store.open(shard)).state
            for name in (HEAD_LEARNED, HEAD_WARMING):
                assert state[name] == before[shard % 2].state[name]
        second = Deployment(generations["new"].store, 3, LEARNING)
        await second.play(events[EVENTS // 2 :])
        assert all(decision["scores"]["anomaly"] is not None for decision in second.decisions.values())

    run(Backend(None), body)


def test_answers_and_webhook_queues_come_along(backend: Backend) -> None:
    async def body(generations: Generations) -> None:
        old, new = generations["old"], generations["new"]
        first = await begin(old, 2)
        await first.play(stream(3, 60))
        for shard in range(2):
            head = await old.store.open(shard)
            answers = [(b"answer%d" % shard, b"told", 3600)]
            at = Commit(shard, head.offset, head.offset, b"", answers=answers, lineage=head.lineage)
            await old.store.commit(replace(at, next_lineage=head.lineage))
            await old.store.give(shard, b"given%d" % shard, b"instead", 3600, 1e9)
            await old.merge(shard, Piece(b"Wbank:i", "hash", 0, [b"id%d" % shard, b"item"]))
            await old.merge(shard, Piece(b"Wbank:q", "zset", 0, [b"id%d" % shard, b"5"]))
        await move(old, new, Past(first, 0), 4)
        for shard in range(4):
            assert await new.store.answer(shard, b"answer%d" % (shard % 2)) == b"told"
            assert await new.store.answer(shard, b"given%d" % (shard % 2)) == b"instead"
        held: dict[tuple[int, bytes], list[bytes]] = {}

        async def take(shard: int, pieces: Sequence[Piece]) -> None:
            held.update({(shard, p.name): list(p.value) for p in pieces if p.name[:1] == b"W"})  # type: ignore[arg-type]

        await new.read(range(4), take)
        assert held == {
            (shard, name): [b"id%d" % shard, value]
            for shard in range(2)
            for name, value in ((b"Wbank:i", b"item"), (b"Wbank:q", b"5"))
        }

    run(backend, body)


def test_a_customer_on_another_partition_than_the_partitioner_says_stops_the_move() -> None:
    async def body(generations: Generations) -> None:
        first = await begin(generations["old"], 2)
        await first.play(stream(3, 60))
        first.records[0], first.records[1] = first.records[1], first.records[0]
        at_rest = Past(first)
        sizes = {shard: len(values) for shard, values in first.records.items()}

        async def bounds() -> dict[int, LogBounds]:
            return {shard: LogBounds(0, sizes[1 - shard]) for shard in sizes}

        at_rest.bounds = bounds  # type: ignore[method-assign]
        with pytest.raises(Stray, match=r"where the partitioner does not put it .*--partitioner"):
            await move(generations["old"], generations["new"], at_rest, 3)

    run(Backend(None), body)
