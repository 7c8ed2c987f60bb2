"""Outputs to Kafka by the best way the broker has: in transactions, or at least once."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import aiokafka
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, UnknownError

from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_sink import KafkaSink
from engine.adapters.kafka_transactions import KafkaTransactions
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable

TRANSACTION_APIS: Final = (22, 24, 26)
"""InitProducerId, AddPartitionsToTxn, EndTxn (https://kafka.apache.org/protocol#protocol_api_keys)."""

logger = logging.getLogger("steward.kafka")


class TransactionsMissing(Exception):
    """Transactions are asked for and the broker has none."""


class KafkaOutputs(Sink):
    """`engine.ports.sink.Sink` that becomes `KafkaTransactions` or `KafkaSink` when it starts.

    `transactions` of the options says which: `on`, `off`, or `auto` for what the broker says of itself. A broker that
    says it has transactions and does not answer in time is waited for, not used without them.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._sink: KafkaTransactions | KafkaSink | None = None

    async def start(self) -> None:
        """Connect. Raises `SinkUnavailable`; `TransactionsMissing`; `TopicsMissing`."""
        options = self._options
        wanted = options.transactions != "off" and await has_transactions(options)
        if options.transactions == "on" and not wanted:
            raise TransactionsMissing(
                f"the broker at {options.bootstrap} has no transactions, which STEWARD_KAFKA_TRANSACTIONS=on asks for"
            )
        sink = KafkaTransactions(options) if wanted else KafkaSink(options)
        await sink.start()
        self._sink = sink
        logger.info("outputs go out %s", "in transactions" if wanted else "at least once")

    @property
    def every_s(self) -> float:
        """See `Sink.every_s`."""
        return self._sink.every_s if self._sink is not None else 0.0

    async def close(self) -> None:
        """Let go of every connection."""
        sink, self._sink = self._sink, None
        if sink is not None:
            await sink.close()

    async def release(self, shard: int) -> None:
        """See `Sink.release`."""
        if self._sink is not None:
            await self._sink.release(shard)

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`."""
        if self._sink is None:
            raise SinkUnavailable(f"Kafka at {self._options.bootstrap}: not connected yet")
        await self._sink.send(shard, first, outputs)


async def has_transactions(options: KafkaOptions) -> bool:
    """Whether the broker has transactions: it says so, and gives out a producer id for one.

    Raises `SinkUnavailable` where it cannot be reached or does not answer in time, which says nothing.
    """
    return await _claims_transactions(options) and await _gives_producer_ids(options)


async def _gives_producer_ids(options: KafkaOptions) -> bool:
    """The embedded broker claims transactions and answers the first request with an unknown error, each time."""
    producer = aiokafka.AIOKafkaProducer(transactional_id=f"{options.group}.relay.probe", **options.client)
    try:
        await asyncio.wait_for(producer.start(), options.request_timeout_s)
    except (UnknownError, IncompatibleBrokerVersion):
        return False
    except TimeoutError as error:
        raise SinkUnavailable(
            f"Kafka at {options.bootstrap} gives out no producer id for transactions: a single broker needs "
            "transaction.state.log.replication.factor=1; STEWARD_KAFKA_TRANSACTIONS=off does without them"
        ) from error
    except (KafkaError, OSError) as error:
        raise SinkUnavailable(f"Kafka at {options.bootstrap}: {error!r}") from error
    finally:
        await producer.stop()
    return True


async def _claims_transactions(options: KafkaOptions) -> bool:
    client = AIOKafkaClient(**options.client)
    try:
        async with asyncio.timeout(options.request_timeout_s):
            await client.bootstrap()
            connection: Any = await client._get_conn(client.get_random_node())
    except IncompatibleBrokerVersion:
        return False
    except (KafkaError, TimeoutError, OSError) as error:
        raise SinkUnavailable(f"Kafka at {options.bootstrap}: {error!r}") from error
    finally:
        await client.close()
    if connection is None:
        raise SinkUnavailable(f"Kafka at {options.bootstrap}: no connection")
    return all(key in connection._versions for key in TRANSACTION_APIS)
