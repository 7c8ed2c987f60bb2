"""What every item works with: shared servers, a deployment of its own, workers, the oracle's verdict."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiokafka
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_keys import Keys
from engine.generator import Settings as Stream
from engine.generator import generate
from load_tests.faults import oracle, reading
from load_tests.faults.nursery import Life, Nursery
from load_tests.faults.oracle import Found, OutputKey, Record, Verdict
from load_tests.faults.registry import Result
from tests.support.deployment import Deployment
from tests.support.kafka import ApacheKafka

HERE: Final = Path(__file__).resolve().parent
LOCAL_RULES: Final = HERE / "rules"
PRODUCE_CHUNK: Final = 20_000
POLL_S: Final = 0.005
QUICK_GROUP: Final = {
    "STEWARD_KAFKA_SESSION_TIMEOUT": "3s",
    "STEWARD_KAFKA_HEARTBEAT": "500ms",
    "STEWARD_KAFKA_REBALANCE_TIMEOUT": "5s",
}
"""Settings with which a group notices within seconds that a member is gone."""


def stream(events: int, **settings: Any) -> list[bytes]:
    """Generated events without their newlines."""
    return [line.rstrip() for line in generate(events, Stream(**settings))]


class Stage(Deployment):
    """One item's deployment; its workers are forked, and what it holds can be judged.

    `clients` look at the Redis servers; by default at the one of `redis`.
    """

    def __init__(
        self, bench: "Bench", name: str, kafka: ApacheKafka, url: str, *, partitions: int = 1, **environment: str
    ) -> None:
        super().__init__(name, bench.directory, kafka.url, url, partitions=partitions, **environment)
        self._bench = bench
        self._lives: list[Life] = []
        self.clients: list[Redis] = [] if url.startswith("redis-cluster") else [reading.connect(url)]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for life in self._lives:
            life.kill()
        for client in self.clients:
            client.close()

    def fork(self, **faults: Any) -> Life:
        """Begin a worker's life."""
        log = self._bench.directory / f"{self.name}-life-{len(self._lives)}.log"
        self._lives.append(self._bench.nursery.bear(self.environment, log, faults))
        return self._lives[-1]

    @property
    def logs(self) -> str:
        """What all workers wrote."""
        return "\n".join(life.log for life in self._lives)

    async def pour(self, values: Iterable[bytes | None]) -> None:
        """Produce in pieces, so that a million events do not wait in memory twice."""
        piece: list[bytes | None] = []
        for value in values:
            piece.append(value)
            if len(piece) == PRODUCE_CHUNK:
                await self.produce(piece)
                piece = []
        if piece:
            await self.produce(piece)

    def offsets(self) -> dict[int, int]:
        """The stored offset of each shard; -1 where there is none, nothing while the store is away."""
        keys, prefix = Keys(self.settings.redis.prefix), self.partitions
        found: dict[int, int] = {}
        for shard in prefix:
            for client in self.clients:
                try:
                    stored = client.hget(keys.base(shard) + b"H", "offset")
                except (RedisError, OSError):
                    continue
                found[shard] = max(found.get(shard, -1), int(stored) if stored is not None else -1)
        return found

    def total(self) -> int:
        """Offsets over all shards."""
        return sum(max(0, offset) for offset in self.offsets().values())

    async def passes(self, total: int, seconds: float = 120.0, life: Life | None = None) -> float:
        """Wait until the stored offsets add up to more than `total`; how many seconds it took."""
        began = time.monotonic()
        while self.total() <= total:
            if life is not None and life.code is not None:
                raise RuntimeError(f"the worker ended with {life.code}:\n{life.log[-4000:]}")
            if time.monotonic() > began + seconds:
                raise TimeoutError(f"stuck at {self.offsets()}, {total} wanted:\n{self.logs[-6000:]}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def ends(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> float:
        """Wait for a condition; how many seconds it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() > began + seconds:
                raise TimeoutError(f"{what} did not happen within {seconds} s:\n{self.logs[-6000:]}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def records(self) -> dict[int, list[Record]]:
        """The committed records of the input topic, by partition."""
        found: dict[int, list[Record]] = {partition: [] for partition in self.partitions}
        async for record in reading.read(self.bootstrap, [self.settings.topics.events], self.partitions):
            found[record.partition].append(Record(record.offset, record.value))
        return found

    async def ends_of_log(self) -> dict[int, int]:
        """Where the input topic ends, by partition."""
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            tps = [aiokafka.TopicPartition(self.settings.topics.events, partition) for partition in self.partitions]
            return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}
        finally:
            await consumer.stop()

    async def found(self, *, state: bool = True) -> Found:
        """What there is now."""
        topics = self.settings.topics
        names = [topics.decisions, topics.alerts, topics.rewards, topics.offers, topics.lifecycle, topics.dead_letters]
        outputs: list[tuple[OutputKey, bytes]] = []
        async for record in reading.read(self.bootstrap, names, self.partitions):
            event = reading.decode_event(record.value)
            key = OutputKey(event.type.removeprefix("steward."), event.id)
            outputs.append((key, oracle.digest(bytes(event.data))))
        prefix = self.settings.redis.prefix
        held = {s: reading.state(self.clients, prefix, s) for s in self.partitions} if state else {}
        return Found(self.offsets(), held, outputs)

    async def settle(self, seconds: float = 180.0) -> dict[int, list[Record]]:
        """Wait until every record is processed and every output sent; the records."""
        end = time.monotonic() + seconds
        keys = Keys(self.settings.redis.prefix)
        while True:
            records = await self.records()
            while time.monotonic() < end:
                offsets = self.offsets()
                reached = all(offsets.get(s, -1) > r[-1].offset for s, r in records.items() if r)
                if reached and not any(
                    self._unsent(client, keys.base(s) + b"O") for s in records for client in self.clients
                ):
                    break
                await asyncio.sleep(0.05)
            else:
                raise TimeoutError(f"not settled within {seconds} s: {self.offsets()}\n{self.logs[-6000:]}")
            again = await self.records()
            if {s: len(r) for s, r in again.items()} == {s: len(r) for s, r in records.items()}:
                return records

    @staticmethod
    def _unsent(client: Redis, outbox: bytes) -> int:
        try:
            return int(client.llen(outbox))
        except ResponseError:  # another node of the cluster holds the shard
            return 0

    async def judge(self, result: Result, *, seconds: float = 180.0) -> Verdict:
        """Settle, compare with the oracle, and add what differs to `result`."""
        await self.settle(seconds)
        while True:  # ticks of a quiet shard may come in between
            before = self.offsets()
            found = await self.found()
            if before == found.offsets == self.offsets():
                break
        everything = await self.records()
        records = {s: [r for r in values if r.offset < found.offsets[s]] for s, values in everything.items()}
        settings = self.settings
        expected = {
            shard: await asyncio.to_thread(oracle.replay, settings, shard, values)
            for shard, values in records.items()
            if values
        }
        verdict = oracle.judge(expected, found)
        result.lost += verdict.lost
        result.doubled += verdict.doubled
        result.wrong += verdict.wrong
        result.figures["events"] = sum(map(len, records.values()))
        result.figures["outputs"] = verdict.outputs
        return verdict


class Bench:
    """The servers that items share, and how much is to be done.

    Attributes:
        quick: the short version.
        scale: multiplies the counts of the long one.
    """

    def __init__(self, directory: Path, *, quick: bool, scale: float = 1.0) -> None:
        self.directory = directory
        self.quick = quick
        self.scale = scale
        self._stack = ExitStack()
        self._stages = 0

    def __enter__(self) -> Self:
        self.nursery = self._stack.enter_context(Nursery())
        self.kafka = self._stack.enter_context(ApacheKafka()).start()
        self.redis = self._stack.enter_context(RedisServer(installed_redis_binary(), append_only=True)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def count(self, quick: int, full: int) -> int:
        """How often: `quick` in the short version, `full` times the scale in the long one."""
        return quick if self.quick else max(quick, round(full * self.scale))

    @asynccontextmanager
    async def stage(
        self,
        name: str,
        *,
        kafka: ApacheKafka | None = None,
        url: str = "",
        partitions: int = 1,
        **environment: str,
    ) -> AsyncIterator[Stage]:
        """A deployment with its topics made. With several partitions it runs under the local rules."""
        self._stages += 1
        if partitions > 1:
            environment.setdefault("STEWARD_RULES", str(LOCAL_RULES))
        where = url or self.redis.url
        name = f"{name}-{self._stages}"
        with Stage(self, name, kafka or self.kafka, where, partitions=partitions, **environment) as stage:
            await stage.create_topics()
            yield stage


def spread(values: Sequence[float]) -> str:
    """The median and the greatest of some seconds, for the table."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.1f} s, at most {ordered[-1]:.1f} s" if ordered else "-"
