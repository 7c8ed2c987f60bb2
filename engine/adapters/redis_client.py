"""Connections to Redis, Valkey and Redis Cluster, with every wait bounded and no retries of its own.

Retrying is the service's business: it knows that a commit whose answer was lost must be looked up, not sent again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

NEVER: Final = b"~"  # no key ends with it

CLUSTER_SCHEMES: Final = ("redis-cluster", "rediss-cluster")
SCHEMES: Final = ("redis", "rediss", "unix", *CLUSTER_SCHEMES)


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How to reach Redis. Seconds bound every wait: to connect, and for each reply."""

    connect_timeout_seconds: float = 2.0
    reply_timeout_seconds: float = 5.0
    connections_max: int = 64


def without_secrets(url: str) -> str:
    """The URL as it may be shown: no user, no password, no options."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class RedisClient:
    """One server or one cluster; `call` sends a command to the node that holds its key."""

    def __init__(self, url: str, options: RedisOptions) -> None:
        """`url`: `redis://`, `rediss://`, `unix://` or `redis-cluster://`. Raises `ValueError` on another."""
        scheme = urlsplit(url).scheme
        if scheme not in SCHEMES:
            raise ValueError(f"not a Redis URL: {without_secrets(url)!r}; use one of {', '.join(SCHEMES)}")
        self.where = without_secrets(url)
        self._connection: Redis | RedisCluster
        settings: dict[str, Any] = {
            "protocol": 2,  # Redis 6.2 to 8 and Valkey answer alike
            "socket_connect_timeout": options.connect_timeout_seconds,
            "socket_timeout": options.reply_timeout_seconds,
            "max_connections": options.connections_max,
        }
        if scheme in CLUSTER_SCHEMES:
            plain = url.replace("-cluster", "", 1)
            retry = Retry(NoBackoff(), 1)  # one more try, for a slot that has moved
            self._connection = RedisCluster.from_url(plain, retry=retry, **settings)
        else:
            self._connection = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **settings)

    async def call(self, *command: bytes | str | int) -> Any:
        """The reply to one command."""
        return await self._connection.execute_command(*command)

    async def run(self, script: "Script", key: bytes, *arguments: bytes | str | int) -> Any:
        """Run a script on the node that holds `key`; a server that does not know it yet is given its text.

        A cluster is also told a key that never exists, where `key` has a hash tag. A node whose slot is being moved
        has then not all keys of the call, and refuses it before it begins (TRYAGAIN). Otherwise the script would run
        with half of a shard's keys: stop in its middle on the node they leave, read nothing and append to nothing on
        the node they go to.
        """
        keys = [key, key + NEVER] if isinstance(self._connection, RedisCluster) and b"{" in key else [key]
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.call("EVAL", script.text, len(keys), *keys, *arguments)

    @property
    def clustered(self) -> bool:
        """Whether a cluster is behind it."""
        return isinstance(self._connection, RedisCluster)

    async def together(self, *commands: Sequence[bytes | str | int]) -> list[Any]:
        """The replies to commands of one server that nothing else comes between (MULTI). Not for a cluster."""
        assert isinstance(self._connection, Redis)
        async with self._connection.pipeline(transaction=True) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute())

    async def send(self, commands: Sequence[Sequence[bytes | str | int]]) -> None:
        """Several commands at once, in order, with no other promise. Raises for the first that fails."""
        pipe: Any = self._connection.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        await pipe.execute()

    async def scan(self, pattern: bytes, count: int) -> AsyncIterator[bytes]:
        """Every key that fits `pattern`, of every primary; some may come twice. Those that come or go meanwhile may be
        left out. `count`: keys the server looks at in one call."""
        async for key in self._connection.scan_iter(match=pattern, count=count):
            yield key

    async def info(self, section: str) -> list[dict[str, Any]]:
        """INFO of the server, or of every primary of the cluster."""
        if isinstance(self._connection, RedisCluster):
            await self._connection.initialize()
            nodes = self._connection.get_primaries()
            found = await asyncio.gather(*(self._connection.info(section, target_nodes=node) for node in nodes))
            return [dict(reply) for reply in found]
        return [dict(await self._connection.info(section))]

    async def node_of(self, key: bytes) -> str:
        """`host:port` of the primary that holds a key; where there is no cluster, of the server."""
        if isinstance(self._connection, RedisCluster):
            await self._connection.initialize()
            node = self._connection.get_node_from_key(key.decode())
            return f"{node.host}:{node.port}" if node is not None else "no node"
        return self.where

    async def close(self) -> None:
        """Close every connection."""
        await self._connection.aclose()


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 a server knows it by."""

    text: str
    sha: str


def chunks(keys: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    """`keys` in pieces of at most `size`."""
    return [keys[start : start + size] for start in range(0, len(keys), size)]
