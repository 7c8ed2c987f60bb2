"""A deployment for integration tests: real Kafka, real Redis, worker processes that can be killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka
import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from engine.adapters.redis_store import RedisStore
from engine.config import Settings, load
from engine.ports.store import Head, StoreUnavailable

ROOT = Path(__file__).resolve().parents[2]
COUNTING = (sys.executable, "-m", "tests.support.counting")
STEWARD = (sys.executable, "-m", "engine.cli", "worker")


class Sent(NamedTuple):
    """A CloudEvent as it was read back."""

    topic: str
    partition: int
    key: bytes | None
    id: str
    event: dict[str, Any]


class Worker:
    """One worker process and what it wrote to its log."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.path = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file, stdout=file)

    @property
    def log(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> tuple[int, float]:
        """Ask it to stop; exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - began

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until the log holds `text`."""
        end = time.monotonic() + seconds
        while text not in self.log:
            assert self.process.poll() is None, f"the worker ended:\n{self.log}"
            assert time.monotonic() < end, f"no {text!r} within {seconds} s:\n{self.log}"
            time.sleep(0.02)


class Deployment:
    """Topics, group and key prefix of its own on servers that may be shared; ends its workers when left."""

    def __init__(
        self, name: str, directory: Path, kafka: str, redis: str, *, partitions: int = 2, **environment: str
    ) -> None:
        self.name = name
        self.partitions = range(partitions)
        self.bootstrap = kafka.removeprefix("kafka://")
        self._directory = directory
        self._workers: list[Worker] = []
        topics = ("EVENTS", "DECISIONS", "ALERTS", "REWARDS", "OFFERS", "LIFECYCLE", "DEAD_LETTERS", "RELAY")
        own = {f"STEWARD_TOPICS_{topic}": f"{name}.{topic.lower().replace('_', '-')}" for topic in topics}
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("STEWARD_")},
            "STEWARD_KAFKA": kafka,
            "STEWARD_REDIS": redis,
            "STEWARD_KAFKA_GROUP": name,
            "STEWARD_KAFKA_PARTITIONS": str(partitions),
            "STEWARD_REDIS_PREFIX": name,
            "STEWARD_WORKER_METRICS": "off",
            **own,
            **environment,
        }

    @property
    def settings(self) -> Settings:
        return load(self.environment)

    def __enter__(self) -> "Deployment":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.kill()

    def start(self, command: Sequence[str] = COUNTING) -> Worker:
        """Start a worker; returns at once."""
        log = self._directory / f"{self.name}-{len(self._workers)}.log"
        worker = Worker(command, self.environment, log)
        self._workers.append(worker)
        return worker

    async def create_topics(self) -> None:
        """Create the topics, so that events can be there before the first worker."""
        topics = self.settings.topics
        names = [topics.events, topics.decisions, topics.alerts, topics.rewards, topics.offers, topics.lifecycle]
        await self.admin(
            lambda admin: admin.create_topics(
                [NewTopic(name, len(self.partitions), 1) for name in [*names, topics.dead_letters]]
            )
        )

    async def admin(self, call: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await call(admin)
        finally:
            await admin.close()

    async def forget_events(self, partition: int, before: int) -> None:
        """Delete the events of a partition below an offset, as retention does."""
        tp = aiokafka.TopicPartition(self.settings.topics.events, partition)
        await self.admin(lambda admin: admin.delete_records({tp: RecordsToDelete(before_offset=before)}))

    async def produce(self, values: Iterable[bytes | None], headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Send events keyed by their customer, or without a key where they have none."""
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", linger_ms=2, max_batch_size=1 << 18
        )
        await producer.start()
        try:
            topic = self.settings.topics.events
            key = b"none"
            waits = [
                await producer.send(topic, value=value, key=customer(value) or key, headers=list(headers))
                for value in values
            ]
            await asyncio.gather(*waits)
        finally:
            await producer.stop()

    async def events(self) -> dict[int, list[bytes | None]]:
        """The values on the input topic, by partition."""
        found: dict[int, list[bytes | None]] = {partition: [] for partition in self.partitions}
        async for record in self._read([self.settings.topics.events]):
            found[record.partition].append(record.value)
        return found

    async def outputs(self, *, ids: int, seconds: float = 60.0) -> list[Sent]:
        """Read all output topics, committed records only, until there are `ids` different ids and nothing more."""
        topics = self.settings.topics
        names = [topics.decisions, topics.alerts, topics.rewards, topics.offers, topics.lifecycle, topics.dead_letters]
        end = time.monotonic() + seconds
        while True:
            found = [_sent(record) async for record in self._read(names)]
            if len({sent.id for sent in found}) >= ids or time.monotonic() > end:
                return found
            await asyncio.sleep(0.2)

    async def _read(self, names: Sequence[str]) -> Any:
        """Every record that is on the topics now."""
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            tps = [aiokafka.TopicPartition(name, partition) for name in names for partition in self.partitions]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            quiet = 0
            while quiet < 3:
                batches = await consumer.getmany(timeout_ms=150)
                quiet = 0 if batches else quiet + 1
                for records in batches.values():
                    for record in records:
                        yield record
        finally:
            await consumer.stop()

    async def heads(self) -> dict[int, Head]:
        """What the store holds of each shard."""
        async with self._store() as store:
            return {shard: await store.open(shard) for shard in self.partitions}

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[RedisStore]:
        settings = self.settings
        store = RedisStore(settings.redis.url, prefix=settings.redis.prefix)
        try:
            yield store
        finally:
            await store.close()

    async def until(self, condition: Callable[[dict[int, Head]], bool], seconds: float = 60.0) -> dict[int, Head]:
        """Wait until the store's heads meet `condition`."""
        end = time.monotonic() + seconds
        async with self._store() as store:
            while True:
                with suppress(StoreUnavailable):
                    heads = {shard: await store.open(shard) for shard in self.partitions}
                    if condition(heads):
                        return heads
                assert time.monotonic() < end, "the store never got there:\n" + "\n".join(w.log for w in self._workers)
                await asyncio.sleep(0.02)


def _sent(record: Any) -> Sent:
    event = msgspec.json.decode(record.value)
    return Sent(record.topic, record.partition, record.key, event["id"], event)


class _Keyed(msgspec.Struct):
    customer_id: str


_KEYED = msgspec.json.Decoder(_Keyed)


def customer(value: bytes | None) -> bytes | None:
    try:
        return _KEYED.decode(value or b"").customer_id.encode()
    except msgspec.MsgspecError:
        return None
