"""Copies of shards in Redis, Valkey or Redis Cluster, taken while their owners go on; see copy.lua."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from engine.adapters.commits import LAYOUT
from engine.adapters.redis_client import RedisClient, RedisOptions, chunks
from engine.adapters.redis_errors import translated
from engine.adapters.redis_keys import CHANGED, DELIVERED, HEAD, JOURNAL, KEPT, NAMES, OUTBOX, TOUCHES, WEBHOOK, Keys
from engine.adapters.redis_store import script
from engine.ports.copies import GONE, CopyLost, Piece, ShardThere
from engine.ports.store import StoreMisconfigured

READ_KEYS_MAX: Final = 250  # of one call: holds the server for some 0.3 ms
CUT_KEYS_MAX: Final = 250  # that may be left for the last call
SCAN_COUNT: Final = 500
LEASE_MS: Final = 60_000  # a copier that died is forgotten after that long
REST_SHARE: Final = 1.0  # rests as long as it works, so that the server has half its time for its owners at least

_FIXED: Final = frozenset((HEAD, OUTBOX, TOUCHES, DELIVERED, NAMES, CHANGED, JOURNAL, KEPT))
_BUILD: Final = {"list": "RPUSH", "set": "SADD", "hash": "HSET", "zset": "ZADD"}
Take = Callable[[int, Sequence[Piece]], Awaitable[None]]


class RedisCopies:
    """Implements `engine.ports.copies.Copies`. Each instance belongs to one event loop."""

    def __init__(self, url: str, *, prefix: str, options: RedisOptions | None = None, rest: float = REST_SHARE) -> None:
        """`url` and `prefix` as for `RedisStore`; `rest`: seconds to rest after each second of reading."""
        self._client = RedisClient(url, options or RedisOptions())
        self._keys = Keys(prefix)
        self._prefix = f"{prefix}:".encode()
        self._rest = rest
        self._renewed = 0.0

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def copy(self, shards: Sequence[int], take: Take) -> dict[int, int]:
        """See `Copies.copy`."""
        token = uuid.uuid4().hex
        with translated(self._client.where):
            for shard in shards:
                _began(shard, await self._run("begin", shard, token, LEASE_MS))
            self._renewed = time.monotonic()
            try:
                late = await self._read_all(shards, token, take)
                for shard in shards:
                    await self._follow(shard, token, take)
                offsets = {shard: await self._cut(shard, token, late[shard], take) for shard in shards}
            except BaseException:
                with suppress(Exception):  # the lease ends by itself, and the first fault is the one to tell
                    for shard in shards:
                        await self._run("end", shard, token)
                raise
        return offsets

    async def _read_all(self, shards: Sequence[int], token: str, take: Take) -> dict[int, list[bytes]]:
        """Every key once, in no order. Returns the names of those that are to be read with the head."""
        of_base = {self._keys.base(shard): shard for shard in shards}
        waiting: dict[int, list[bytes]] = {shard: [] for shard in shards}
        late: dict[int, list[bytes]] = {shard: [] for shard in shards}
        async for key in self._client.scan(self._prefix + b"{*}:*", SCAN_COUNT):
            end = key.index(b"}:") + 2
            shard, name = of_base.get(key[:end], -1), key[end:]
            if shard < 0 or name in _FIXED:
                continue
            if name.startswith(WEBHOOK):
                late[shard].append(name)
                continue
            waiting[shard].append(name)
            if len(waiting[shard]) >= READ_KEYS_MAX:
                await self._read(shard, waiting[shard], take)
                waiting[shard].clear()
                await self._keep(shards, token)
        for shard, names in waiting.items():
            for part in chunks(names, READ_KEYS_MAX):
                await self._read(shard, part, take)
        return late

    async def _read(self, shard: int, names: Iterable[bytes], take: Take) -> None:
        began = time.monotonic()
        await take(shard, _pieces(await self._run("read", shard, _now_ms(), *names)))
        await asyncio.sleep((time.monotonic() - began) * self._rest)

    async def _keep(self, shards: Sequence[int], token: str) -> None:
        if time.monotonic() - self._renewed > LEASE_MS / 4000:
            for shard in shards:
                _held(shard, await self._run("keep", shard, token, LEASE_MS))
            self._renewed = time.monotonic()

    async def _follow(self, shard: int, token: str, take: Take) -> None:
        """Read what has changed meanwhile, until little is left."""
        left = CUT_KEYS_MAX + 1
        while left > CUT_KEYS_MAX:
            reply = _held(shard, await self._run("take", shard, token, _now_ms(), READ_KEYS_MAX))
            left = int(reply[1])
            await take(shard, _pieces(reply[2]))

    async def _cut(self, shard: int, token: str, late: Sequence[bytes], take: Take) -> int:
        while True:
            reply = _held(shard, await self._run("cut", shard, token, _now_ms(), CUT_KEYS_MAX, *late))
            if reply[0] == b"O":
                pieces = _pieces(reply[1])
                await take(shard, pieces)
                fields: Sequence[Any] = pieces[-1].value
                head = dict(zip(fields[::2], fields[1::2], strict=True))
                return int(head.get(b"offset", b"-1"))
            await self._follow(shard, token, take)

    async def claim(self, shard: int, offset: int, *, replace: bool, journal: bool = True) -> None:
        """See `Copies.claim`."""
        with translated(self._client.where):
            reply = await self._run("claim", shard, LAYOUT, offset, int(replace), int(journal))
            if reply[0] != b"O":
                raise ShardThere(f"shard {shard} is there, at offset {reply[1].decode() or 'none'}")
            base, keep = self._keys.base(shard), (HEAD, KEPT)
            doomed: list[bytes] = []
            async for key in self._client.scan(base + b"*", SCAN_COUNT):
                doomed += [key] * (key[len(base) :] not in keep)
            for part in chunks(doomed, READ_KEYS_MAX):
                await self._client.call("UNLINK", *part)
            if offset < 0:
                await self._client.call("DEL", base + HEAD)

    async def put(self, shard: int, pieces: Sequence[Piece]) -> None:
        """See `Copies.put`."""
        base = self._keys.base(shard)
        with translated(self._client.where):
            await self._client.send([command for piece in pieces for command in _commands(base, piece)])

    async def finish(self, shard: int, head: Piece | None) -> None:
        """See `Copies.finish`: one call writes the whole head."""
        key = self._keys.base(shard) + HEAD
        with translated(self._client.where):
            if head is not None:
                await self._client.call("HSET", key, *head.value)

    async def archive(self) -> list[Piece]:
        """See `Copies.archive`: the rule sets, and the layout of features that shards share."""
        found = []
        with translated(self._client.where):
            names = {self._keys.features()}
            names |= {key async for key in self._client.scan(self._prefix + b"rules:*", SCAN_COUNT)}
            for name in sorted(names):
                value, left = await self._client.call("GET", name), await self._client.call("PTTL", name)
                if value is not None:
                    expires_ms = _now_ms() + left if left > 0 else 0
                    found.append(Piece(name.removeprefix(self._prefix), "string", expires_ms, value))
        return found

    async def restore_archive(self, pieces: Sequence[Piece]) -> None:
        """See `Copies.restore_archive`."""
        with translated(self._client.where):
            await self._client.call("SET", self._keys.layout(), LAYOUT, "NX")
            for piece in pieces:
                await self._client.send(_commands(self._prefix, piece))

    async def _run(self, what: str, shard: int, *arguments: bytes | str | int) -> Any:
        return await self._client.run(script("copy.lua"), self._keys.base(shard) + HEAD, what, *arguments)


def _commands(base: bytes, piece: Piece) -> list[Sequence[bytes | str | int]]:
    """What writes a piece over whatever is there."""
    key, value = base + piece.name, piece.value
    if piece.kind == GONE or 0 < piece.expires_ms <= _now_ms():
        return [("DEL", key)]
    if isinstance(value, bytes):
        return [("SET", key, value, *(("PXAT", piece.expires_ms) if piece.expires_ms else ()))]
    members: Sequence[bytes] = _scores_first(value) if piece.kind == "zset" else value
    commands: list[Sequence[bytes | str | int]] = [("DEL", key)]
    commands += [[_BUILD[piece.kind], key, *part] for part in chunks(members, 2 * READ_KEYS_MAX)]
    return commands


def _scores_first(members: Sequence[bytes]) -> list[bytes]:
    return [part for pair in zip(members[1::2], members[::2], strict=True) for part in pair]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _began(shard: int, reply: list[bytes]) -> None:
    if reply[0] == b"T":
        told = f"a commit to offset {reply[2].decode()} stopped half way, the last whole one is {reply[1].decode()}"
        raise StoreMisconfigured(f"shard {shard}: {told}: put an earlier copy back (steward rebuild)")
    if reply[0] == b"B":
        raise CopyLost(f"shard {shard} is being copied by somebody else; try again in a minute")


def _held(shard: int, reply: list[Any]) -> list[Any]:
    if reply[0] == b"L":
        raise CopyLost(f"shard {shard}: the copy was interrupted for over {LEASE_MS // 1000} s")
    return reply


def _pieces(flat: list[Any]) -> list[Piece]:
    return [Piece(flat[at], flat[at + 1].decode(), int(flat[at + 2]), flat[at + 3]) for at in range(0, len(flat), 4)]
