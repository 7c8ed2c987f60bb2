"""One process's connections to the servers: the ports, each call a request that may go wrong."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from engine.adapters.kafka_transactions import KafkaTransactions, _Line
from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.adapters.relay_position import RelayPosition, decode
from engine.ports.log import LogBounds, LogUnavailable
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable
from engine.ports.store import Commit, Delivery, Head, Place, StoreUnavailable
from tests.service.simulator.faults import TIMEOUT_S, Process
from tests.service.simulator.servers import Broker, Sent, Store


class StoreConnection:
    """`engine.ports.store.StateStore`."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process

    async def start(self) -> None:
        """There is nothing to set up."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def open(self, shard: int) -> Head:
        return await self._process.request(lambda: self._store.open(shard), StoreUnavailable)

    async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        return await self._process.request(lambda: self._store.load(shard, keys, at), StoreUnavailable)

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        return await self._process.request(lambda: self._store.answer(shard, key), StoreUnavailable)

    async def commit(self, commit: Commit) -> None:
        await self._process.request(lambda: self._store.commit(commit), StoreUnavailable)

    async def deliver(self, delivery: Delivery) -> int:
        return await self._process.request(lambda: self._store.deliver(delivery), StoreUnavailable)

    async def layout(self) -> bytes | None:
        return await self._process.request(self._store.layout, StoreUnavailable)

    async def extend_layout(self, before: bytes | None, after: bytes) -> bool:
        return await self._process.request(lambda: self._store.extend_layout(before, after), StoreUnavailable)


class LogConnection(MemoryLog):
    """`engine.ports.log.EventLog` with a position of its own on partitions that all processes share."""

    def __init__(self, partitions: dict[int, list[MemoryRecord]], process: Process) -> None:
        super().__init__()
        self.partitions = partitions
        self._process = process

    async def bounds(self, partition: int) -> LogBounds:
        return await self._process.request(lambda: super(LogConnection, self).bounds(partition), LogUnavailable)

    async def seek(self, partition: int, offset: int) -> None:
        await self._process.gate()
        if self._process.disturb():
            raise LogUnavailable("simulated")
        await super().seek(partition, offset)  # the position is in the process: no request


class PlainSink(Sink):
    """At least once: some of what it is given arrives, or all of it, before it fails."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        sent = [Sent(shard, first + i, output) for i, output in enumerate(outputs)]
        cut = self._process.draw.randrange(len(sent) + 1)
        for part in (sent[:cut], sent[cut:]):
            if part:
                await self._process.request(lambda part=part: self._broker.append(part), SinkUnavailable)  # type: ignore[misc]


class TransactionalSink(KafkaTransactions):
    """The relay's transactions with a broker of the simulation in the place of Kafka's clients."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._options = SimpleNamespace(bootstrap="the simulation")  # type: ignore[assignment]
        self._lines: dict[int, Any] = {}
        self._broker = broker
        self._process = process

    def _line(self, shard: int) -> "SimulatedLine":
        return SimulatedLine(self._broker, self._process, shard)


class SimulatedLine(_Line):
    """One shard's transactional id."""

    def __init__(self, broker: Broker, process: Process, shard: int) -> None:
        self.position = RelayPosition()
        self._shard = shard
        self._limit_s = 2 * TIMEOUT_S
        self._broker = broker
        self._process = process
        self._epoch = -1

    async def start(self) -> None:
        self._epoch = await self._process.request(lambda: self._broker.take_over(self._shard), TimeoutError)
        records = await self._process.request(lambda: self._broker.read(self._shard), TimeoutError)
        self.position = RelayPosition([decode(record) for record in records])

    def _transaction(self, outputs: Sequence[SinkOutput], record: bytes) -> Any:
        return self._both([Sent(self._shard, None, output) for output in outputs], record)

    async def _both(self, sent: Sequence[Sent], record: bytes) -> None:
        ours = self._shard, self._epoch
        await self._process.request(lambda: self._broker.add(*ours, sent, record), TimeoutError)
        await self._process.request(lambda: self._broker.end(*ours), TimeoutError)

    async def stop(self) -> None:
        """Nothing is open between two sends."""

    async def cut_off(self) -> None:
        """What is open stays so until somebody takes over."""
