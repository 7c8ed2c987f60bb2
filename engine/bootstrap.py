"""The only place that knows which adapter stands behind which port: settings in, running parts out."""

import asyncio
import logging
import os
import random
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final, TypeVar

from engine.adapters.clocks import SystemClock
from engine.adapters.embedded import EmbeddedKafka, RedisServer
from engine.adapters.faust_app import StewardApp, run_app
from engine.adapters.faust_consumer import ConsumerLog
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_sink import KafkaSink
from engine.adapters.kafka_topics import TopicsMissing, ensure_topics
from engine.adapters.redis_client import RedisOptions
from engine.adapters.redis_store import RedisStore
from engine.adapters.worker_slot import WorkerSlot
from engine.config import Settings
from engine.ports.log import LogUnavailable
from engine.ports.sink import SinkUnavailable
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits
from engine.service.crew import Crew
from engine.service.machine import PartitionMachine
from engine.service.outage import Outage, until_it_works

DONE: Final = 0
FAULT: Final = 1
DRAIN_SHARE: Final = 0.6  # of the time a stopping worker has; the rest is for leaving the group and closing

T = TypeVar("T")
NewPartition = Callable[[int], PartitionMachine]

logger = logging.getLogger("steward.worker")


def build_store(settings: Settings, url: str | None = None) -> RedisStore:
    """The state store of `settings`, not yet started; `url` where the embedded server's is known."""
    redis = settings.redis
    options = RedisOptions(
        connect_timeout_seconds=redis.connect_timeout_ms / 1000, reply_timeout_seconds=redis.command_timeout_ms / 1000
    )
    return RedisStore(url or redis.url, prefix=redis.prefix, options=options)


def build_kafka_options(settings: Settings, bootstrap: str | None = None) -> KafkaOptions:
    """How to talk to the Kafka of `settings`; `bootstrap` where the embedded broker's is known."""
    kafka, topics = settings.kafka, settings.topics
    outputs = {
        "decision": topics.decisions,
        "alert": topics.alerts,
        "reward": topics.rewards,
        "offer": topics.offers,
        "lifecycle": topics.lifecycle,
        "dead_letter": topics.dead_letters,
    }
    drain_s = settings.worker.drain_ms / 1000 * DRAIN_SHARE
    return KafkaOptions(
        bootstrap=bootstrap or kafka.url.removeprefix("kafka://"),
        group=kafka.group,
        events=topics.events,
        outputs=outputs,
        instance_id=kafka.instance_id or None,
        partitions=kafka.partitions,
        replication=kafka.replication,
        create=topics.create,
        session_timeout_s=kafka.session_timeout_ms / 1000,
        heartbeat_s=kafka.heartbeat_ms / 1000,
        rebalance_timeout_s=kafka.rebalance_timeout_ms / 1000,
        request_timeout_s=kafka.request_timeout_ms / 1000,
        fetch_wait_ms=kafka.fetch_wait_ms,
        fetch_max_bytes=kafka.fetch_max_bytes,
        revoke_s=min(drain_s, kafka.rebalance_timeout_ms / 1000 / 2),
        drain_s=drain_s,
    )


def run_worker(settings: Settings, new_partition: NewPartition) -> int:
    """Run a worker until it is told to stop (SIGTERM, SIGINT). Returns the exit code: 0 done, 1 a fault."""
    with ExitStack() as servers:
        redis_url = bootstrap = None
        if settings.redis.url == "embedded":
            directory = settings.redis.embedded_directory
            redis_url = servers.enter_context(RedisServer(directory=directory, append_only=bool(directory))).start().url
        if settings.kafka.url == "embedded":
            bootstrap = servers.enter_context(EmbeddedKafka()).start().bootstrap
        options = build_kafka_options(settings, bootstrap)
        slot = servers.enter_context(WorkerSlot(options.group))
        options = replace(options, instance_id=options.instance_id or slot.name)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_Worker(settings, options, build_store(settings, redis_url), new_partition).run())


class _Worker:
    """One run of a worker: wait for what it needs, run the app, stop in time."""

    def __init__(
        self, settings: Settings, options: KafkaOptions, store: RedisStore, new_partition: NewPartition
    ) -> None:
        self._settings = settings
        self._options = options
        self._store = store
        self._new_partition = new_partition
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> int:
        """Run until stopped or failed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        sink = KafkaSink(self._options)
        try:
            partitions = await self._unless_stopped(self._prepare(sink))
            if partitions is not None:
                await self._run_app(sink, partitions)
        except (StoreMisconfigured, TopicsMissing) as error:
            self._failure = error
        finally:
            await sink.close()
            await self._store.close()
        if self._failure is not None:
            logger.error("the worker cannot go on: %s", self._failure)
            return FAULT
        logger.info("the worker has stopped")
        return DONE

    async def _run_app(self, sink: KafkaSink, partitions: int) -> None:
        app = StewardApp(self._options)
        batch = self._settings.batch
        crew = Crew(
            new_partition=self._new_partition,
            store=self._store,
            log=ConsumerLog(app),
            sink=sink,
            clock=self._clock,
            random=random.random,
            on_fatal=self._on_fatal,
            topic=self._options.events,
            partitions=partitions,
            limits=BatchLimits(batch.events_max, batch.bytes_max, 4 * batch.events_max),
            relay_entries_max=batch.outbox_entries_max,
            answer_ttl_s=self._settings.redis.answer_ttl_ms // 1000,
            wait_max_s=self._settings.redis.backoff_max_ms / 1000,
        )
        app.owner = crew.assignment()
        crash = await run_app(app, self._stop)
        self._failure = self._failure or crash

    async def _prepare(self, sink: KafkaSink) -> int:
        """Wait for the store and the broker; returns the input topic's number of partitions."""
        await self._wait_for(self._store.start, StoreUnavailable, "the state store")
        for note in self._store.notes:
            logger.info("%s", note)
        count = await self._wait_for(lambda: ensure_topics(self._options), LogUnavailable, "the event log")
        await self._wait_for(sink.start, SinkUnavailable, "the sink of outputs")
        return count

    async def _wait_for(self, call: Callable[[], Awaitable[T]], error: type[Exception], what: str) -> T:
        backoff = Backoff(random.random, max_s=self._settings.redis.backoff_max_ms / 1000)
        return await until_it_works(call, error, Outage(what, self._clock), backoff, self._clock)

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, or `None` where a signal came first."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    def _on_fatal(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stop.set()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            return
        logger.info("stopping: finishing what has begun")
        self._stop.set()
        # Whatever hangs, the process is gone in time: what is not committed will be read again.
        guard = threading.Timer(self._settings.worker.drain_ms / 1000, _give_up)
        guard.daemon = True
        guard.start()


def _give_up() -> None:
    logger.error("the worker did not stop in time and ends here; the next one goes on from the last commit")
    logging.shutdown()
    os._exit(FAULT)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
