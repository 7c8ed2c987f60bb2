"""The topics of a deployment: looked up, and created where they are missing."""

import logging

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from engine.adapters.kafka_options import KafkaOptions
from engine.ports.log import LogUnavailable

logger = logging.getLogger("steward.kafka")


class TopicsMissing(Exception):
    """Topics do not exist and may not be created: somebody has to create them."""


async def ensure_topics(options: KafkaOptions) -> int:
    """See that every topic exists; returns the number of partitions of the input topic.

    Raises `LogUnavailable` while the broker cannot be reached, `TopicsMissing` where creation is switched off.
    """
    admin = AIOKafkaAdminClient(**options.client)
    try:
        await admin.start()
        return await _ensure(admin, options)
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnavailable(f"Kafka at {options.bootstrap}: {error}") from error
    finally:
        await admin.close()


async def _ensure(admin: AIOKafkaAdminClient, options: KafkaOptions) -> int:
    wanted = list(dict.fromkeys([options.events, *options.outputs.values()]))
    missing = sorted(set(wanted) - set(await admin.list_topics()))
    if missing and not options.create:
        raise TopicsMissing(f"topics do not exist, and STEWARD_TOPICS_CREATE is off: {', '.join(missing)}")
    if missing:
        topics = [NewTopic(name, options.partitions, options.replication) for name in missing]
        response = await admin.create_topics(topics)
        for name, code, *reason in response.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)(f"topic {name}: {reason}")
        logger.info("created topics %s with %d partitions", ", ".join(missing), options.partitions)
    described = await admin.describe_topics([options.events])
    count = len(described[0]["partitions"])
    if count == 0:
        raise LogUnavailable(f"topic {options.events} has no partitions yet")
    return count
