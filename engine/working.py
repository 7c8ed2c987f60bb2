"""`steward worker`, put together: Faust in front, the shards over Redis behind, Kafka for what comes out."""

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, TypeVar

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import EmbeddedKafka, RedisServer
from engine.adapters.fan_out import FanOut
from engine.adapters.faust_app import StewardApp, run_app
from engine.adapters.faust_consumer import ConsumerLog
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_outputs import KafkaOutputs, TransactionsMissing
from engine.adapters.kafka_quiet import ComplaintFilter
from engine.adapters.kafka_sink import KafkaSink
from engine.adapters.kafka_topics import TopicsMissing, ensure_topics
from engine.adapters.kafka_writer import KafkaWriter
from engine.adapters.redis_store import RedisStore
from engine.adapters.worker_slot import WorkerSlot
from engine.bootstrap import DONE, FAULT, add_webhooks, build_kafka_options, build_store, loop_factory, start_snapshots
from engine.config import Settings
from engine.lifetime import Lifetime
from engine.ports.clock import Clock
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink, SinkUnavailable
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.rule_watch import RuleWatch
from engine.service.assignment import Assignment
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.machine import PartitionMachine
from engine.service.posting import LetterSink
from engine.service.rule_sets import RuleLibrary
from engine.service.ticks import ticker
from engine.telemetry.exposition import expose
from engine.telemetry.metrics import Metrics
from engine.telemetry.stages import timed
from engine.warm_up import warm_up

GAUGE_EVERY_S: Final = 1.0
# The embedded broker lets a member wait for most of the session timeout, longer still a static one, and does not wake a
# waiting fetch.
EMBEDDED: Final[dict[str, Any]] = {
    "instance_id": None,
    "session_timeout_s": 3.0,
    "heartbeat_s": 0.5,
    "fetch_wait_ms": 10,
    "transactions": "off",  # it says that it has them
}
AUTOMATIC: Final = "auto"
SWITCH_S: Final = 0.0005  # the consumer's thread and the main one hand over ten times faster than by default

T = TypeVar("T")
NewPartition = Callable[[int], PartitionMachine]

logger = logging.getLogger("steward.worker")


def run_worker(settings: Settings, new_partition: NewPartition, library: RuleLibrary | None = None) -> int:
    """Run a worker until it is told to stop (SIGTERM, SIGINT). Returns the exit code: 0 done, 1 a fault.

    `library`: the rule sets of the partitions; its archive becomes the settings' Redis. None: they know no rules.
    """
    with ExitStack() as servers:
        redis_url = bootstrap = None
        if settings.redis.url == "embedded":
            directory = settings.redis.embedded_directory
            redis_url = servers.enter_context(RedisServer(directory=directory, append_only=bool(directory))).start().url
            logger.info("the embedded store is at %s", redis_url)
        if settings.kafka.url == "embedded":
            bootstrap = servers.enter_context(EmbeddedKafka()).start().bootstrap
            logger.info("the embedded broker is at kafka://%s; its log ends with this process", bootstrap)
        options = build_kafka_options(settings, bootstrap)
        if bootstrap:  # its log ends with this process, and so does the use of a lasting membership
            options = replace(options, **EMBEDDED)
        elif options.instance_id == AUTOMATIC:
            options = replace(options, instance_id=servers.enter_context(WorkerSlot(options.group)).name)
        metrics = Metrics()
        if settings.worker.metrics:
            servers.callback(expose(metrics, settings.worker.metrics_address).close)
        warm_up(new_partition(0))
        sys.setswitchinterval(SWITCH_S)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            store = build_store(settings, redis_url)
            clock = SystemClock()
            rules = RuleWatch(settings, redis_url or settings.redis.url, library, metrics, clock) if library else None
            where = redis_url or settings.redis.url
            return runner.run(_Worker(settings, options, store, where, new_partition, rules, metrics, clock).run())


