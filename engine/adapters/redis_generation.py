"""All state of a deployment under one key prefix in Redis, Valkey or Redis Cluster; see `engine.ports.generation`.

`PREFIX:layout` says whether it is in service, to every process that starts; the layout in each shard's head says so to
those that run already, with each commit and delivery (seal.lua). `PREFIX:moved` is what was said when it was closed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from engine.adapters.commits import LAYOUT, OUT_OF_SERVICE
from engine.adapters.redis_client import RedisClient, RedisOptions, chunks
from engine.adapters.redis_copies import RedisCopies
from engine.adapters.redis_errors import translated
from engine.adapters.redis_keys import HEAD, Keys
from engine.adapters.redis_store import RedisStore, script
from engine.adapters.redis_workers import RedisWorkers
from engine.ports import generation
from engine.ports.copies import Piece
from engine.ports.store import Head

SCAN_COUNT: Final = 500
DELETE_KEYS_MAX: Final = 500  # of one round trip
MEMBERS_MAX: Final = 500  # of one command
FEATURES: Final = b"features"  # the shared layout, in an archive: the mover writes its own


class RedisGeneration:
    """Implements `engine.ports.generation.Generation`. Each instance belongs to one event loop."""

    def __init__(self, url: str, *, prefix: str, options: RedisOptions | None = None) -> None:
        """`url` and `prefix` as for `RedisStore`."""
        options = options or RedisOptions()
        self.store = RedisStore(url, prefix=prefix, options=options)
        self._copies = RedisCopies(url, prefix=prefix, options=options, rest=0.0)  # nobody else is at work
        self._client = RedisClient(url, options)
        self._workers = RedisWorkers(url, prefix=prefix, options=options)
        self._keys = Keys(prefix)
        self._prefix = f"{prefix}:".encode()
        self._moved = self._prefix + b"moved"

    async def close(self) -> None:
        """Close every connection."""
        await self._workers.close()
        await self._copies.close()
        await self.store.close()
        await self._client.close()

    async def state(self) -> str:
        """See `Generation.state`."""
        with translated(self._client.where):
            layout = await self._client.call("GET", self._keys.layout())
        if layout is None:
            return generation.EMPTY
        return generation.OUT_OF_SERVICE if int(layout) == OUT_OF_SERVICE else generation.IN_SERVICE

    async def note(self) -> str:
        """See `Generation.note`."""
        with translated(self._client.where):
            return ((await self._client.call("GET", self._moved)) or b"").decode()

    async def owners(self) -> list[str]:
        """See `Generation.owners`."""
        return [worker.worker for worker in await self._workers.workers() if worker.shards]

    async def close_down(self, note: str) -> None:
        """See `Generation.close_down`."""
        with translated(self._client.where):
            await self._client.call("SET", self._moved, note)
            await self._client.call("SET", self._keys.layout(), OUT_OF_SERVICE)

    async def seal(self, shard: int, head: Head) -> bool:
        """See `Generation.seal`."""
        expected = (OUT_OF_SERVICE, "seal", head.offset, head.lineage)
        with translated(self._client.where):
            return bool(await self._client.run(script("seal.lua"), self._keys.base(shard) + HEAD, *expected))

    async def open_up(self, shards: Sequence[int]) -> None:
        """See `Generation.open_up`."""
        with translated(self._client.where):
            for shard in shards:
                key = self._keys.base(shard) + HEAD
                await self._client.run(script("seal.lua"), key, LAYOUT, "open", OUT_OF_SERVICE)
            await self._client.call("SET", self._keys.layout(), LAYOUT)
            await self._client.call("DEL", self._moved)

    async def read(self, shards: Sequence[int], take: Callable[[int, Sequence[Piece]], Awaitable[None]]) -> None:
        """See `Generation.read`."""
        await self._copies.copy(shards, take)

    async def guests(self, shard: int) -> dict[bytes, bytes]:
        """See `Generation.guests`."""
        base = self._keys.base(shard) + generation.GUESTS
        found: dict[bytes, bytes] = {}
        with translated(self._client.where):
            for bucket in range(256):
                held = await self._client.call("HGETALL", base + bytes([bucket]))
                pairs = held.items() if isinstance(held, dict) else zip(held[::2], held[1::2], strict=True)
                found.update(pairs)
        return found

    async def merge(self, shard: int, piece: Piece) -> None:
        """See `Generation.merge`."""
        key = self._keys.base(shard) + piece.name
        members = [bytes(part) for part in piece.value] if not isinstance(piece.value, bytes) else []
        command = "HSET"
        if piece.kind == "zset":
            command, members = "ZADD", [part for at in range(0, len(members), 2) for part in members[at : at + 2][::-1]]
        with translated(self._client.where):
            for part in chunks(members, 2 * MEMBERS_MAX):
                await self._client.call(command, key, *part)

    async def archive(self) -> list[Piece]:
        """See `Generation.archive`."""
        return [piece for piece in await self._copies.archive() if piece.name != FEATURES]

    async def restore_archive(self, pieces: Sequence[Piece]) -> None:
        """See `Generation.restore_archive`."""
        await self._copies.restore_archive(pieces)

    async def clear(self) -> None:
        """See `Generation.clear`."""
        await self._delete(keep=frozenset((self._keys.layout(), self._moved)))

    async def drop(self) -> None:
        """See `Generation.drop`: what says that it is not in service goes last."""
        await self.clear()
        await self._delete(keep=frozenset())

    async def _delete(self, keep: frozenset[bytes]) -> None:
        with translated(self._client.where):
            async for keys in self._every(keep):
                await self._client.send([("UNLINK", key) for key in keys])

    async def _every(self, keep: frozenset[bytes]) -> AsyncIterator[list[bytes]]:
        """The keys of this prefix, some at a time."""
        found: list[bytes] = []
        async for key in self._client.scan(self._prefix + b"*", SCAN_COUNT):
            if key not in keep:
                found.append(key)
            if len(found) >= DELETE_KEYS_MAX:
                yield found
                found = []
        if found:
            yield found
