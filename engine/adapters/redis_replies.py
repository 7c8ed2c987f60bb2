"""Replies of committed decisions, from the node that decided to the node where a caller waits: Redis pub/sub.

At most once: what is published while nobody listens, or over a breaking connection, is gone. A waiter that hears
nothing in time asks `StateStore.answer`, where the same decision is kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from engine.adapters.redis_client import RedisOptions, without_secrets
from engine.adapters.redis_errors import translated


class RedisReplies:
    """Listens to channels of one Redis; of a cluster, through any one node, for publishing reaches all of them."""

    def __init__(self, url: str, options: RedisOptions | None = None) -> None:
        """`url` as for `RedisStore`."""
        options = options or RedisOptions()
        self._where = without_secrets(url)
        self._redis = Redis.from_url(
            url.replace("-cluster", "", 1) if "-cluster://" in url else url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=options.connect_timeout_seconds,
            socket_timeout=options.reply_timeout_seconds,
        )

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Payloads published to `channel` from the moment the block is entered.

        Entering and iterating raise `StoreUnavailable` when the connection is lost: subscribe again then.
        """
        pubsub = self._redis.pubsub()
        try:
            with translated(self._where):
                await pubsub.subscribe(channel)
                await pubsub.get_message(timeout=None)  # the server's word that it listens
            yield self._payloads(pubsub)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _payloads(self, pubsub: Any) -> AsyncIterator[bytes]:
        with translated(self._where):
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
                if message is not None:
                    yield message["data"]

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
