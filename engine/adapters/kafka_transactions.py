"""Outputs to Kafka, each exactly once for readers of committed records: a transaction holds outputs and position.

A transaction covers what the relay hands over at once, of one shard: the outputs, on their topics, and one record on
the relay's own compacted topic that says how far the shard has come (`relay_position`). Both are there or neither is.
So whoever sends next, after any crash and also after a Redis that went back in time, reads the position first and
leaves out what is behind it.

- **One transactional id a shard**, `GROUP.relay.SHARD`. Taking it over (`InitProducerId`) ends the transaction that an
  earlier owner left open, so that readers need not wait for its timeout, and fences that owner: whatever it still
  sends is refused. An id for each worker would do neither when a partition moves to another worker.
- **A doubt is resolved by asking.** After any error, and after a cancellation in the middle, the producer is thrown
  away. The next call takes the id over anew, which settles what became of the last transaction, and reads the position.
- A fenced owner that still has outputs to send does the same, and so could two owners in turn; each output goes out
  once all the same, and the one without the shard has soon nothing left, for the store refuses its commits.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import aiokafka
import aiokafka.producer.sender
from aiokafka.errors import KafkaError, ProducerFenced

from engine.adapters.kafka_batches import BATCH_BYTES, OutputBatches
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_positions import read_records
from engine.adapters.kafka_quiet import be_patient, see_failures, watched
from engine.adapters.kafka_topics import ensure_relay_topic
from engine.adapters.relay_position import RelayPosition
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable

MARKER_WAIT_S: Final = 0.005
"""Wait of a transaction that begins while the markers of the last one are being written; aiokafka's own is 20 ms."""

EVERY_S: Final = 0.01
"""Between the beginnings of two transactions of a shard. One takes the broker some 3 ms of CPU whatever it holds, and a
next one that begins before the markers of the last are written is refused: what comes meanwhile joins it instead."""

TIMEOUT_REQUESTS: Final = 2  # a transaction may take as long as so many requests
STOP_S: Final = 1.0  # a producer that has not ended by then is cut off

logger = logging.getLogger("steward.kafka")


class KafkaTransactions(Sink):
    """`engine.ports.sink.Sink` with a transactional producer for each shard; see the module."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._lines: dict[int, _Line] = {}
        aiokafka.producer.sender.BACKOFF_OVERRIDE = MARKER_WAIT_S

    async def start(self) -> None:
        """See that the relay's topic is there; producers start with the first outputs of their shards.

        Raises `SinkUnavailable`, `TopicsMissing`.
        """
        try:
            await ensure_relay_topic(self._options)
        except LogUnavailable as error:
            raise SinkUnavailable(str(error)) from error

    @property
    def every_s(self) -> float:
        """See `Sink.every_s`."""
        return EVERY_S

    async def close(self) -> None:
        """Let go of every producer."""
        lines = list(self._lines.values())
        self._lines.clear()
        await asyncio.gather(*(line.stop() for line in lines))

    async def release(self, shard: int) -> None:
        """See `Sink.release`."""
        line = self._lines.pop(shard, None)
        if line is not None:
            await line.stop()

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`."""
        line = self._lines.get(shard)
        try:
            if line is None or line.position.stale(first):
                await self._forget(shard)
                line = self._lines[shard] = self._line(shard)
                await line.start()
            await line.send(first, outputs)
        except (KafkaError, TimeoutError, OSError) as error:
            await self._forget(shard)
            if isinstance(error, ProducerFenced):
                raise SinkUnavailable(f"shard {shard}: another process has taken over the sending") from error
            raise SinkUnavailable(f"Kafka at {self._options.bootstrap}, shard {shard}: {error!r}") from error
        except BaseException:
            await self._forget(shard)
            raise

    def _line(self, shard: int) -> "_Line":
        return _Line(self._options, shard)

    async def _forget(self, shard: int) -> None:
        line = self._lines.pop(shard, None)
        if line is not None:
            await line.cut_off()


class _Line:
    """One shard's producer and position."""

    def __init__(self, options: KafkaOptions, shard: int) -> None:
        self.position = RelayPosition()
        self._options = options
        self._shard = shard
        self._limit_s = options.request_timeout_s * TIMEOUT_REQUESTS
        self._producer = aiokafka.AIOKafkaProducer(
            acks="all",
            transactional_id=f"{options.group}.relay.{shard}",
            transaction_timeout_ms=int(self._limit_s * 1000),
            max_batch_size=BATCH_BYTES,
            linger_ms=0,
            **options.client,
        )
        be_patient(self._producer.client)
        self._batches = OutputBatches(self._producer, options)

    async def start(self) -> None:
        """Take the transactional id over, which settles earlier transactions; then read how far they came."""
        await asyncio.wait_for(self._producer.start(), self._limit_s)
        self.position = RelayPosition(await read_records(self._options, self._shard))

    async def send(self, first: int, outputs: Sequence[SinkOutput]) -> None:
        """Send in one transaction what is not behind the position."""
        position = self.position
        skipped, changed, renewed = position.skipped, position.changed, position.renewed
        unsent = position.unsent(first, outputs)
        if position.renewed and not renewed:
            logger.warning("shard %d begins anew: its first output is not the one that was sent first", self._shard)
        if position.changed > changed:
            logger.error(
                "shard %d: %d outputs differ from those sent before under the same numbers, and are sent too: "
                "the log is being read another way than before",
                self._shard,
                position.changed - changed,
            )
        if position.skipped > skipped:
            logger.info("shard %d: %d outputs had been sent already", self._shard, position.skipped - skipped)
        if unsent or position.moves(first, outputs):
            async with asyncio.timeout(self._limit_s):
                await self._transaction(unsent, position.record(first, outputs))
            position.sent(first, outputs)

    async def _transaction(self, outputs: Sequence[SinkOutput], record: bytes) -> None:
        topic = self._options.relay
        await self._producer.begin_transaction()
        partition = await self._batches.partition(topic, self._shard)
        told = watched(await self._producer.send(topic, record, key=b"%d" % self._shard, partition=partition))
        # aiokafka commits whatever became of the batches, so all of them are waited for first.
        await asyncio.gather(told, self._batches.send(self._shard, outputs))
        await self._producer.commit_transaction()

    async def stop(self) -> None:
        """End in order, or within a time all the same."""
        try:
            await asyncio.wait_for(self._producer.stop(), STOP_S)
        except (TimeoutError, KafkaError, OSError):
            await self.cut_off()

    async def cut_off(self) -> None:
        """End at once, with whatever was on its way; the broker ends the transaction, at the latest after its time."""
        self._producer._closed = True
        see_failures(self._producer)
        client, sender = self._producer.client, self._producer._sender
        # Without connections the sender's requests end at once; what it opened meanwhile is closed after it.
        for close in (client.close, sender.close, client.close):
            with suppress(TimeoutError, KafkaError, OSError):
                await asyncio.wait_for(close(), STOP_S)
