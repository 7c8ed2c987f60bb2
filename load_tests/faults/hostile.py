"""Items 22 to 24: hostile input, a poison pill, dead letters that cannot be written."""

import asyncio
import json
import time
from typing import Any, Final

import aiokafka
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from load_tests.faults import reading
from load_tests.faults.registry import Result, item
from load_tests.faults.stage import Bench, Stage, stream

MIB: Final = 1 << 20
NEXT_S_MAX: Final = 1.0
POISON: Final = "a-poison-pill"


def payment(number: int = 0, **changes: Any) -> bytes:
    """A payment; `changes` replace its fields."""
    return json.dumps(
        {
            "event_id": f"h{number}", "type": "payment.requested", "event_time": "2026-01-02T00:00:00Z",
            "customer_id": f"c{number}", "payment_id": f"p{number}", "amount": "10.00", "currency": "EUR", **changes,
        }
    ).encode()  # fmt: skip


def _raw(field: str, text: str) -> bytes:
    """A payment whose field holds JSON text that no encoder writes."""
    return payment(**{field: "@@"}).replace(b'"@@"', text.encode("utf-8", "surrogatepass"))


REJECTED: Final[dict[str, bytes | None]] = {
    "NaN": _raw("amount", "NaN"),
    "infinity": _raw("amount", "Infinity"),
    "minus infinity": _raw("amount", "-Infinity"),
    "1e400": _raw("amount", "1e400"),
    "minus zero": _raw("amount", "-0"),
    "minus zero with a point": _raw("amount", "-0.0"),
    "an integer of 10^30": _raw("amount", "1" + "0" * 30),
    "an amount of zero": payment(amount="0.00"),
    "a negative amount": payment(amount="-5.00"),
    "an unknown currency": payment(currency="XQQ"),
    "yen with cents": payment(currency="JPY", amount="10.50"),
    "dinars with four digits": payment(currency="KWD", amount="1.2345"),
    "10^15 minor units": payment(amount="10000000000000.00"),
    "depth 10,000": _raw("metadata", "[" * 10_000 + "]" * 10_000),
    "a deep object": _raw("metadata", '{"a":' * 10_000 + "1" + "}" * 10_000),
    "10 MB": payment(metadata={"a": "x" * 10_000_000}),
    "duplicate keys": _raw("amount", '"10.00", "amount": "20.00"'),
    "invalid UTF-8": payment().replace(b"EUR", b"E\xff\xfe"),
    "a lone surrogate in an id": _raw("customer_id", '"c\\ud800"'),
    "NUL in an id": _raw("customer_id", '"c\\u0000"'),
    "a customer id of 1 MB": payment(customer_id="c" * MIB),
    "a line break in an id": _raw("customer_id", '"c1\\n{\\"level\\":\\"info\\"}"'),
    "a card number for a card": payment(card_id="4111 1111 1111 1111"),
    "a bare number": b"1e400",
    "an array": b"[1,2,3]",
    "half an event": payment()[:50],
    "nothing but zeros": b"\x00" * 200,
    "an empty record": b"",
    "a tombstone": None,
}
"""Each is to be rejected, with a reason."""

HARMLESS: Final[dict[str, bytes]] = {
    "braces in an id": payment(1, customer_id="c}{st:0}:H"),
    "a key pattern in an id": payment(2, customer_id="*?[a-z]{x}"),
    "right-to-left text in an id": payment(3, customer_id="c\u202egnp.exe"),
    "a formula in a field": payment(4, merchant_id="=cmd|' /C calc'!A0"),
    "a line break in a field": payment(5, metadata={"note": 'x\n{"level":"error","message":"forged"}'}),
}
"""Each is an event like any other, or rejected: no state, key or log line of another's may come of it."""


@item(
    22, "bad input is a dead letter with a reason and nothing else", "NaN to 10 MB, broken JSON, injections, null keys"
)
async def hostile(bench: Bench) -> Result:
    result = Result(runs=len(REJECTED) + len(HARMLESS))
    async with bench.stage("hostile") as stage:
        resource = ConfigResource(
            ConfigResourceType.TOPIC, stage.settings.topics.events, configs={"max.message.bytes": str(20 * MIB)}
        )
        await stage.admin(lambda admin: admin.alter_configs([resource]))
        worker = stage.fork()
        good = stream(2 * result.runs, customers=50)
        offsets = await _interleave(stage, [*REJECTED.values(), *HARMLESS.values()], good)
        await stage.judge(result)
        letters = {letter["source"]["offset"]: letter["reason"] for letter in await dead_letters(stage)}
        for name, offset in zip([*REJECTED, *HARMLESS], offsets, strict=True):
            result.expect(name in HARMLESS or bool(letters.get(offset)), f"{name} was not rejected")
        result.expect(set(letters) <= set(offsets), "good events were rejected")
        result.expect("forged" not in worker.log, "a line of the log was forged")
        result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    result.figures["reasons"] = dict(zip(REJECTED, (letters.get(offset, "") for offset in offsets), strict=False))
    result.remark = f"{len(letters)} dead letters of {len(set(letters.values()))} reasons; all between them processed"
    return result


