"""The ledger's proof from the topic, and an erasure onto the log, with a real Apache Kafka."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.cli import main
from tests.customers.test_ledger_command import replay
from tests.support.kafka import ApacheKafka


@pytest.fixture(scope="module")
def kafka() -> Iterator[ApacheKafka]:
    with ApacheKafka() as server:
        yield server.start()


def test_the_topic_is_proven_and_an_erasure_reaches_the_log(
    kafka: ApacheKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = (replay(tmp_path) / "rewards.ndjson").read_text().splitlines()

    async def prepare() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("payments.events", 3, 1), NewTopic("steward.rewards", 2, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for line in entries:
                entry = json.loads(line)
                event = {"specversion": "1.0", "id": entry["entry_id"], "type": "steward.reward", "data": entry}
                key = entry["customer_id"].encode()
                await producer.send_and_wait("steward.rewards", json.dumps(event).encode(), key=key)

    async def logged() -> Any:
        consumer = AIOKafkaConsumer("payments.events", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        async with consumer:
            return await asyncio.wait_for(consumer.getone(), 30)

    asyncio.run(prepare())
    capsys.readouterr()
    assert main(["ledger", "verify", "--kafka", kafka.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == len(entries)
    assert main(["customer", "erase", "anna", "--yes", "--kafka", kafka.url]) == 0
    record = asyncio.run(logged())
    assert record.key == b"anna"
    event = json.loads(record.value)
    assert (event["type"], event["customer_id"]) == ("account.erased", "anna")
    assert event["event_id"] in capsys.readouterr().err