class _Worker:
    """One run of a worker: wait for what it needs, run the app, stop in time."""

    def __init__(
        self,
        settings: Settings,
        options: KafkaOptions,
        store: RedisStore,
        redis_url: str,
        new_partition: NewPartition,
        rules: RuleWatch | None,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._options = options
        self._store = store
        self._redis_url = redis_url
        self._new_partition = timed(new_partition, metrics)
        self._metrics = metrics
        self._rules = rules
        self._clock = clock
        self._complaints = ComplaintFilter()
        self._life = Lifetime(
            self._clock,
            drain_ms=settings.worker.drain_ms,
            wait_max_ms=settings.redis.backoff_max_ms,
            logger=logger,
            farewell="the worker did not stop in time and ends here; the next one goes on from the last commit",
        )

    async def run(self) -> int:
        """Run until stopped or failed."""
        self._life.heed_signals()
        self._complaints.install()
        outputs, letters, writer = KafkaOutputs(self._options), KafkaSink(self._options), KafkaWriter(self._options)
        sink, end_webhooks = add_webhooks(self._settings, self._redis_url, outputs, letters, self._metrics.webhook)
        try:
            partitions = await self._life.unless_stopped(self._prepare(outputs, writer))
            if partitions is not None:
                await self._run_app(sink, writer, partitions)
        except (StoreMisconfigured, TopicsMissing, TransactionsMissing) as error:
            self._life.fail(error)
        finally:
            if self._rules is not None:
                await self._rules.stop()
            await writer.close()
            await end_webhooks()
            await letters.close()
            await outputs.close()
            await self._store.close()
            self._complaints.remove()
        failure = self._life.failure
        if failure is not None:
            logger.error("the worker cannot go on: %s", failure, exc_info=_unexpected(failure))
            return FAULT
        logger.info("the worker has stopped")
        return DONE

    async def _run_app(self, sink: Sink, writer: KafkaWriter, partitions: int) -> None:
        app = StewardApp(self._options, self._life.fail)
        batch = self._settings.batch
        crew = Crew(
            new_partition=self._new_partition,
            store=self._store,
            log=ConsumerLog(app),
            sink=sink if partitions == 1 else FanOut([LetterSink(writer), sink]),
            clock=self._clock,
            random=random.random,
            on_batch=self._metrics.batch,
            on_fenced=self._metrics.fenced,
            on_caught_up=self._metrics.caught_up,
            on_fatal=self._life.fail,
            topic=self._options.events,
            rule_sets=self._rules.library if self._rules is not None else None,
            models=self._rules.library.models if self._rules is not None else None,
            partitions=partitions,
            limits=BatchLimits(batch.events_max, batch.bytes_max, 4 * batch.events_max, batch.commit_bytes_max),
            relay_entries_max=batch.outbox_entries_max,
            answer_ttl_s=self._settings.redis.answer_ttl_ms // 1000,
            wait_max_s=self._settings.redis.backoff_max_ms / 1000,
        )
        self._complaints.on_connection = lambda text: crew.log_outage.failed(LogUnavailable(text))
        app.on_contact = crew.log_outage.worked
        owner = crew.assignment()
        app.owner = owner
        if self._rules is not None:
            self._rules.start(owner.rulesets, writer)
        tasks = [asyncio.ensure_future(self._watch(owner, app))]
        tick_ms = self._settings.state.tick_ms
        if tick_ms:
            tasks.append(asyncio.ensure_future(ticker(owner.waiting, writer, self._clock, tick_ms).run()))
        end_snapshots = start_snapshots(self._settings, self._store, self._metrics.snapshot, self._redis_url)
        crash = await run_app(app, self._life.stopped)
        await end_snapshots()
        for task in tasks:
            task.cancel()
        if crash is not None:
            self._life.fail(crash)

    async def _watch(self, owner: Assignment, app: StewardApp) -> None:
        """Keep the gauges current."""
        while True:
            offsets, ends = owner.offsets(), app.end_offsets
            self._metrics.lag({p: max(0, ends[p] - offset) for p, offset in offsets.items() if p in ends})
            for shard, lane in owner.lanes.items():
                self._metrics.outbox(shard, lane.shard.relay.entries)
            await self._clock.sleep(GAUGE_EVERY_S)

    async def _prepare(self, sink: KafkaOutputs, writer: KafkaWriter) -> int:
        """Wait for the store and the broker; returns the input topic's number of partitions."""
        await self._life.wait_for(self._store.start, StoreUnavailable, "the state store")
        for note in self._store.notes:
            logger.info("%s", note)
        count = await self._life.wait_for(lambda: ensure_topics(self._options), LogUnavailable, "the event log")
        await self._life.wait_for(sink.start, SinkUnavailable, "the sink of outputs")
        await self._life.wait_for(writer.start, LogUnavailable, "the event log")
        if self._rules is not None:
            await self._life.wait_for(self._rules.library.start, StoreUnavailable, "the state store")
        return count


def _unexpected(error: BaseException) -> BaseException | None:
    """The error where its traceback says more than its message: one that is nobody's condition, but a fault of ours."""
    return None if type(error).__module__.startswith("engine.") else error
