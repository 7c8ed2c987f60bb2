"""Outputs to Kafka, at least once: CloudEvents, in batches built per topic and partition."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError

from engine.adapters.kafka_batches import BATCH_BYTES, OutputBatches
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_quiet import be_patient
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable

logger = logging.getLogger("steward.kafka")


class KafkaSink(Sink):
    """`engine.ports.sink.Sink` over one producer; `acks=all`, and idempotent where the broker can.

    For brokers without transactions; `engine.adapters.kafka_transactions` is for those with.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Any = None
        self._batches: OutputBatches | None = None

    async def start(self) -> None:
        """Connect. Raises `SinkUnavailable`."""
        for idempotent in (True, False) if self._options.idempotent else (False,):
            producer = aiokafka.AIOKafkaProducer(
                acks="all",
                enable_idempotence=idempotent,
                max_batch_size=BATCH_BYTES,
                linger_ms=0,
                **self._options.client,
            )
            be_patient(producer.client)
            try:
                await asyncio.wait_for(producer.start(), self._options.request_timeout_s)
            except (KafkaError, TimeoutError, OSError) as error:
                await producer.stop()
                if not idempotent:
                    raise SinkUnavailable(f"Kafka at {self._options.bootstrap}: {error}") from error
            else:
                self._producer = producer
                self._batches = OutputBatches(producer, self._options)
                if self._options.idempotent and not idempotent:
                    logger.info("the broker has no idempotent producer; a lost answer can repeat an output")
                return

    async def close(self) -> None:
        """Let go of the connection."""
        producer, self._producer, self._batches = self._producer, None, None
        if producer is not None:
            await producer.stop()

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`. Connects first where that has not been done."""
        if self._batches is None:
            await self.start()
        assert self._batches is not None
        try:
            await self._batches.send(shard, outputs)
        except (KafkaError, TimeoutError, OSError) as error:
            raise SinkUnavailable(f"Kafka at {self._options.bootstrap}: {error!r}") from error
