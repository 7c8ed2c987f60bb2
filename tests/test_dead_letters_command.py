"""`steward dead-letters`, from the outside: files as a replay leaves them, and topics of a real Apache Kafka."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.cli import main
from tests.support.kafka import ApacheKafka

GOOD = (
    b'{"event_id":"e1","type":"payment.requested","event_time":1767268800000,"customer_id":"c1",'
    b'"payment_id":"p1","amount":"10.00","currency":"EUR"}'
)
BAD = GOOD.replace(b"EUR", b"XXQ").replace(b"e1", b"e2")


def letter(record: bytes, source: dict[str, object], reason: str = "unknown_currency") -> bytes:
    body = {
        "reason": reason,
        "detail": "as an earlier version saw it",
        "source": source,
        "raw_sha256": hashlib.sha256(record).hexdigest(),
        "raw_redacted": record.decode(),
    }
    return json.dumps(body).encode()


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """A directory as a replay leaves it: three letters about a file whose third line has changed since."""
    (tmp_path / "events.ndjson").write_bytes(GOOD + b"\n" + BAD + b"\n" + GOOD.replace(b"e1", b"e4") + b"\n")
    name = str(tmp_path / "events.ndjson")
    lines = [
        letter(GOOD, {"file": name, "line": 1}),
        letter(BAD, {"file": name, "line": 2}),
        letter(GOOD.replace(b"e1", b"e3"), {"file": name, "line": 3}, "not_json"),
        letter(GOOD, {"file": name, "line": 9}),
        letter(GOOD, {"journal": "st", "shard": 0, "offset": 4}),
    ]
    (tmp_path / "dead_letters.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    return tmp_path


def test_list_shows_letters_and_counts_reasons(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "list", str(refused), "--limit", "1"]) == 0
    told = capsys.readouterr().out
    assert f"{refused}/events.ndjson:1  unknown_currency: as an earlier version saw it" in told
    assert "events.ndjson:2" not in told, "the limit holds for what is shown"
    assert told.endswith("5 dead letters\n       4  unknown_currency\n       1  not_json\n")
    assert main(["dead-letters", "list", str(refused / "dead_letters.ndjson"), "--reason", "not_json"]) == 0
    assert capsys.readouterr().out.endswith("1 dead letters\n       1  not_json\n")


def test_replay_writes_what_would_be_taken_now(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = refused / "again.ndjson"
    assert main(["dead-letters", "replay", str(refused), "--out", str(out)]) == 0
    assert out.read_bytes() == GOOD + b"\n"
    told = capsys.readouterr().err
    assert "events.ndjson:2  refused again: unknown_currency" in told
    assert "events.ndjson:3  gone: another record is there now" in told
    assert "events.ndjson:9  gone: the record is not there any more" in told
    assert "st/0/4  gone" in told
    assert "1 of 5 records sent; 4 stay" in told
    assert main(["dead-letters", "replay", str(refused), "--out", str(out)]) == 2, "a file is never written over"


def test_a_dry_run_sends_nothing(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = refused / "again.ndjson"
    assert main(["dead-letters", "replay", str(refused), "--dry-run", "--out", str(out)]) == 0
    assert not out.exists()
    assert "1 of 5 records would be sent" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"nonsense\n", b'{"reason":"x"}\n', b"[1]\n"])
def test_what_is_no_dead_letter_is_named(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dead_letters.ndjson").write_bytes(content)
    assert main(["dead-letters", "list", str(tmp_path)]) == 2
    assert "dead_letters.ndjson:1: not a dead letter" in capsys.readouterr().err


def test_without_a_source_and_without_kafka_it_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "list"]) == 2
    assert "name a file or directory, or a Kafka" in capsys.readouterr().err


@pytest.fixture(scope="module")
def kafka() -> Iterator[ApacheKafka]:
    with ApacheKafka() as server:
        yield server.start()


def test_replay_reads_the_log_again_and_appends_under_the_same_key(
    kafka: ApacheKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    async def prepare() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("payments.events", 2, 1), NewTopic("steward.dead-letters", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for record in (BAD, GOOD):
                await producer.send_and_wait("payments.events", record, key=b"some key", partition=1)
            for offset, record in ((0, BAD), (1, GOOD), (7, GOOD)):
                data = letter(record, {"topic": "payments.events", "partition": 1, "offset": offset})
                event = (
                    b'{"specversion":"1.0","id":"x","source":"steward","type":"steward.dead_letter","data":%b}' % data
                )
                await producer.send_and_wait("steward.dead-letters", event)

    async def logged() -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
        found = []
        consumer = AIOKafkaConsumer("payments.events", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        async with consumer:
            while len(found) < 3:
                for records in (await consumer.getmany(timeout_ms=10_000)).values():
                    found += [(record.key, record.value, list(record.headers)) for record in records]
        return found

    asyncio.run(prepare())
    assert main(["dead-letters", "list", "--kafka", kafka.url]) == 0
    assert "payments.events/1/7" in capsys.readouterr().out
    assert main(["dead-letters", "replay", "--kafka", kafka.url]) == 0
    told = capsys.readouterr().err
    assert "1 of 3 records sent; 2 stay" in told
    assert "payments.events/1/0  refused again" in told
    assert "payments.events/1/7  gone" in told
    (again,) = [record for record in asyncio.run(logged()) if record[2]]
    assert again == (b"some key", GOOD, [("steward-replayed-from", b"payments.events/1/1")])
