"""Events to Kafka, one at a time and at once: the writing end of the log for synchronous calls."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError

from engine.adapters.kafka_options import KafkaOptions
from engine.ports.log import LogUnavailable

EVENT_BYTES_MAX: Final = 256 * 1024  # an event has 64 KiB at most; masking and headers add little

logger = logging.getLogger("steward.kafka")


class KafkaWriter:
    """`engine.ports.sync.EventWriter` and `engine.ports.announce.Announcer` over one producer.

    `acks=all`, no lingering, idempotent where the broker can.

    The partition follows from the key by Kafka's own default (murmur2), so that whoever else produces with the default
    partitioner puts a customer on the same partition.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Any = None

    async def start(self) -> None:
        """Connect. Raises `LogUnavailable`."""
        for idempotent in (True, False) if self._options.idempotent else (False,):
            producer = aiokafka.AIOKafkaProducer(
                acks="all",
                enable_idempotence=idempotent,
                linger_ms=0,
                max_request_size=EVENT_BYTES_MAX,
                **self._options.client,
            )
            try:
                await asyncio.wait_for(producer.start(), self._options.request_timeout_s)
            except (KafkaError, TimeoutError, OSError) as error:
                await producer.stop()
                if not idempotent:
                    raise LogUnavailable(f"Kafka at {self._options.bootstrap}: {error}") from error
            else:
                self._producer = producer
                return

    async def write(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
        """See `EventWriter.write`."""
        if self._producer is None:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: not connected yet")
        try:
            sent = await self._producer.send_and_wait(self._options.events, value, key=key, headers=list(headers))
        except (KafkaError, OSError) as error:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: {error!r}") from error
        return int(sent.partition)

    async def announce(self, shard: int, record: bytes) -> None:
        """See `engine.ports.announce.Announcer`: the shard's number is its partition's."""
        if self._producer is None:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: not connected yet")
        try:
            await self._producer.send_and_wait(self._options.events, record, partition=shard)
        except (KafkaError, OSError) as error:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: {error!r}") from error

    async def check(self) -> None:
        """See `EventWriter.check`."""
        if self._producer is None:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: not connected yet")
        try:
            await self._producer.client.fetch_all_metadata()
        except (KafkaError, OSError) as error:
            raise LogUnavailable(f"Kafka at {self._options.bootstrap}: {error!r}") from error

    async def close(self) -> None:
        """Send what is on its way and let go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
