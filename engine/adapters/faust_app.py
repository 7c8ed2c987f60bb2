"""The Faust app of the worker: Faust's life cycle around a consumer that delivers batches."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar, cast

import faust
from faust.app.base import BootStrategy
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types.transports import ConsumerT, TransportT

from engine.adapters.faust_consumer import BatchConsumer
from engine.adapters.kafka_options import KafkaOptions
from engine.ports.runtime import PartitionOwner

logger = logging.getLogger("steward.kafka")


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with the batch consumer."""

    Consumer: ClassVar[type[ConsumerT]] = BatchConsumer


class ConsumerOnly(BootStrategy):
    """What starts with the app: no web server, and no producer, for outputs have a sink of their own."""

    enable_kafka_producer = False
    enable_web = False


class NoTables(TableManager):
    """Faust's tables, of which there are none here; it would wait for a second until they are declared."""

    async def on_start(self) -> None:
        """Start what carries assignments to the consumer."""
        await self._update_channels()
        await self.recovery.start()


class StewardApp(faust.App):
    """A Faust app without agents, tables or a web server: it assigns partitions to `owner` and delivers records.

    Attributes:
        owner: set before the app starts.
        options: how to talk to Kafka.
        on_contact: called when records arrive.
        on_fatal: told of what no waiting cures; whoever is told stops the app.
        end_offsets: the end of each partition as last seen, for the lag.
    """

    BootStrategy = ConsumerOnly

    def __init__(self, options: KafkaOptions, on_fatal: Callable[[BaseException], None], **kwargs: Any) -> None:
        self.options = options
        self.on_fatal = on_fatal
        self.on_contact: Callable[[], None] = lambda: None
        self.owner: PartitionOwner
        self.end_offsets: dict[int, int] = {}
        super().__init__(
            options.group,
            broker=[f"kafka://{server}" for server in options.bootstrap.split(",")],
            store="memory://",
            TableManager=NoTables,
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            broker_session_timeout=options.session_timeout_s,
            broker_heartbeat_interval=options.heartbeat_s,
            broker_request_timeout=max(options.request_timeout_s, options.session_timeout_s),
            broker_rebalance_timeout=options.rebalance_timeout_s,
            broker_commit_interval=options.commit_every_s,
            consumer_auto_offset_reset="none",
            stream_wait_empty=True,
            worker_redirect_stdouts=False,
            **kwargs,
        )

    @property
    def batch_consumer(self) -> BatchConsumer:
        """The consumer, as what it is."""
        return cast(BatchConsumer, self.consumer)

    async def on_start(self) -> None:
        """Subscribe to the input topic; Faust's conductor does so once everything has started."""
        await super().on_start()
        self.topics.add(self.topic(self.options.events))

    def _new_transport(self) -> TransportT:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust makes a data directory in the working directory; nothing here would use it."""


class AppWorker(faust.Worker):
    """Runs the app on a loop that is already running, until `stop` or a crash; signals are the caller's."""

    def __init__(self, app: StewardApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
        self.spinner = None

    def install_signal_handlers(self) -> None:
        """Handled by the process's main function, also before and after the app runs."""

    def _setproctitle(self, info: str, *, ident: str = "steward worker") -> None:
        """Leave the process its name: scripts look for it."""


async def run_app(app: StewardApp, stop: asyncio.Event) -> BaseException | None:
    """Run the app until `stop` is set or it crashes; returns what crashed it."""
    logging.getLogger("mode.timers").setLevel(logging.ERROR)  # a commit that waits for the broker is late: no news
    for name in ("faust_consumer", "faust_thread"):  # mode logs a service's life under its module's name
        logging.getLogger(f"engine.adapters.{name}").setLevel(logging.WARNING)
    # Faust warns where a rebalance begins before it has done with the last one: its sensors lose count.
    logging.getLogger("engine.adapters.faust_app").setLevel(logging.ERROR)
    worker = AppWorker(app, asyncio.get_running_loop())
    running = asyncio.ensure_future(worker.start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await worker.stop()
    await asyncio.gather(running, return_exceptions=True)
    reason: BaseException | None = worker.crash_reason or app.crash_reason
    return reason
