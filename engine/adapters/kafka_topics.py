"""The topics of a deployment: looked up, and created where they are missing."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from engine.adapters.kafka_options import KafkaOptions
from engine.ports.log import LogUnavailable

RELAY_CONFIGS: Final = {
    "cleanup.policy": "compact",  # the last record of a shard is kept for ever
    "min.compaction.lag.ms": "3600000",  # those of the last hour too: ids of what was sent, to compare with
    "segment.bytes": "16777216",  # only closed segments are compacted
}

FOR_EVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Of the ledger's topic: no balance may depend on how long a log is kept."""

INPUT_CONFIGS: Final = ("retention.ms", "retention.bytes", "cleanup.policy", "max.message.bytes", "min.insync.replicas")
"""What an input topic takes over from the one it replaces."""

logger = logging.getLogger("steward.kafka")


class TopicsMissing(Exception):
    """Topics do not exist and may not be created: somebody has to create them."""


async def ensure_topics(options: KafkaOptions) -> int:
    """See that every topic exists; returns the number of partitions of the input topic.

    Raises `LogUnavailable` while the broker cannot be reached, `TopicsMissing` where creation is switched off.
    """
    async with _admin(options) as admin:
        return await _ensure(admin, options)


async def ensure_relay_topic(options: KafkaOptions) -> None:
    """See that the relay's topic exists, with as many partitions as the input's, and warn where it is not compacted.

    Raises as `ensure_topics` does.
    """
    async with _admin(options) as admin:
        if options.relay not in await admin.list_topics():
            if not options.create:
                raise TopicsMissing(
                    f"topic {options.relay} does not exist, and STEWARD_TOPICS_CREATE is off: create it with "
                    "cleanup.policy=compact, or set STEWARD_KAFKA_TRANSACTIONS=off"
                )
            described = await admin.describe_topics([options.events])
            count = max(1, len(described[0]["partitions"]))
            await _create(admin, [NewTopic(options.relay, count, options.replication, topic_configs=RELAY_CONFIGS)])
        if "compact" not in await _config(admin, options.relay, "cleanup.policy"):
            logger.warning("topic %s is not compacted: a quiet shard's position is deleted in time", options.relay)


async def ensure_input(options: KafkaOptions, topic: str, partitions: int) -> int:
    """See that an input topic exists, created like that of the options but with so many partitions; its number of them.

    Raises as `ensure_topics` does.
    """
    async with _admin(options) as admin:
        if topic not in await admin.list_topics():
            if not options.create:
                raise TopicsMissing(
                    f"topic {topic} does not exist, and STEWARD_TOPICS_CREATE is off: create it with {partitions} "
                    "partitions"
                )
            configs = {name: await _config(admin, options.events, name) for name in INPUT_CONFIGS}
            given = {name: value for name, value in configs.items() if value}
            await _create(admin, [NewTopic(topic, partitions, options.replication, topic_configs=given)])
            return partitions
        described = await admin.describe_topics([topic])
        return len(described[0]["partitions"])


@asynccontextmanager
async def _admin(options: KafkaOptions) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**options.client)
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnavailable(f"Kafka at {options.bootstrap}: {error}") from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    response = await admin.create_topics(topics)
    for name, code, *reason in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"topic {name}: {reason}")
    for topic in topics:
        logger.info("created topic %s with %d partitions", topic.name, topic.num_partitions)


async def _config(admin: AIOKafkaAdminClient, topic: str, name: str) -> str:
    """A setting of a topic, as text; empty where the broker does not say."""
    answers: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = [entry for answer in answers for resource in answer.resources for entry in resource[4]]
    return next((str(entry[1]) for entry in entries if entry[0] == name), "")


def _topic(name: str, options: KafkaOptions) -> NewTopic:
    configs = FOR_EVER if name == options.outputs.get("reward") else None
    return NewTopic(name, options.partitions, options.replication, topic_configs=configs)


async def _ensure(admin: AIOKafkaAdminClient, options: KafkaOptions) -> int:
    wanted = list(dict.fromkeys([options.events, *options.outputs.values()]))
    missing = sorted(set(wanted) - set(await admin.list_topics()))
    if missing and not options.create:
        raise TopicsMissing(f"topics do not exist, and STEWARD_TOPICS_CREATE is off: {', '.join(missing)}")
    if missing:
        await _create(admin, [_topic(name, options) for name in missing])
    rewards = options.outputs.get("reward")
    kept = rewards is None or rewards in missing or await _config(admin, rewards, "retention.ms") in ("-1", "")
    if not kept:
        logger.warning("topic %s forgets ledger entries in time: set its retention.ms to -1", rewards)
    described = await admin.describe_topics([options.events])
    count = len(described[0]["partitions"])
    if count == 0:
        raise LogUnavailable(f"topic {options.events} has no partitions yet")
    return count
