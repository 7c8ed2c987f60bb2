"""Stores under test: memory, Redis as installed, and the embedded one, each with a fresh key space for every test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from engine.adapters.embedded import RedisServer
from engine.adapters.memory_store import MemoryStore
from engine.adapters.redis_client import RedisOptions
from engine.adapters.redis_replies import RedisReplies
from engine.adapters.redis_store import RedisStore
from engine.domain.ops import Op, pack
from engine.ports.store import StateStore
from tests.support.cluster import RedisCluster

_prefixes = count()


class Backend:
    """Makes stores over one key space; `again` is a second owner's connection to the same data."""

    def __init__(self, server: RedisServer | RedisCluster | None) -> None:
        self.url = server.url if server else None
        self.prefix = f"t{next(_prefixes)}"
        self._memory = MemoryStore()
        self._made: list[StateStore] = []

    def again(self, **options: object) -> StateStore:
        """A store object; in memory always the same one."""
        if self.url is None:
            return self._memory
        store = RedisStore(self.url, prefix=self.prefix, options=RedisOptions(), **options)  # type: ignore[arg-type]
        self._made.append(store)
        return store

    @asynccontextmanager
    async def replies(self) -> AsyncIterator[MemoryStore | RedisReplies]:
        """What listens to the replies of this backend's commits."""
        if self.url is None:
            yield self._memory
            return
        replies = RedisReplies(self.url)
        try:
            yield replies
        finally:
            await replies.close()

    def run(self, body: Callable[[StateStore], Awaitable[None]]) -> None:
        """Run a test body on a started store and close every store it made."""

        async def whole() -> None:
            store = self.again()
            await store.start()
            try:
                await body(store)
            finally:
                while self._made:
                    await self._made.pop().close()

        asyncio.run(whole())


def packed(*ops: Op) -> bytes:
    """Operations as a commit carries them."""
    return b"".join(map(pack, ops))
