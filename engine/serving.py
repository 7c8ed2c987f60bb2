"""`steward serve`, put together: the HTTP API over a shard of its own, or over the log of the workers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final, Protocol, TypeVar

from engine.adapters.backtest_process import BacktestProcess
from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import RedisServer
from engine.adapters.http_api import AddressUnusable, HttpServer, application
from engine.adapters.http_sync import SyncLimits
from engine.adapters.kafka_topics import TopicsMissing, ensure_topics
from engine.adapters.kafka_writer import KafkaWriter
from engine.adapters.redis_replies import RedisReplies
from engine.adapters.redis_store import RedisStore
from engine.adapters.redis_stream_sink import RedisStreamSink
from engine.bootstrap import (
    DONE,
    FAULT,
    Asked,
    add_webhooks,
    build_asked,
    build_kafka_options,
    build_store,
    loop_factory,
    start_snapshots,
    unix_ms,
)
from engine.config import Settings
from engine.config.show import environment
from engine.generator.stream import generate
from engine.lifetime import Lifetime
from engine.partitions import core_settings
from engine.ports.announce import Announcer
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.ports.sync import Decider, Taker
from engine.rule_watch import RuleWatch
from engine.service.batching import BatchLimits
from engine.service.degraded import DegradedDecider
from engine.service.desk import ShardDesk
from engine.service.given import GivenAnswers
from engine.service.machine import PartitionMachine
from engine.service.marks import NO_LOG
from engine.service.outage import Outage
from engine.service.relay import Relay
from engine.service.rule_sets import RuleLibrary
from engine.service.shard import Shard
from engine.service.sole import SoleOwner
from engine.service.standing import StandingReader
from engine.service.sync_log import LogDecider
from engine.service.ticks import ticker
from engine.telemetry.degraded import DegradedMetrics
from engine.telemetry.metrics import Metrics
from engine.telemetry.stages import timed
from engine.warm_up import EVENTS, keep_from_collector, warm_up

SHARD: Final = 0
DRAIN_SHARE: Final = 0.6  # of the time a stopping process has; the rest is for answering and closing
BACKTEST_GROUPS: Final = ("money", "state", "risk", "rewards")  # settings that what a backtest says depends on

T = TypeVar("T")
logger = logging.getLogger("steward.serve")


class _Startable(Taker, Protocol):
    def start(self) -> None:
        """Begin; returns at once."""

    async def drain(self, seconds: float) -> bool:
        """Take nothing more, finish what waits; whether all of it was done."""


def alone(settings: Settings) -> bool:
    """Whether `serve` owns the customers itself: no Kafka was named."""
    return not settings.kafka.url.startswith("kafka://")


def run_serve(settings: Settings, new_partition: Callable[[int], PartitionMachine], library: RuleLibrary) -> int:
    """Serve until told to stop (SIGTERM, SIGINT). Returns the exit code: 0 done, 1 a fault.

    `library`: the rule sets of the partitions; its archive becomes the settings' Redis.
    """
    if alone(settings):
        warm_up(new_partition(SHARD))
    else:
        new_partition(SHARD).decode(list(generate(EVENTS)))  # all that is used of it here
        keep_from_collector()
    with ExitStack() as servers:
        redis_url = settings.redis.url
        if redis_url == "embedded":
            directory = settings.redis.embedded_directory
            redis_url = servers.enter_context(RedisServer(directory=directory, append_only=bool(directory))).start().url
            logger.info("the embedded store is at %s", redis_url)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_Server(settings, redis_url, new_partition, library).run())


class _Server:
    """One run of `serve`: listen, wait for what it needs, decide, stop in time."""

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        new_partition: Callable[[int], PartitionMachine],
        library: RuleLibrary,
    ) -> None:
        self._settings = settings
        self._redis_url = redis_url
        self._new_partition = new_partition
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._rules = RuleWatch(settings, redis_url, library, self._metrics, self._clock)
        self._shards = 1
        self._life = Lifetime(
            self._clock,
            drain_ms=settings.worker.drain_ms,
            wait_max_ms=settings.redis.backoff_max_ms,
            logger=logger,
            farewell="the API did not stop in time and ends here; what was answered is stored",
        )

    async def run(self) -> int:
        """Serve until stopped or failed."""
        self._life.heed_signals()
        async with AsyncExitStack() as stack:
            store = build_store(self._settings, self._redis_url)
            stack.push_async_callback(store.close)
            build = self._sole_owner if alone(self._settings) else self._log_decider
            decider, announcer, prepare = build(store, stack)
            stack.push_async_callback(self._rules.stop)
            answering = self._answering(decider, store, stack)
            asked = build_asked(self._settings, store, self._rules.library, announcer, lambda: self._shards)
            app = self._application(answering, self._desk(store, announcer), asked)
            server = HttpServer(app, self._settings.http.address)
            try:
                await server.start()
                stack.push_async_callback(server.close)
                if await self._life.unless_stopped(self._prepare(store, prepare)):
                    decider.start()
                    if isinstance(answering, DegradedDecider):
                        answering.start()
                    if isinstance(decider, SoleOwner):
                        self._rules.start(lambda: decider.rulesets, decider)
                        self._rules.take_orders(decider)
                        self._start_ticks(decider, stack)
                        ends = start_snapshots(self._settings, store, self._metrics.snapshot, self._redis_url)
                        stack.push_async_callback(ends)
                    await self._life.stopped.wait()
            except (StoreMisconfigured, TopicsMissing, AddressUnusable) as error:
                self._life.fail(error)
            await server.close_doors()
            if not await decider.drain(self._settings.worker.drain_ms / 1000 * DRAIN_SHARE):
                logger.warning(
                    "not everything was finished in time; what was not committed was not answered either, or as not "
                    "stored: senders repeat it"
                )
        if self._life.failure is not None:
            logger.error("the API cannot go on: %s", self._life.failure)
            return FAULT
        logger.info("the API has stopped")
        return DONE

    def _start_ticks(self, owner: SoleOwner, stack: AsyncExitStack) -> None:
        tick_ms = self._settings.state.tick_ms
        if tick_ms:
            task = asyncio.ensure_future(ticker(lambda: owner.waiting, owner, self._clock, tick_ms).run())
            stack.callback(task.cancel)

    def _answering(self, decider: Taker, store: RedisStore, stack: AsyncExitStack) -> Decider:
        """What answers the calls: `decider`, unless told otherwise with answers made without the state behind it."""
        if not self._settings.http.degraded:
            return decider
        counts = DegradedMetrics(self._metrics.registry)
        ttl_s = self._settings.redis.answer_ttl_ms // 1000
        made = DegradedDecider(
            decider,
            StandingReader(store, self._rules.library, core_settings(self._settings), self._clock),
            GivenAnswers(store, self._clock, ttl_s=ttl_s, on_settled=counts.settled),
            clock=self._clock,
            on_answer=counts.answered,
        )
        stack.push_async_callback(made.stop)
        return made

    def _application(self, decider: Decider, desk: ShardDesk, asked: Asked) -> Any:
        http = self._settings.http
        limits = SyncLimits(http.deadline_ms / 1000, http.body_bytes_max)
        return application(decider, self._metrics, keys=http.api_keys, limits=limits, desk=desk, **asked._asdict())

    def _desk(self, store: RedisStore, announcer: Announcer) -> ShardDesk:
        http = self._settings.http
        backtester = BacktestProcess(
            environment(self._settings, BACKTEST_GROUPS),
            http.backtest_directory,
            seconds=http.backtest_ms / 1000,
            events_max=http.backtest_events_max,
        )
        return ShardDesk(
            store,
            self._rules.library,
            self._rules.registry,
            announcer,
            backtester,
            shards=lambda: self._shards,
            now_ms=unix_ms,
        )

    def _sole_owner(self, store: RedisStore, stack: AsyncExitStack) -> "_Built":
        streams = RedisStreamSink(self._redis_url, prefix=self._settings.redis.prefix)
        stack.push_async_callback(streams.close)
        sink, end_webhooks = add_webhooks(self._settings, self._redis_url, streams, streams, self._metrics.webhook)
        stack.push_async_callback(end_webhooks)
        batch = self._settings.batch
        store_outage = Outage("the state store", self._clock)
        relay = Relay(
            SHARD,
            sink,
            clock=self._clock,
            backoff=self._life.backoff(),
            outage=Outage("the sink of outputs", self._clock),
            on_fatal=self._on_fatal,
            queued_entries_max=batch.outbox_entries_max,
        )
        shard = Shard(
            SHARD,
            timed(self._new_partition, self._metrics)(SHARD),
            store,
            relay,
            clock=self._clock,
            backoff=self._life.backoff(),
            outage=store_outage,
            source=lambda offset: {"journal": self._settings.redis.prefix, "shard": SHARD, "offset": offset},
            rule_sets=self._rules.library,
            models=self._rules.library.models,
            partitions=NO_LOG,
            answer_ttl_s=self._settings.redis.answer_ttl_ms // 1000,
            commit_bytes_max=batch.commit_bytes_max,
        )
        owner = SoleOwner(
            shard,
            lambda: store.answer(SHARD, b"probe"),
            limits=BatchLimits(batch.events_max, batch.bytes_max, self._settings.http.queued_max),
            clock=self._clock,
            store_outage=store_outage,
            on_batch=self._metrics.batch,
            on_fatal=self._on_fatal,
            hasty=self._settings.http.degraded,
            kept=store,
        )
        return owner, owner, _nothing

    def _log_decider(self, store: RedisStore, stack: AsyncExitStack) -> "_Built":
        options = build_kafka_options(self._settings)
        writer, replies = KafkaWriter(options), RedisReplies(self._redis_url)
        stack.push_async_callback(replies.close)
        stack.push_async_callback(writer.close)
        decider = LogDecider(
            self._new_partition(SHARD),
            writer,
            replies,
            store.answer,
            clock=self._clock,
            backoff=self._life.backoff(),
            outage=Outage("the line of replies", self._clock),
            on_fatal=self._on_fatal,
            hasty=self._settings.http.degraded,
        )

        async def prepare() -> None:
            self._shards = await self._life.wait_for(lambda: ensure_topics(options), LogUnavailable, "the event log")
            await self._life.wait_for(writer.start, LogUnavailable, "the event log")

        return decider, writer, prepare

    async def _prepare(self, store: RedisStore, prepare: Callable[[], Awaitable[None]]) -> bool:
        await self._life.wait_for(store.start, StoreUnavailable, "the state store")
        for note in store.notes:
            logger.info("%s", note)
        await prepare()
        if alone(self._settings):
            await self._life.wait_for(self._rules.library.start, StoreUnavailable, "the state store")
        return True

    def _on_fatal(self, error: BaseException) -> None:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
        self._life.fail(error)


_Built = tuple[_Startable, Announcer, Callable[[], Awaitable[None]]]
"""What decides, what control events go through, and what has to be waited for besides the store."""


async def _nothing() -> None:
    """Nothing to wait for besides the store."""
