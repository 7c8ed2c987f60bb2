"""One shard's life with its owner: open, process micro-batches, acknowledge, close."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from engine.core.admission import TornState
from engine.core.effects import Effects
from engine.ports.clock import Clock
from engine.ports.log import LogRecord
from engine.ports.store import Commit, Fenced, Head, StateStore, StoreMisconfigured, StoreUnavailable
from engine.service import journal, marks
from engine.service.backoff import Backoff
from engine.service.batching import COMMIT_BYTES_MAX, CommitTooBig, commit_bytes
from engine.service.machine import ModelShelf, PartitionMachine, RuleSets, Source
from engine.service.neighbours import Neighbours
from engine.service.outage import Outage, until_it_works
from engine.service.outbox import Entry, encode
from engine.service.quarantine import MachineFault, refusal
from engine.service.relay import Relay
from engine.service.replies import Call, Outcome, find_calls, payload, resolve, to_explain

ANSWER_TTL_S: Final = 7 * 86_400  # as long as a repeated event id counts as a duplicate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What one batch was, for metrics.

    Attributes:
        records: how many log records it took; next_offset: the input offset stored after it.
        effects: what the core made of it.
        decode_s, load_s, apply_s, commit_s: seconds spent in each stage.
        outcomes: what became of each record somebody waits for, by its index.
    """

    shard: int
    records: int
    next_offset: int
    effects: Effects
    decode_s: float
    load_s: float
    apply_s: float
    commit_s: float
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)


