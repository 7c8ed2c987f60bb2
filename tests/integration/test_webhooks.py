"""Webhooks of a worker and of `serve`: a receiver that fails and a worker that is killed lose nothing."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable

from engine.adapters.embedded import RedisServer
from engine.adapters.processes import free_port
from tests.integration.http_calls import call
from tests.integration.test_serve import START_SECONDS, payments, serve
from tests.support.counting import replay
from tests.support.deployment import Deployment
from tests.support.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
EVENTS = 400


def endpoints(**receivers: Receiver) -> str:
    return json.dumps(
        {
            name: {"url": receiver.url, "secrets": [SECRET], "kinds": ["decision"], "private": True}
            for name, receiver in receivers.items()
        }
    )


async def test_a_killed_worker_and_a_failing_receiver_lose_nothing(deploy: Callable[..., Deployment]) -> None:
    async with Receiver(SECRET, answer=lambda n: 503 if n % 3 == 0 else 204) as shaky, Receiver(SECRET) as port_of:
        dead = Receiver(SECRET)
        dead.port = free_port()
        deployment = deploy(
            STEWARD_BATCH_EVENTS_MAX="20",
            STEWARD_WEBHOOKS_ENDPOINTS=endpoints(shaky=shaky, dead=dead, fine=port_of),
            STEWARD_WEBHOOKS_RETRY_FIRST="100ms",
            STEWARD_WEBHOOKS_RETRY_MAX="200ms",
        )
        await deployment.create_topics()
        await deployment.produce(b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 31) for n in range(EVENTS))
        worker = deployment.start()
        await port_of.until(lambda: len(port_of.accepted) > 50, 60.0)
        worker.kill()
        last = deployment.start()
        logged = await deployment.events()
        wanted = {identity for shard in (0, 1) for identity in replay(logged[shard], shard)}
        assert len(wanted) == EVENTS
        await shaky.until(lambda: set(shaky.accepted) == wanted == set(port_of.accepted), 60.0)
        sent = Counter(output.id for output in await deployment.outputs(ids=EVENTS))
        assert set(sent) == wanted
        assert set(sent.values()) == {1}
        assert all(delivery.signed == [True] for delivery in shaky.got)
        async with dead:  # it comes back: what waited for it is still there
            await dead.until(lambda: set(dead.accepted) == wanted, 60.0)
        assert last.terminate()[0] == 0


async def test_serve_posts_what_it_decides_and_goes_on_after_a_kill(redis: RedisServer) -> None:
    receiver = Receiver(SECRET)
    receiver.port = free_port()
    settings = {
        "STEWARD_REDIS_PREFIX": "webhooks",
        "STEWARD_WEBHOOKS_ENDPOINTS": endpoints(till=receiver),
        "STEWARD_WEBHOOKS_RETRY_FIRST": "100ms",
        "STEWARD_WEBHOOKS_RETRY_MAX": "200ms",
    }
    events = payments(6)
    process, port = serve(redis, **settings)
    with await asyncio.to_thread(process.start, START_SECONDS):
        for event in events:
            assert (await asyncio.to_thread(call, port, "/v1/decisions", event))[0] == 200
        await asyncio.to_thread(process.kill)
    process, port = serve(redis, **settings)
    async with receiver:
        with await asyncio.to_thread(process.start, START_SECONDS):
            wanted = {json.loads(event)["event_id"] for event in events}
            await receiver.until(lambda: {d.event["data"]["event_id"] for d in receiver.got} == wanted, 60.0)
            counted = b'steward_webhook_deliveries_total{endpoint="till",result="delivered"}'
            await receiver.until(lambda: counted in call(port, "/metrics")[1])