async def _interleave(stage: Stage, bad: list[bytes | None], good: list[bytes]) -> list[int]:
    """Send a bad record between every two good ones, half of the bad without a key; offsets of the bad."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=stage.bootstrap, max_request_size=20 * MIB, acks="all")
    await producer.start()
    topic, places = stage.settings.topics.events, []
    for number, value in enumerate(bad):
        await producer.send_and_wait(topic, value=good[2 * number], key=b"c")
        # A record without key and value is refused by the client; a tombstone has a key.
        key = b"k" if value is None or number % 2 else None
        places.append((await producer.send_and_wait(topic, value=value, key=key)).offset)
        await producer.send_and_wait(topic, value=good[2 * number + 1], key=b"c")
    await producer.stop()
    return places


async def dead_letters(stage: Stage) -> list[dict[str, Any]]:
    """Bodies of the dead letters."""
    topic = stage.settings.topics.dead_letters
    found = [record async for record in reading.read(stage.bootstrap, [topic], stage.partitions)]
    return [json.loads(bytes(reading.decode_event(record.value).data)) for record in found]


@item(
    23, "a poison pill is a dead letter once, and the next is processed within 1 s", "a record that the core raises on"
)
async def poison(bench: Bench) -> Result:
    times = bench.count(3, 20)
    result = Result(runs=times)
    taken = []
    async with bench.stage("poison") as stage:
        worker = stage.fork(poison=POISON)
        events = stream(times * 40, customers=50)
        places = []
        await stage.pour(events[:20])
        await stage.passes(19, life=worker)
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=stage.bootstrap, acks="all")
        await producer.start()
        for turn in range(times):
            places.append(stage.total())
            batch = events[20 + turn * 20 : 20 + (turn + 1) * 20]
            topic = stage.settings.topics.events
            values = [payment(turn, customer_id=POISON), *batch]
            sent = [await producer.send(topic, value=value, key=b"k") for value in values]
            await asyncio.gather(*sent)
            began = time.monotonic()
            await stage.passes(places[-1] + 1, life=worker)
            taken.append(time.monotonic() - began)
            await stage.passes(places[-1] + 20, life=worker)
        await producer.stop()
        await stage.settle()
        letters = await dead_letters(stage)
        found = sorted(letter["source"]["offset"] for letter in letters)
        result.expect(found == places, f"dead letters of {found}, poison at {places}")
        result.expect(all(letter["reason"] for letter in letters), "a dead letter has no reason")
        result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
        result.lost = sum(place not in found for place in places)
        result.doubled = len(found) - len(set(found))
    result.expect(max(taken) <= NEXT_S_MAX, f"the next record was processed after {max(taken):.2f} s")
    result.figures["next_s"] = taken
    result.remark = f"reason {letters[0]['reason']}; the next after {1000 * max(taken):.0f} ms at most"
    return result


@item(
    24, "without a place for dead letters the intake rests, and nothing is dropped", "the dead-letter topic is deleted"
)
async def no_letters(bench: Bench) -> Result:
    times = bench.count(1, 5)
    result = Result(runs=times)
    quiet = {
        "STEWARD_TOPICS_CREATE": "false",
        "STEWARD_BATCH_OUTBOX_ENTRIES_MAX": "8",
        "STEWARD_BATCH_EVENTS_MAX": "20",
    }
    async with bench.stage("letters", **quiet, STEWARD_KAFKA_REQUEST_TIMEOUT="3s") as stage:
        await _make_relay_topic(stage)
        worker = stage.fork()
        topic = stage.settings.topics.dead_letters
        events = stream(times * 1_000, customers=100)
        written = 0
        for turn in range(times):
            batch = events[turn * 1_000 : (turn + 1) * 1_000]
            await stage.pour(batch[:100])
            await stage.settle()
            kept = len(await dead_letters(stage))
            result.expect(kept == written, f"{kept} dead letters instead of {written}")
            await stage.admin(lambda admin: admin.delete_topics([topic]))
            await asyncio.sleep(0.5)
            await stage.pour([b"not JSON %d" % turn, *batch[100:]])
            await stage.ends(lambda: "the sink of outputs is not available" in worker.log, "the complaint")
            await asyncio.sleep(2.0)
            before = stage.total()
            await asyncio.sleep(2.0)
            result.expect(stage.total() == before, "the intake went on without a place for dead letters")
            result.expect(before < (turn + 1) * 1_001, "the intake did not rest")
            await stage.admin(lambda admin: admin.create_topics([NewTopic(topic, 1, 1)]))
            await stage.settle()
            found = await dead_letters(stage)
            result.lost += not found
            result.doubled += max(0, len(found) - 1)
            written = len(found)
        result.expect(worker.code is None, f"the worker ended with {worker.code}: {worker.log[-500:]}")
    result.remark = "the intake rested after 8 commits; every dead letter was written once the topic was back"
    return result


async def _make_relay_topic(stage: Stage) -> None:
    relay = NewTopic(stage.settings.topics.relay, 1, 1, topic_configs={"cleanup.policy": "compact"})
    await stage.admin(lambda admin: admin.create_topics([relay]))