class Shard:
    """Owns one shard: loads it, turns records into commits, hands committed outputs to the relay.

    A batch is committed in these steps; the numbers are in the code.

    1. Wait until the relay has room, so that a slow sink slows the intake.
    2. Decode the records.
    3. Fetch the rule sets and models that the batch names. Nothing has changed so far. Then adopt its control events,
       and load the state it touches under what is in force now and the memory does not hold.
    4. Apply: the memory is ahead of the store until the commit.
    5. Archive the models that were published: what a commit holds can be named by whoever sees it. Again does no harm.
       Frame the outputs and build the commit: operations, offset, outbox entry, what the relay has acknowledged,
       answers and replies for those who wait.
    6. Commit, fenced by the stored offset and by the lineage, which names the commits that led there. `Fenced`:
       somebody else owns or owned the shard, or the store went back, so the memory is dropped, and the caller opens the
       shard again and seeks. Unavailable: it is not known whether the commit took effect, so the head is read again: at
       our next offset and lineage it did, at the expected ones it did not and is sent again, at any other somebody else
       has been here. Nothing is lost or doubled: either the commit and its outbox entry are stored or neither is.
    7. Hand the outputs to the relay: from memory, or out of the stored outbox where the commit's answer was lost.
    8. Bring other shards the touches of the entities that are at home there.
    """

    def __init__(
        self,
        number: int,
        partition: PartitionMachine,
        store: StateStore,
        relay: Relay,
        *,
        clock: Clock,
        backoff: Backoff,
        outage: Outage,
        source: Callable[[int], Source],
        rule_sets: RuleSets | None = None,
        models: ModelShelf | None = None,
        partitions: int = 1,
        answer_ttl_s: int = ANSWER_TTL_S,
        commit_bytes_max: int = COMMIT_BYTES_MAX,
    ) -> None:
        """`partitions` of the topic; `NO_LOG` where there is none: the input is journalled with its effects then, and
        what became of each record is in `BatchOutcome.outcomes` instead of being published. `rule_sets` is where the
        partition's come from; None where it needs none but its own. `models` is where the snapshots of its fraud model
        come from and go to; None: nowhere.
        """
        self.number = number
        self.relay = relay
        self._partition = partition
        self._store = store
        self._clock = clock
        self._backoff = backoff
        self._outage = outage
        self._source = source
        self._rule_sets = rule_sets
        self._models = models
        self._answer_ttl_s = answer_ttl_s
        self._commit_bytes_max = commit_bytes_max
        self._partitions = partitions
        self._stored = -1  # the offset the store holds
        self._lineage = b""  # the commits that led there
        self._sequence = 0  # of the next outbox entry
        self._outputs = 0  # ordinal of the next output
        self._acknowledged = 0  # what the store knows about the relay
        self._fresh = False  # whether the memory mirrors the store
        self._suspected = -1  # offset of a batch whose state was found torn once
        self._neighbours = Neighbours(
            number, partitions, partition, store, self._load, self._persist, self._in_place, clock
        )

    @property
    def next_offset(self) -> int:
        """The offset after the last committed record; -1 where the shard has never committed."""
        return self._stored

    @property
    def ruleset(self) -> str:
        """Content hash of the rule set in force; of the one it would start with while it is not open."""
        return self._partition.ruleset_hash

    @property
    def waiting(self) -> int | None:
        """Event time the shard has come to, where something waits for it to go on; None else, and while not open."""
        return self._partition.waiting if self._fresh else None

    async def open(self) -> int:
        """Load the shard and return the offset to read next; -1 where it has never committed.

        Waits for a store that is away. A shard that comes back to the owner who last committed it is not loaded again.
        Raises `PartitionsChanged`, and `engine.core.adoption.UnknownRuleSet` where the rule set in force is lost.
        """
        head = await self._read_head()
        mirrored = self._mirrors(head)
        if not mirrored:
            await self._restore(head)
        self._stored, self._lineage = head.offset, head.lineage
        self._adopt(head, anew=not mirrored)
        self._fresh = True
        await self._neighbours.deliver()
        self.relay.start()
        return self._stored

    async def process(self, records: Sequence[LogRecord]) -> BatchOutcome:
        """Process and commit one micro-batch.

        Raises `Fenced`: open again, seek to what `open` returns. Raises `MachineFault`: open again, refuse the record.
        Raises `CommitTooBig`: open again, process less at a time. Raises `StoreMisconfigured` where the state is torn.
        """
        if not self._fresh or records[0].offset < self._stored:
            raise ValueError(f"shard {self.number} is not open at offset {records[0].offset}")
        await self.relay.room()  # 1
        self._fresh = False  # until this batch is committed: an interrupted one leaves the memory ahead of the store
        began_s = self._clock.now_s()
        with self._faults(records):
            self._partition.evict()
            offsets = [record.offset for record in records]
            decoded = self._partition.decode([record.value for record in records], offsets)  # 2
            if not self._partitions:
                journal.mend(decoded, records)
            unknown = self._partition.unknown(decoded)
            models = self._partition.unknown_models(decoded)
            decoded_s = self._clock.now_s()
        await self._fetch(unknown, models)  # 3
        try:
            await self._neighbours.fill(decoded, partial(self._faults, records))
        except TornState as torn:
            await self._in_place()  # another owner may have been here: that is no more than a fence
            if self._suspected != records[0].offset:  # or was, and a failover took it back since: read all once more
                self._suspected = records[0].offset
                raise Fenced(self.number, self._stored, self._stored) from torn
            raise StoreMisconfigured(
                f"shard {self.number}: {torn}: not all of it is of one moment; put a snapshot back (steward rebuild)"
            ) from torn
        with self._faults(records):
            loaded_s = self._clock.now_s()
            effects = self._partition.apply(  # 4
                decoded, lambda index: self._source(records[index].offset), to_explain(records)
            )
            applied_s = self._clock.now_s()
        await self._archive(effects.models)  # 5
        kept = b"" if self._partitions else journal.encode(journal.keep(decoded, [record.value for record in records]))
        commit, entry, told = await self._build(records, effects, kept)
        if commit_bytes(commit) > self._commit_bytes_max and len(records) > 1:
            self.forget()
            raise CommitTooBig(self.number, len(records), commit_bytes(commit), self._commit_bytes_max)
        await self._commit(commit, entry)  # 6, 7
        self._fresh = True
        await self._neighbours.deliver()  # 8
        return BatchOutcome(
            shard=self.number,
            records=len(records),
            next_offset=self._stored,
            effects=effects,
            decode_s=decoded_s - began_s,
            load_s=loaded_s - decoded_s,
            apply_s=applied_s - loaded_s,
            commit_s=self._clock.now_s() - applied_s,
            outcomes={call.row: outcome for call, outcome in told},
        )

    async def refuse(self, record: LogRecord, fault: MachineFault) -> BatchOutcome:
        """Commit a dead letter for a record that cannot be processed. Raises `Fenced`."""
        effects = refusal(record, self._source(record.offset), fault)
        commit, entry, told = await self._build([record], effects, b"")
        await self._commit(commit, entry)
        outcomes = {call.row: outcome for call, outcome in told}
        return BatchOutcome(self.number, 1, self._stored, effects, 0.0, 0.0, 0.0, 0.0, outcomes)

    async def _load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the shard's keys, all as of its last commit. Raises `Fenced`."""
        with self._in_step():
            return await self._persist(partial(self._store.load, self.number, keys, (self._stored, self._lineage)))

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """Drop the memory where the store turns out not to hold the last commit any more."""
        try:
            yield
        except Fenced:
            self.forget()
            raise

    @contextmanager
    def _faults(self, records: Sequence[LogRecord]) -> Iterator[None]:
        """Turn what the core raises into `MachineFault`, and drop its memory, which may be half-way."""
        try:
            yield
        except TornState:
            self.forget()
            raise
        except Exception as error:
            self.forget()
            raise MachineFault(f"shard {self.number}: {error!r} at offset {records[0].offset} or later") from error

    async def acknowledge(self) -> None:
        """Drop from the outbox what the relay has delivered since the last commit. Raises `Fenced`.

        Where there is nothing to drop, see that the store still holds that commit, so that a shard without traffic
        notices a rollback as well; a store that is away is not waited for.
        """
        if not self._fresh:
            return
        if self.relay.acknowledged == self._acknowledged:
            with suppress(StoreUnavailable), self._in_step():
                await self._store.load(self.number, (), (self._stored, self._lineage))
        elif self.relay.acknowledged > self._acknowledged:
            at, known, relayed = self._stored, self._lineage, self.relay.acknowledged
            commit = Commit(self.number, at, at, b"", relayed=relayed, lineage=known, next_lineage=known)
            await self._commit(commit, Entry(self._outputs, ()))

    def forget(self) -> None:
        """Drop the memory of the shard; the next `open` loads it."""
        self._fresh = False
        self._partition.restore({})

    async def _restore(self, head: Head) -> None:
        needed = self._partition.in_force(head.state)
        await self._fetch([] if needed is None else [needed])
        await self._neighbours.agree((), head.state)
        state = dict(head.state)
        self._outputs = marks.take(state, self._partitions)
        self._partition.restore(state)

    def _mirrors(self, head: Head) -> bool:
        return self._fresh and head.offset == self._stored and head.lineage == self._lineage

    def _adopt(self, head: Head, *, anew: bool) -> None:
        self._sequence = head.outbox_next
        self._neighbours.adopt(head)
        self._acknowledged = head.outbox[0][0] if head.outbox else head.outbox_next
        self.relay.adopt(head.outbox, head.outbox_next, anew=anew)

    async def _build(
        self, records: Sequence[LogRecord], effects: Effects, kept: bytes
    ) -> tuple[Commit, Entry, list[tuple[Call, Outcome]]]:
        entry = Entry(self._outputs, effects.outputs)
        ops = effects.ops
        if self._stored < 0:
            ops += marks.birth(self._partitions)
        if effects.outputs:
            ops += marks.outputs(self._outputs + len(effects.outputs))
        calls = find_calls(records) if self._partitions else [Call(row, "", "") for row in range(len(records))]
        answers: list[tuple[bytes, bytes, int]] = []
        told: list[tuple[Call, Outcome]] = []
        if calls:
            kept_answers, told = await resolve(calls, records, effects, self._first_answer)
            answers = [(key, body, self._answer_ttl_s) for key, body in kept_answers.items()]
        following = records[-1].offset + 1
        commit = Commit(
            shard=self.number,
            expected=self._stored,
            next_offset=following,
            ops=ops,
            outbox=encode(entry) if effects.outputs else b"",
            relayed=self.relay.acknowledged,
            journal=kept,
            answers=answers,
            replies=[(call.channel, payload(call.request, *outcome)) for call, outcome in told if call.channel],
            touches=self._neighbours.entry(records, effects),
            delivered=self._neighbours.dispensable(),
            lineage=self._lineage,
            next_lineage=marks.lineage(self._lineage, following, kept),
        )
        return commit, entry, told

    async def _commit(self, commit: Commit, entry: Entry) -> None:
        while True:
            try:
                await self._store.commit(commit)
            except StoreUnavailable as failure:
                self._outage.failed(failure)
                await self._clock.sleep(self._backoff.next_s())
                if await self._took_effect(commit):
                    self._recovered()
                    break
            except Fenced:
                self.forget()
                raise
            else:
                self._recovered()
                if commit.outbox:
                    self.relay.offer(self._sequence, entry)
                    self._sequence += 1
                self._outputs += len(entry.outputs)
                self._neighbours.committed(commit)
                self._acknowledged = max(self._acknowledged, commit.relayed)
                break
        self._stored, self._lineage = commit.next_offset, commit.next_lineage

    async def _took_effect(self, commit: Commit) -> bool:
        """Whether a commit without an answer was stored; its outbox entry is adopted then. Raises `Fenced`."""
        head = await self._persist(lambda: self._store.open(self.number), proves=False)
        found = head.offset, head.lineage
        if found not in ((commit.expected, commit.lineage), (commit.next_offset, commit.next_lineage)):
            self.forget()
            raise Fenced(self.number, commit.expected, head.offset)
        if head.offset != commit.next_offset:
            return False
        if commit.next_offset != commit.expected:  # another owner's step, maybe, half of which this one had loaded
            await self._restore(head)
        self._adopt(head, anew=False)
        return True

    async def _in_place(self) -> None:
        head = await self._read_head()
        if (head.offset, head.lineage) != (self._stored, self._lineage):
            self.forget()
            raise Fenced(self.number, self._stored, head.offset)

    async def _first_answer(self, key: bytes) -> bytes | None:
        return await self._persist(lambda: self._store.answer(self.number, key))

    async def _read_head(self) -> Head:
        return await self._persist(lambda: self._store.open(self.number))

    async def _archive(self, snapshots: Sequence[bytes]) -> None:
        if self._models is not None and snapshots:
            await self._persist(partial(self._models.add, self.number, snapshots))

    async def _fetch(self, rulesets: Sequence[str], models: Sequence[str] = ()) -> None:
        """Have rule sets and models at hand, where anybody knows them."""
        if self._models is not None:
            for model in models:
                await self._persist(partial(self._models.fetch, model))
        if self._rule_sets is not None:
            for ruleset in rulesets:
                await self._persist(partial(self._rule_sets.fetch, ruleset))

    async def _persist(self, call: Callable[[], Awaitable[T]], *, proves: bool = True) -> T:
        """Await a call of the store that changes nothing, again and again while the store is away."""
        return await until_it_works(call, StoreUnavailable, self._outage, self._backoff, self._clock, proves=proves)

    def _recovered(self) -> None:
        self._outage.worked()
        self._backoff.reset()
