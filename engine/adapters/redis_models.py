"""The archive of fraud models in Redis: a value each, notes in one hash, and a list of what the sole owner is told.

| key | holds |
|---|---|
| `PREFIX:models:HASH` | a snapshot, as it was published |
| `PREFIX:models` | hash: `SHARD:HASH` to the note of it (JSON) |
| `PREFIX:models:orders` | list: control events for an owner without a log |
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_errors import translated
from engine.ports.models import ModelNote

MODELS_TTL_S: Final = 35 * 86_400
"""Since it was published, or its shard opened with it: 35 versions a shard of the default learner, some 7 MB."""

NAMED_TTL_S: Final = 400 * 86_400
"""Since a control event named it: as long as the rule sets of a history are kept (`redis_rules`)."""

NOTES_MAX: Final = 20_000
"""Notes after which those of forgotten snapshots are cleared away: at most so many as 35 days of an hourly learner in
some twenty shards; `notes` does it as well."""

_NOTE: Final = msgspec.json.Decoder(ModelNote)


class RedisModels:
    """Implements `engine.ports.models.ModelArchive` and `ModelOrders`. Each instance belongs to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        options: RedisOptions | None = None,
        ttl_s: int = MODELS_TTL_S,
        named_ttl_s: int = NAMED_TTL_S,
        notes_max: int = NOTES_MAX,
    ) -> None:
        """`url` and `prefix` as for `RedisStore`."""
        self._client = RedisClient(url, options or RedisOptions())
        self._notes = f"{prefix}:models"
        self._one = f"{prefix}:models:"
        self._orders = f"{prefix}:models:orders"
        self._ttl_s = ttl_s
        self._named_ttl_s = named_ttl_s
        self._notes_max = notes_max

    async def put(self, note: ModelNote, data: bytes) -> None:
        """See `ModelArchive.put`. The note last: a snapshot without a note can still be had by its name."""
        key = self._one + note.model
        with translated(self._client.where):
            if await self._client.call("SET", key, data, "EX", self._ttl_s, "NX") is None:
                await self._longer(key, self._ttl_s)
            added = await self._client.call(
                "HSETNX", self._notes, f"{note.shard}:{note.model}", msgspec.json.encode(note)
            )
            if added and int(await self._client.call("HLEN", self._notes)) > self._notes_max:
                await self.notes()

    async def get(self, model: str) -> bytes | None:
        """See `ModelArchive.get`."""
        with translated(self._client.where):
            data: bytes | None = await self._client.call("GET", self._one + model)
        return data

    async def keep(self, model: str) -> None:
        """See `ModelArchive.keep`."""
        with translated(self._client.where):
            await self._longer(self._one + model, self._named_ttl_s)

    async def notes(self) -> list[ModelNote]:
        """See `ModelArchive.notes`. Notes of snapshots that have been forgotten, or that cannot be read, go."""
        found = []
        with translated(self._client.where):
            flat = await self._client.call("HGETALL", self._notes)
            held = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            for field, value in held:
                try:
                    note = _NOTE.decode(value)
                except msgspec.MsgspecError:
                    note = None
                if note is not None and await self._client.call("EXISTS", self._one + note.model):
                    found.append(note)
                else:
                    await self._client.call("HDEL", self._notes, field)
        return sorted(found, key=lambda note: (note.boundary_ms, note.archived_ms, note.shard, note.model))

    async def order(self, record: bytes) -> None:
        """See `ModelOrders.order`."""
        with translated(self._client.where):
            await self._client.call("RPUSH", self._orders, record)

    async def orders(self) -> Sequence[bytes]:
        """See `ModelOrders.orders`."""
        with translated(self._client.where):
            waiting: list[bytes] = await self._client.call("LRANGE", self._orders, 0, -1)
        return waiting

    async def done(self, record: bytes) -> None:
        """See `ModelOrders.done`."""
        with translated(self._client.where):
            await self._client.call("LREM", self._orders, 1, record)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def _longer(self, key: str, ttl_s: int) -> None:
        """Keep a value that long from now on, unless it is kept longer."""
        left_s = int(await self._client.call("TTL", key))
        if 0 <= left_s < ttl_s:
            await self._client.call("EXPIRE", key, ttl_s)
