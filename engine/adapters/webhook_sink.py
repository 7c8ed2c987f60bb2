"""Outputs to webhook endpoints, through a durable, bounded queue for each.

`send` returns once what it was given is queued, so that a receiver that is slow or dead holds up nobody. Where a queue
is full, the outputs that do not fit are named in a dead letter, reason `webhook_undelivered`, and not delivered to that
endpoint; so is a delivery that is given up after its time. The outputs themselves stay where else they go.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import random
from typing import Final

import msgspec

from engine.adapters.cloudevents import cloud_event
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.webhook_courier import CONCURRENCY, Courier, OnResult, Patience, Post
from engine.adapters.webhook_post import Poster
from engine.adapters.webhook_queue import Offered, WebhookQueue
from engine.domain.ids import output_id
from engine.domain.outputs import DeadLetter
from engine.domain.webhooks import Endpoint
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable
from engine.ports.store import StoreUnavailable

UNDELIVERED: Final = "webhook_undelivered"
IDS_MAX: Final = 1_000  # in one dead letter

_encode = msgspec.json.Encoder().encode


class Letter(msgspec.Struct, frozen=True):
    """A dead letter as a sink takes it; fits `engine.ports.sink.SinkOutput`."""

    kind: str
    key: bytes
    id: str
    time_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Limits of the webhook sink.

    Attributes:
        held_max: deliveries that may wait for one endpoint in one shard.
        timeout_s: longest an attempt may take.
        patience: how a failed delivery is tried again, and when it is given up.
    """

    held_max: int = 2_000
    timeout_s: float = 15.0
    patience: Patience = field(default_factory=Patience)


def _ignore(endpoint: str, result: str) -> None:
    """Nobody counts."""


def _poster(endpoint: Endpoint, options: WebhookOptions) -> Post:
    return Poster(endpoint, timeout_s=options.timeout_s, connections=CONCURRENCY)


class WebhookSink(Sink):
    """`engine.ports.sink.Sink` over Redis queues and a courier for each endpoint."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        redis_url: str,
        *,
        prefix: str,
        letters: Sink,
        options: WebhookOptions | None = None,
        redis: RedisOptions | None = None,
        on_result: OnResult = _ignore,
        new_poster: Callable[[Endpoint, WebhookOptions], Post] = _poster,
        now_s: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random,
    ) -> None:
        """`letters` takes dead letters about what is not delivered, at least once; it is not closed here."""
        options = options or WebhookOptions()
        self._client = RedisClient(redis_url, redis or RedisOptions())
        self._queue = WebhookQueue(self._client, prefix, options.held_max)
        self._letters = letters
        self._on_result = on_result
        self._now_s = now_s
        self._endpoints = endpoints
        self._couriers = {
            endpoint.name: Courier(
                endpoint.name,
                self._queue,
                new_poster(endpoint, options),
                patience=options.patience,
                now_s=now_s,
                random=jitter,
                give_up=self._undelivered,
                on_result=on_result,
            )
            for endpoint in endpoints
        }

    @property
    def queue(self) -> WebhookQueue:
        """What waits."""
        return self._queue

    def take(self, shard: int) -> None:
        """See `Sink.take`: what waits for the shard's endpoints is delivered from now on."""
        for courier in self._couriers.values():
            courier.take(shard)

    async def release(self, shard: int) -> None:
        """See `Sink.release`."""
        for courier in self._couriers.values():
            await courier.release(shard)

    async def close(self) -> None:
        """Stop delivering and let go of every connection."""
        for courier in self._couriers.values():
            await courier.close()
        await self._client.close()

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`: returns once everything is queued, or named in a dead letter that is safe."""
        after = first + len(outputs)
        for endpoint in self._endpoints:
            offered = [
                Offered(first + i, output.id, cloud_event(output))
                for i, output in enumerate(outputs)
                if output.kind in endpoint.kinds
            ]
            if not offered:
                continue
            try:
                taken = await self._queue.put(shard, endpoint.name, offered, after, int(self._now_s() * 1000))
                if taken < len(offered):
                    ids = [item.id for item in offered[taken:]]
                    await self._undelivered(endpoint.name, shard, ids, "too many deliveries are waiting for it")
                    await self._queue.skip(shard, endpoint.name, after)
                    for _ in ids:
                        self._on_result(endpoint.name, "refused")
            except StoreUnavailable as error:
                raise SinkUnavailable(str(error)) from error
            self._couriers[endpoint.name].wake()

    async def _undelivered(self, endpoint: str, shard: int, ids: list[str], why: str) -> None:
        """Say durably that outputs do not reach an endpoint: one dead letter for up to `IDS_MAX` of them."""
        letters = []
        for start in range(0, len(ids), IDS_MAX):
            named = ids[start : start + IDS_MAX]
            text = "\n".join(named)
            letter = DeadLetter(
                reason=UNDELIVERED,
                detail=f"webhook {endpoint}: {why}",
                source={"webhook": endpoint, "shard": shard, "outputs": len(named)},
                raw_sha256=hashlib.sha256(text.encode()).hexdigest(),
                raw_redacted=text,
            )
            identity = output_id("dead_letter", UNDELIVERED, endpoint, *named)
            letters.append(Letter("dead_letter", b"", identity, int(self._now_s() * 1000), _encode(letter)))
        await self._letters.send(shard, 0, letters)
