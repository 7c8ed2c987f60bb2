"""Puts a shard's parts together: partition, relay, shard and lane, over the ports a worker was given."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.ports.clock import Clock
from engine.ports.log import EventLog
from engine.ports.sink import Sink
from engine.ports.store import StateStore
from engine.service.assignment import Assignment
from engine.service.backoff import WAIT_MAX_S, Backoff
from engine.service.batching import BatchLimits
from engine.service.lane import IDLE_ACKNOWLEDGE_S, Lane
from engine.service.machine import ModelShelf, PartitionMachine, RuleSets
from engine.service.outage import Outage
from engine.service.relay import QUEUED_ENTRIES_MAX, Relay
from engine.service.shard import ANSWER_TTL_S, BatchOutcome, Shard


def _ignore(_: BatchOutcome) -> None:
    """Nobody watches."""


def _nothing() -> None:
    """Nobody counts."""


def _unwatched(shard: int, records: int, seconds: float) -> None:
    """Nobody asks how long it took."""


@dataclass(slots=True)
class Crew:
    """What the shards of one worker share, and how each is made.

    Attributes:
        new_partition: makes the state machine of a shard, empty.
        store, log, sink, clock: the ports.
        rule_sets: where the partitions' rule sets are fetched from; None where they need none but their own.
        models: where the snapshots of fraud models come from and go to; None: nowhere.
        random: numbers in [0, 1) for the jitter of waits.
        topic: name of the input topic, for the `source` of dead letters.
        partitions: how many partitions that topic has; a shard whose state was made under another count is refused.
        limits: bounds of a micro-batch.
        relay_entries_max: committed batches that may wait for the sink.
        answer_ttl_s: how long the answer to a synchronous call is kept.
        wait_max_s: the longest wait between two tries.
        idle_acknowledge_s: a shard without traffic tells the store what was relayed after this long.
        on_batch: told of every commit, for metrics.
        on_fenced: told of every refused commit.
        on_fatal: told of what no waiting cures.
        on_caught_up: see `Lane`.
    """

    new_partition: Callable[[int], PartitionMachine]
    store: StateStore
    log: EventLog
    sink: Sink
    clock: Clock
    random: Callable[[], float]
    on_fatal: Callable[[BaseException], None]
    rule_sets: RuleSets | None = None
    models: ModelShelf | None = None
    topic: str = "payments.events"
    partitions: int = 1
    limits: BatchLimits = field(default_factory=BatchLimits)
    relay_entries_max: int = QUEUED_ENTRIES_MAX
    answer_ttl_s: int = ANSWER_TTL_S
    wait_max_s: float = WAIT_MAX_S
    idle_acknowledge_s: float = IDLE_ACKNOWLEDGE_S
    on_batch: Callable[[BatchOutcome], None] = _ignore
    on_fenced: Callable[[], None] = _nothing
    on_caught_up: Callable[[int, int, float], None] = _unwatched
    store_outage: Outage = field(init=False)
    log_outage: Outage = field(init=False)
    sink_outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        self.store_outage = Outage("the state store", self.clock)
        self.log_outage = Outage("the event log", self.clock)
        self.sink_outage = Outage("the sink of outputs", self.clock)

    def assignment(self) -> Assignment:
        """An owner without partitions."""
        return Assignment(self.lane, self.clock, self.on_fatal)

    def lane(self, partition: int) -> Lane:
        """A lane for `partition`, over a shard that is not open yet."""
        return Lane(
            self.shard(partition),
            self.log,
            limits=self.limits,
            clock=self.clock,
            backoff=self._backoff(),
            log_outage=self.log_outage,
            idle_acknowledge_s=self.idle_acknowledge_s,
            on_batch=self.on_batch,
            on_fenced=self.on_fenced,
            on_fatal=self.on_fatal,
            on_caught_up=self.on_caught_up,
        )

    def shard(self, number: int) -> Shard:
        """A shard, not yet open."""
        relay = Relay(
            number,
            self.sink,
            clock=self.clock,
            backoff=self._backoff(),
            outage=self.sink_outage,
            on_fatal=self.on_fatal,
            queued_entries_max=self.relay_entries_max,
        )
        return Shard(
            number,
            self.new_partition(number),
            self.store,
            relay,
            clock=self.clock,
            backoff=self._backoff(),
            outage=self.store_outage,
            source=lambda offset: {"topic": self.topic, "partition": number, "offset": offset},
            rule_sets=self.rule_sets,
            models=self.models,
            partitions=self.partitions,
            answer_ttl_s=self.answer_ttl_s,
            commit_bytes_max=self.limits.commit_bytes_max,
        )

    def _backoff(self) -> Backoff:
        return Backoff(self.random, max_s=self.wait_max_s)
