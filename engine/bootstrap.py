"""The only place that knows which adapter stands behind which port: settings in, running parts out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from engine.adapters.clocks import SystemClock
from engine.adapters.fan_out import FanOut
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_writer import KafkaWriter
from engine.adapters.redis_client import RedisOptions
from engine.adapters.redis_copies import RedisCopies
from engine.adapters.redis_generation import RedisGeneration
from engine.adapters.redis_store import RedisStore
from engine.adapters.snapshot_files import SnapshotDirectory
from engine.adapters.webhook_courier import OnResult, Patience
from engine.adapters.webhook_sink import WebhookOptions, WebhookSink
from engine.config import Settings
from engine.partitions import core_settings
from engine.ports.announce import Announcer
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink
from engine.ports.store import StateStore
from engine.service.campaigns.results import StoredResults
from engine.service.customers.desk import StoredCustomers
from engine.service.rule_sets import RuleLibrary
from engine.service.snapshots import Rounds

ONLY_SHARD: Final = 0  # of a process that owns all customers
DONE: Final = 0
FAULT: Final = 1
DRAIN_SHARE: Final = 0.6  # of the time a stopping worker has; the rest is for leaving the group and closing


def build_store(settings: Settings, url: str | None = None) -> RedisStore:
    """The state store of `settings`, not yet started; `url` where the embedded server's is known."""
    redis = settings.redis
    return RedisStore(url or redis.url, prefix=redis.prefix, options=build_redis_options(settings))


def build_redis_options(settings: Settings) -> RedisOptions:
    """How long to wait for the Redis of `settings`."""
    redis = settings.redis
    return RedisOptions(
        connect_timeout_seconds=redis.connect_timeout_ms / 1000, reply_timeout_seconds=redis.command_timeout_ms / 1000
    )


class Asked(NamedTuple):
    """What answers about customers, and about campaigns."""

    customers: StoredCustomers
    campaigns: StoredResults


def build_asked(
    settings: Settings,
    store: StateStore,
    library: RuleLibrary,
    announcer: Announcer | None,
    shards: Callable[[], int],
) -> Asked:
    """What answers out of a store; erasures go through `announcer`, which only readers are without."""

    async def tell(customer_id: str, record: bytes) -> None:
        if announcer is None:
            raise LogUnavailable("there is no log to write to")
        if isinstance(announcer, KafkaWriter):  # under their key, as their other events
            await announcer.write(customer_id.encode(), record, ())
        else:
            await announcer.announce(ONLY_SHARD, record)

    core = core_settings(settings)
    customers = StoredCustomers(store, library, core, settings.money.base_currency, shards, tell, unix_ms)
    return Asked(customers, StoredResults(store, library, core, shards))


def build_copies(settings: Settings, url: str | None = None) -> RedisCopies:
    """What copies the shards of `settings`; `url` where the embedded server's is known."""
    return RedisCopies(url or settings.redis.url, prefix=settings.redis.prefix, options=build_redis_options(settings))


def build_generation(settings: Settings, prefix: str) -> RedisGeneration:
    """All that the store of `settings` holds under a key prefix."""
    return RedisGeneration(settings.redis.url, prefix=prefix, options=build_redis_options(settings))


def start_snapshots(
    settings: Settings, store: RedisStore, on_taken: Callable[[int, float], None], url: str
) -> Callable[[], Awaitable[None]]:
    """Begin to take the snapshots that `settings` ask for, and return what ends that.

    `on_taken` is told when each began (milliseconds since 1970), and how many seconds it took.
    """
    wanted = settings.snapshots
    if wanted.directory is None or not wanted.every_ms:
        return _nothing
    copies, shelf = build_copies(settings, url), SnapshotDirectory(wanted.directory)
    rounds = Rounds(
        store,
        copies,
        shelf,
        SystemClock(),
        every_s=wanted.every_ms / 1000,
        keep=wanted.keep,
        now_ms=unix_ms,
        on_taken=lambda manifest: on_taken(manifest.created_ms, manifest.seconds),
    )
    task = asyncio.get_running_loop().create_task(rounds.run())

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await copies.close()

    return end


def unix_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


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
        transactions=kafka.transactions,
        relay=topics.relay,
    )


def add_webhooks(
    settings: Settings, redis_url: str, sink: Sink, letters: Sink, on_result: OnResult
) -> tuple[Sink, Callable[[], Awaitable[None]]]:
    """`sink`, with the webhook endpoints of `settings` beside it, and what ends those.

    `letters` takes dead letters about what an endpoint does not get, at least once each.
    """
    webhooks = settings.webhooks
    if not webhooks.endpoints:
        return sink, _nothing
    patience = Patience(webhooks.retry_first_ms / 1000, webhooks.retry_max_ms / 1000, webhooks.give_up_ms / 1000)
    beside = WebhookSink(
        webhooks.endpoints,
        redis_url,
        prefix=settings.redis.prefix,
        letters=letters,
        options=WebhookOptions(webhooks.queue_max, webhooks.timeout_ms / 1000, patience),
        redis=build_redis_options(settings),
        on_result=on_result,
    )
    return FanOut([beside, sink]), beside.close


async def _nothing() -> None:
    """Nothing to end."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
