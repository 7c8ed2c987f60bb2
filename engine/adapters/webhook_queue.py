"""What waits for webhook endpoints, durable in Redis: one bounded queue for each shard and endpoint.

A queue's keys share the shard's hash tag, so that a Redis that goes back in time takes queue, outbox and state back to
one moment. docs/state.md describes the keys.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.adapters.redis_client import RedisClient, Script
from engine.adapters.redis_errors import translated
from engine.adapters.redis_keys import WEBHOOK, Keys
from engine.adapters.redis_store import script

_ITEM: Final = struct.Struct("<IQ")
PUT_ITEMS_MAX: Final = 500  # of one call: bounds the time the server spends on it


class Offered(NamedTuple):
    """An output for an endpoint: its ordinal in the shard, its id, and the body that is posted."""

    ordinal: int
    id: str
    body: bytes


class Waiting(NamedTuple):
    """A delivery that is due: tries so far, when it was queued (ms since 1970), the body."""

    id: str
    attempts: int
    first_ms: int
    body: bytes


class WebhookQueue:
    """The queues of every endpoint. Every method raises `StoreUnavailable` while Redis is away."""

    def __init__(self, client: RedisClient, prefix: str, held_max: int) -> None:
        """`held_max` bounds each queue, in deliveries."""
        self._client = client
        self._keys = Keys(prefix)
        self._held_max = held_max

    async def put(self, shard: int, endpoint: str, offered: Sequence[Offered], after: int, now_ms: int) -> int:
        """Queue outputs that were not queued before; `after` is the ordinal after the last output of the shard.

        Returns how many, from the first on, are taken care of: fewer than all where the queue is full. What is taken
        is never taken again, also if it has been delivered since.
        """
        key = self._key(shard, endpoint)
        taken = 0
        while True:
            part = offered[taken : taken + PUT_ITEMS_MAX]
            last = taken + len(part) == len(offered)
            end = after if last else offered[taken + len(part)].ordinal
            arguments = [field for item in part for field in item]
            with translated(self._client.where):
                done = int(await self._client.run(_script(), key, "put", self._held_max, end, now_ms, *arguments))
            taken += done
            if last or done < len(part):
                return taken

    async def skip(self, shard: int, endpoint: str, ordinal: int) -> None:
        """Note that outputs below `ordinal` need no queueing: somebody was told that they are not delivered."""
        with translated(self._client.where):
            await self._client.run(_script(), self._key(shard, endpoint), "skip", ordinal)

    async def due(self, shard: int, endpoint: str, now_ms: int, limit: int) -> list[Waiting]:
        """At most `limit` deliveries whose time has come, the most overdue first."""
        key = self._key(shard, endpoint)
        with translated(self._client.where):
            ids = await self._client.call("ZRANGEBYSCORE", key + b":q", "-inf", now_ms, "LIMIT", 0, limit)
            items = await self._client.call("HMGET", key + b":i", *ids) if ids else []
        return [_waiting(name, item) for name, item in zip(ids, items, strict=True) if item is not None]

    async def next_due_ms(self, shard: int, endpoint: str) -> int | None:
        """When the next delivery is due; None where nothing waits."""
        with translated(self._client.where):
            found = await self._client.call("ZRANGE", self._key(shard, endpoint) + b":q", 0, 0, "WITHSCORES")
        return _score(found)

    async def length(self, shard: int, endpoint: str) -> int:
        """How many deliveries wait."""
        with translated(self._client.where):
            return int(await self._client.call("HLEN", self._key(shard, endpoint) + b":i"))

    async def delivered(self, shard: int, endpoint: str, identity: str) -> None:
        """Drop a delivery: it has arrived, or somebody was told that it will not."""
        with translated(self._client.where):
            await self._client.run(_script(), self._key(shard, endpoint), "settle", identity, "", 0)

    async def postponed(self, shard: int, endpoint: str, identity: str, due_ms: int, attempts: int) -> None:
        """Try a delivery again at `due_ms`."""
        with translated(self._client.where):
            await self._client.run(_script(), self._key(shard, endpoint), "settle", identity, due_ms, attempts)

    def _key(self, shard: int, endpoint: str) -> bytes:
        return self._keys.base(shard) + WEBHOOK + endpoint.encode()


def _waiting(name: bytes, item: bytes) -> Waiting:
    attempts, first_ms = _ITEM.unpack_from(item)
    return Waiting(name.decode(), attempts, first_ms, item[_ITEM.size :])


def _script() -> Script:
    return script("webhook_queue.lua")


def _score(found: list[object]) -> int | None:
    """The score out of a ZRANGE reply, whose shape depends on the client's version."""
    if not found:
        return None
    last = found[-1]
    score = last[1] if isinstance(last, (list, tuple)) else last
    return int(float(score))  # type: ignore[arg-type]
