"""The registry of workers in Redis: a set of names, and a value each that expires."""

from typing import Final

import msgspec

from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_errors import translated
from engine.ports.workers import Worker

WORKER_TTL_S: Final = 15  # several missed signs of life

_WORKER: Final = msgspec.json.Decoder(Worker)


class RedisWorkers:
    """Implements `engine.ports.workers.WorkerRegistry`: `PREFIX:workers` and `PREFIX:worker:NAME`."""

    def __init__(
        self, url: str, *, prefix: str, options: RedisOptions | None = None, ttl_s: int = WORKER_TTL_S
    ) -> None:
        """`url` and `prefix` as for `RedisStore`."""
        self._client = RedisClient(url, options or RedisOptions())
        self._names = f"{prefix}:workers"
        self._one = f"{prefix}:worker:"
        self._ttl_s = ttl_s

    async def sign_in(self, worker: Worker) -> None:
        """See `WorkerRegistry.sign_in`. The name last: a name without a value is what `workers` clears away."""
        with translated(self._client.where):
            await self._client.call("SET", self._one + worker.worker, msgspec.json.encode(worker), "EX", self._ttl_s)
            await self._client.call("SADD", self._names, worker.worker)

    async def sign_out(self, name: str) -> None:
        """See `WorkerRegistry.sign_out`."""
        with translated(self._client.where):
            await self._client.call("SREM", self._names, name)
            await self._client.call("DEL", self._one + name)

    async def workers(self) -> list[Worker]:
        """See `WorkerRegistry.workers`. Names whose value has expired are taken off the list."""
        found = []
        with translated(self._client.where):
            for name in sorted(await self._client.call("SMEMBERS", self._names)):
                value = await self._client.call("GET", self._one.encode() + name)
                if value is None:
                    await self._client.call("SREM", self._names, name)
                    continue
                found.append(_WORKER.decode(value))
        return found

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()
