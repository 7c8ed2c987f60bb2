"""The archive of rule sets in Redis: one compressed value a rule set, `PREFIX:rules:HASH`."""

import json
import zlib
from collections.abc import Mapping
from typing import Final

from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_errors import translated

RULES_TTL_S: Final = 400 * 86_400  # since it was last put or asked for: as long as the longest state remembers


class RedisRules:
    """Implements `engine.ports.rules.RuleArchive`. Each instance belongs to one event loop.

    A rule set is forgotten `ttl_s` after it was last put or read; whoever has one in force puts it again from time to
    time (`engine.service.reload`).
    """

    def __init__(self, url: str, *, prefix: str, options: RedisOptions | None = None, ttl_s: int = RULES_TTL_S) -> None:
        """`url` and `prefix` as for `RedisStore`."""
        self._client = RedisClient(url, options or RedisOptions())
        self._prefix = f"{prefix}:rules:"
        self._ttl_s = ttl_s

    async def put(self, ruleset: str, files: Mapping[str, str]) -> None:
        """See `RuleArchive.put`."""
        packed = zlib.compress(json.dumps(dict(files), ensure_ascii=False).encode())
        with translated(self._client.where):
            await self._client.call("SET", self._prefix + ruleset, packed, "EX", self._ttl_s)

    async def get(self, ruleset: str) -> dict[str, str] | None:
        """See `RuleArchive.get`."""
        with translated(self._client.where):
            packed = await self._client.call("GETEX", self._prefix + ruleset, "EX", self._ttl_s)
        if packed is None:
            return None
        found: dict[str, str] = json.loads(zlib.decompress(packed))
        return found

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()
