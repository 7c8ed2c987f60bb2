"""Webhooks over real HTTP servers and a real Redis: signed, retried, bounded, and never lost without a word."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.abc import AbstractResolver

from engine.adapters.embedded import RedisServer
from engine.adapters.fan_out import FanOut
from engine.adapters.memory_sink import MemorySink
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.webhook_courier import BREAK_MAX_S, FAILURES_MAX, Breaker, Patience
from engine.adapters.webhook_post import Attempt, CheckedResolver, Poster, signature
from engine.adapters.webhook_queue import Offered, WebhookQueue
from engine.adapters.webhook_sink import UNDELIVERED, WebhookOptions, WebhookSink
from engine.core.effects import Output
from engine.domain.webhooks import Endpoint, address_refused, parse_endpoint
from engine.ports.sink import SinkUnavailable
from tests.support.receiver import Receiver, verify

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
STATE = (Path(__file__).resolve().parents[2] / "docs/state.md").read_text()
QUICK = WebhookOptions(held_max=100, timeout_s=2.0, patience=Patience(0.02, 0.1, 60.0))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis.start()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisServer]:
    client = RedisClient(server.url, RedisOptions())
    await client.call("FLUSHALL")
    await client.close()
    yield server


@pytest.fixture(autouse=True)
def quick_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.adapters.webhook_courier.BREAK_FIRST_S", 0.02)


@asynccontextmanager
async def sink_of(
    redis: RedisServer, *endpoints: Endpoint, options: WebhookOptions = QUICK, letters: MemorySink | None = None
) -> AsyncIterator[WebhookSink]:
    sink = WebhookSink(endpoints, redis.url, prefix="t", letters=letters or MemorySink(), options=options)
    try:
        yield sink
    finally:
        await sink.close()


def endpoint(name: str, receiver: Receiver, *secrets: str, kinds: tuple[str, ...] = ("alert",)) -> Endpoint:
    return Endpoint(name, receiver.url, secrets or (NEW,), kinds, private=True)


def made(first: int, last: int, kind: str = "alert") -> list[Output]:
    return [Output(kind, b"c", f"alr_{n}", 1_000 + n, b'{"n":%d}' % n) for n in range(first, last)]


def named(letters: MemorySink) -> list[str]:
    """Ids that dead letters say are not delivered."""
    return [
        identity
        for _, _, letter in letters.sent
        for identity in msgspec.json.decode(letter.data)["raw_redacted"].split("\n")
    ]


def test_the_signature_of_the_specification() -> None:
    found = signature(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_tells_a_replayed_a_changed_and_a_foreign_delivery() -> None:
    headers = {"webhook-id": "alr_1", "webhook-timestamp": "1000", "webhook-signature": ""}
    headers["webhook-signature"] = signature([OLD, NEW], "alr_1", 1_000, b"{}")
    assert verify(OLD, headers, b"{}", 1_010.0)
    assert verify(NEW, headers, b"{}", 1_010.0)
    assert not verify(OTHER, headers, b"{}", 1_010.0)
    assert not verify(NEW, headers, b"{ }", 1_010.0)
    assert not verify(NEW, headers, b"{}", 1_400.0)
    assert not verify(NEW, {**headers, "webhook-id": "alr_2"}, b"{}", 1_010.0)
    assert not verify(NEW, {**headers, "webhook-timestamp": "1400"}, b"{}", 1_400.0)


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", False, True),
        ("198.18.0.1", False, True),
        ("::1", False, True),
        ("fe80::1%eth0", False, True),
        ("fd00::1", False, True),
        ("fec0::1", False, True),
        ("::ffff:169.254.169.254", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a9fe:a9fe", False, True),
        ("2002:7f00:1::", False, True),
        ("::127.0.0.1", False, True),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("::ffff:0.0.0.0", False, False),
    ],
)
def test_addresses_that_are_targets(address: str, public: bool, private: bool) -> None:
    assert (address_refused(address, False) is None) == public
    assert (address_refused(address, True) is None) == private


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("CRM", {}, "lower-case letters"),
        ("crm", {"url": "http://example.com/h"}, "https://"),
        ("crm", {"url": "ftp://example.com/h", "private": True}, "https://"),
        ("crm", {"url": "https://u:p@example.com/"}, "without user"),
        ("crm", {"url": "https://example.com:99999/"}, "port"),
        ("crm", {"url": "https://169.254.169.254/latest"}, "private = true"),
        ("crm", {"url": "https://[::ffff:127.0.0.1]/"}, "private = true"),
        ("crm", {"url": 5}, "at most"),
        ("crm", {"secrets": []}, "1 to 4"),
        ("crm", {"secrets": ["hunter2"]}, "24 to 64"),
        ("crm", {"secrets": ["whsec_c2hvcnQ="]}, "24 to 64"),
        ("crm", {"kinds": ["payment"]}, "decision, alert"),
        ("crm", {"kinds": []}, "decision, alert"),
        ("crm", {"private": "yes"}, "true or false"),
        ("crm", {"retries": 5}, "no such field: retries"),
    ],
)
def test_endpoints_that_are_refused(name: str, changes: dict[str, Any], told: str) -> None:
    table = {"url": "https://example.com/h", "secrets": [NEW], **changes}
    with pytest.raises(ValueError, match=told) as caught:
        parse_endpoint(name, table)
    assert "hunter2" not in str(caught.value)


async def test_each_output_of_its_kinds_arrives_signed_by_every_secret(redis: RedisServer) -> None:
    async with Receiver(OLD, NEW, OTHER) as receiver, Receiver(NEW) as decisions:
        endpoints = endpoint("crm", receiver, OLD, NEW), endpoint("all", decisions, kinds=("alert", "decision"))
        async with sink_of(redis, *endpoints) as sink:
            sink.take(0)
            await sink.send(0, 0, [*made(0, 20), *made(20, 25, "decision")])
            await receiver.until(lambda: len(receiver.got) >= 20 and len(decisions.got) >= 25)
            await sink.send(0, 10, [*made(10, 20), *made(20, 25, "decision")])  # as after a crash
            await asyncio.sleep(0.1)
            assert await sink.queue.length(0, "crm") == 0
        assert sorted(d.id for d in receiver.got) == sorted(o.id for o in made(0, 20))
        assert all(delivery.signed == [True, True, False] for delivery in receiver.got)
        assert sorted(d.id for d in decisions.got) == sorted(o.id for o in made(0, 25))
        assert receiver.got[0].event["type"] == "steward.alert"
        assert receiver.got[0].event["id"] == receiver.got[0].id


async def test_failures_are_tried_again_until_they_work(redis: RedisServer) -> None:
    results: list[str] = []
    async with Receiver(NEW, answer=lambda n: (500, 429, 204, 404)[n % 4]) as receiver:
        sink = WebhookSink(
            [endpoint("crm", receiver)], redis.url, prefix="t", letters=MemorySink(), options=QUICK,
            on_result=lambda name, result: results.append(f"{name} {result}"),
        )  # fmt: skip
        sink.take(0)
        await sink.send(0, 0, made(0, 10))
        await receiver.until(lambda: results.count("crm delivered") == 10)
        await sink.close()
    assert len(set(receiver.accepted)) == 10
    assert results.count("crm failed") >= 10


async def test_a_dead_endpoint_holds_up_nobody_and_what_does_not_fit_is_named(redis: RedisServer) -> None:
    letters, kafka = MemorySink(), MemorySink()
    async with Receiver(NEW, answer=lambda _: 503) as dead, Receiver(NEW) as alive:
        options = WebhookOptions(held_max=10, timeout_s=1.0, patience=QUICK.patience)
        async with sink_of(
            redis, endpoint("dead", dead), endpoint("alive", alive), options=options, letters=letters
        ) as webhooks:
            sink = FanOut([webhooks, kafka])
            sink.take(0)
            for first in range(0, 40, 4):
                await asyncio.wait_for(sink.send(0, first, made(first, first + 4)), 5.0)
                await alive.until(lambda first=first: len(alive.accepted) >= first + 4)  # type: ignore[misc]
            assert await webhooks.queue.length(0, "dead") == 10
            assert sorted(alive.accepted) == sorted(kafka.ids())
            assert len(kafka.ids()) == 40
            assert named(letters) == [f"alr_{n}" for n in range(10, 40)]
            letter = msgspec.json.decode(letters.sent[0][2].data)
            assert letter["reason"] == UNDELIVERED
            assert letter["detail"] == "webhook dead: too many deliveries are waiting for it"
            dead.answer = lambda _: 200
            await dead.until(lambda: len(dead.accepted) == 10)
            await sink.send(0, 40, made(40, 44))
            await dead.until(lambda: len(dead.accepted) == 14)
            assert sorted([*dead.accepted, *named(letters)]) == sorted(kafka.ids())


async def test_what_waits_is_delivered_by_the_next_owner(redis: RedisServer) -> None:
    async with Receiver(NEW) as receiver:
        port = receiver.port
    gone = Receiver(NEW)
    gone.port = port
    async with sink_of(redis, endpoint("crm", gone)) as sink:
        sink.take(3)
        await sink.send(3, 0, made(0, 5))
        await asyncio.sleep(0.1)
        await sink.release(3)
        assert await sink.queue.length(3, "crm") == 5
    async with gone, sink_of(redis, endpoint("crm", gone)) as sink:
        sink.take(2)
        await asyncio.sleep(0.1)
        assert not gone.got  # not its shard
        sink.take(3)
        await gone.until(lambda: len(gone.accepted) == 5)


async def test_a_delivery_is_given_up_after_its_time_and_named(redis: RedisServer) -> None:
    letters = MemorySink()
    options = WebhookOptions(patience=Patience(0.02, 0.05, 0.2))
    results: list[str] = []
    async with Receiver(NEW, answer=lambda _: 500) as receiver:
        sink = WebhookSink(
            [endpoint("crm", receiver)], redis.url, prefix="t", letters=letters, options=options,
            on_result=lambda name, result: results.append(result),
        )  # fmt: skip
        sink.take(0)
        await sink.send(0, 0, made(0, 3))
        await receiver.until(lambda: results.count("given_up") == 3)
        assert len(receiver.got) > 3
        assert sorted(named(letters)) == ["alr_0", "alr_1", "alr_2"]
        assert "HTTP 500" in msgspec.json.decode(letters.sent[0][2].data)["detail"]
        assert await sink.queue.length(0, "crm") == 0
        await sink.close()
    assert not receiver.accepted


async def test_nothing_is_dropped_while_no_dead_letter_can_be_written(redis: RedisServer) -> None:
    letters = MemorySink()
    letters.failures = 1
    options = WebhookOptions(held_max=2)
    endpoint = Endpoint("crm", "https://receiver.example/", (NEW,))
    async with sink_of(redis, endpoint, options=options, letters=letters) as sink:
        with pytest.raises(SinkUnavailable):
            await sink.send(0, 0, made(0, 5))
        await sink.send(0, 0, made(0, 5))
    assert named(letters) == ["alr_2", "alr_3", "alr_4"]


async def test_a_redirect_is_not_followed(redis: RedisServer) -> None:
    async with Receiver(NEW) as inside:
        async with Receiver(NEW, answer=lambda _: 307, location=inside.url) as receiver:
            poster = Poster(endpoint("crm", receiver), timeout_s=2.0, connections=1)
            attempt = await poster.post("alr_1", b"{}", 1.0)
            await poster.close()
        assert attempt == Attempt(False, "HTTP 307: redirects are not followed")
        assert not inside.got


class Names(AbstractResolver):
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        common = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**common, "host": address} for address in self.addresses]

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("169.254.169.254",), ("93.184.215.14", "10.0.0.1")])
async def test_a_name_of_a_private_address_is_refused_before_anything_is_sent(addresses: tuple[str, ...]) -> None:
    async with Receiver(NEW) as receiver:
        public = Endpoint("crm", f"https://receiver.example:{receiver.port}/", (NEW,))
        poster = Poster(public, timeout_s=2.0, connections=1, resolver=Names(*addresses))
        attempt = await poster.post("alr_1", b"{}", 1.0)
        await poster.close()
    assert not attempt.ok
    assert "private, local or reserved" in attempt.detail
    assert not receiver.got


async def test_a_literal_address_is_checked_at_the_attempt_too() -> None:
    async with Receiver(NEW) as receiver:
        poster = Poster(Endpoint("crm", receiver.url, (NEW,)), timeout_s=2.0, connections=1)
        attempt = await poster.post("alr_1", b"{}", 1.0)
        await poster.close()
    assert "private, local or reserved" in attempt.detail
    assert not receiver.got


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    async with Receiver(NEW) as receiver:
        target = Endpoint("crm", f"http://receiver.example:{receiver.port}/", (NEW,), private=True)
        poster = Poster(target, timeout_s=2.0, connections=1, resolver=Names("127.0.0.1"))
        assert (await poster.post("alr_1", b"{}", 1.0)).ok
        await poster.close()
    resolver = CheckedResolver(False, Names("93.184.215.14"))
    assert [found["host"] for found in await resolver.resolve("receiver.example")] == ["93.184.215.14"]


async def test_a_receiver_that_hangs_is_left_after_its_time() -> None:
    async with Receiver(NEW, answer=lambda _: -5) as receiver:
        poster = Poster(endpoint("crm", receiver), timeout_s=0.2, connections=1)
        assert await poster.post("alr_1", b"{}", 1.0) == Attempt(False, "no answer in time")
        await poster.close()


async def test_what_the_receiver_asks_for_is_read() -> None:
    asked = {"410": 410, "503": 503}
    async with Receiver(NEW, answer=lambda n: list(asked.values())[n - 1], **{"retry-after": "120"}) as receiver:
        poster = Poster(endpoint("crm", receiver), timeout_s=2.0, connections=1)
        assert await poster.post("alr_1", b"{}", 1.0) == Attempt(False, "HTTP 410", True, 120.0)
        assert await poster.post("alr_1", b"{}", 1.0) == Attempt(False, "HTTP 503", False, 120.0)
        await poster.close()


def test_the_breaker_leaves_an_endpoint_alone_for_longer_and_longer() -> None:
    breaker, failed, waits, now = Breaker(), Attempt(False, "HTTP 500"), [], 0.0
    for _ in range(FAILURES_MAX - 1):
        assert not breaker.failed(now, failed)
    assert not breaker.wait_s(now)
    while not waits or waits[-1] < BREAK_MAX_S:
        assert breaker.failed(now, failed)
        assert not breaker.failed(now, failed)  # one that was on its way changes nothing
        waits.append(breaker.wait_s(now))
        now += waits[-1]
    assert waits == sorted(waits)
    assert breaker.probing
    assert breaker.worked()
    assert not breaker.probing
    assert not breaker.failed(now, failed)
    assert breaker.failed(now, Attempt(False, "HTTP 410", gone=True))
    assert breaker.wait_s(now) == BREAK_MAX_S


def test_waits_grow_and_are_spread() -> None:
    patience = Patience(5.0, 3_600.0, 86_400.0)
    assert [patience.wait_s(n, 1.0) for n in range(1, 7)] == [5.0, 20.0, 80.0, 320.0, 1_280.0, 3_600.0]
    assert patience.wait_s(1, 0.0) == 2.5


@pytest.fixture
async def queue(redis: RedisServer) -> AsyncIterator[Callable[..., WebhookQueue]]:
    client = RedisClient(redis.url, RedisOptions())
    yield lambda held_max=10: WebhookQueue(client, "t", held_max)
    await client.close()


async def test_the_queue_takes_each_ordinal_once_up_to_its_bound(queue: Callable[..., WebhookQueue]) -> None:
    waiting = queue(3)
    offered = [Offered(n, f"alr_{n}", b"body %d" % n) for n in range(5)]
    assert await waiting.put(0, "crm", offered[:2], 2, 1_000) == 2
    assert await waiting.put(0, "crm", offered, 5, 1_000) == 3
    assert await waiting.length(0, "crm") == 3
    assert await waiting.put(0, "crm", offered, 5, 1_000) == 3
    await waiting.delivered(0, "crm", "alr_0")
    assert await waiting.put(0, "crm", offered, 5, 1_000) == 4
    await waiting.skip(0, "crm", 5)
    await waiting.delivered(0, "crm", "alr_1")
    assert await waiting.put(0, "crm", offered, 5, 1_000) == 5  # told elsewhere: not queued any more
    assert [item.id for item in await waiting.due(0, "crm", 1_000, 10)] == ["alr_2", "alr_3"]
    await waiting.postponed(0, "crm", "alr_2", 9_000, 1)
    assert [item[:3] for item in await waiting.due(0, "crm", 9_000, 10)] == [("alr_3", 0, 1_000), ("alr_2", 1, 1_000)]
    assert [item.body for item in await waiting.due(0, "crm", 9_000, 10)] == [b"body 3", b"body 2"]
    assert await waiting.next_due_ms(0, "crm") == 1_000
    assert await waiting.next_due_ms(1, "crm") is None
    await waiting.postponed(0, "crm", "alr_9", 9_000, 1)
    assert await waiting.length(0, "crm") == 2


async def test_the_documented_user_may_do_what_the_queue_does(redis: RedisServer) -> None:
    line = STATE[STATE.index("ACL SETUSER") :].split("\n\n")[0].replace(">PASSWORD", ">secret")
    admin = RedisClient(redis.url, RedisOptions())
    await admin.call(*line.split())
    user = RedisClient(redis.url.replace("unix://", "unix://steward:secret@"), RedisOptions())
    waiting = WebhookQueue(user, "st", 10)
    assert await waiting.put(0, "crm", [Offered(0, "alr_0", b"")], 1, 0) == 1
    assert len(await waiting.due(0, "crm", 1, 5)) == 1
    await waiting.postponed(0, "crm", "alr_0", 5, 1)
    assert await waiting.next_due_ms(0, "crm") == 5
    await waiting.delivered(0, "crm", "alr_0")
    await waiting.skip(0, "crm", 9)
    assert await waiting.length(0, "crm") == 0
    await user.close()
    await admin.close()


async def test_a_long_run_of_outputs_is_queued_in_pieces(
    queue: Callable[..., WebhookQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.adapters.webhook_queue.PUT_ITEMS_MAX", 7)
    offered = [Offered(n * 2, f"alr_{n}", b"") for n in range(50)]
    assert await queue(40).put(0, "crm", offered, 100, 0) == 40
    assert await queue(100).put(0, "crm", offered, 100, 0) == 50
    assert await queue(100).length(0, "crm") == 50


async def test_a_sink_that_failed_is_gone_on_with() -> None:
    first, second = MemorySink(), MemorySink()
    second.failures = 1
    both = FanOut([first, second])
    with pytest.raises(SinkUnavailable):
        await both.send(0, 0, made(0, 4))
    await both.send(0, 0, made(0, 4))
    await both.send(0, 4, made(4, 6))
    assert [ordinal for _, ordinal, _ in first.sent] == list(range(6))
    assert [ordinal for _, ordinal, _ in second.sent] == [0, 1, *range(6)]
