"""The state store in Redis (6.2 or later), Valkey or Redis Cluster. docs/state.md describes keys and layout.

A commit is one call of the script `commit.lua`: the server checks the fence and the whole batch, then applies it, and
runs nothing else in between. Where the connection breaks or the wait ends after the call was sent, the client cannot
know whether it was applied. `StoreUnavailable` then means "ask": the caller drops its cached state, opens the shard
again and goes on from the offset it finds, which is either the old or the new one. It must not send the same commit
again without looking; if it does, the fence refuses the second one.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from itertools import chain
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from engine.adapters.commits import JOURNAL_LENGTH_MAX, LAYOUT, OUT_OF_SERVICE, check_commit, check_delivery
from engine.adapters.redis_client import RedisClient, RedisOptions, Script, chunks
from engine.adapters.redis_errors import translated
from engine.adapters.redis_keys import ANSWER, GIVEN, HEAD, KEPT, Keys
from engine.ports.store import Commit, Delivery, DeliveryGap, Fenced, Head, Place, StoreMisconfigured

LOAD_KEYS_MAX: Final = 1_000
"""Keys of one MGET: bounds the time the server spends on one call."""

KEPT_ENTRIES_MAX: Final = 16
"""Entries of a kept journal read at once: some megabytes at most."""

VERSION_MIN: Final = (6, 2)
PREFIX: Final = "st"  # short, for every key carries it


@cache
def script(*names: str) -> Script:
    """A Lua script that ships with this package; of several files, one after the other."""
    text = "".join(files("engine.adapters").joinpath(name).read_text(encoding="utf-8") for name in names)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_Loaded = tuple[int | None, Sequence[bytes | None]]
"""The stored offset where the shard is elsewhere, and the values of keys where it is not."""

COMMIT: Final = partial(script, "ops.lua", "commit.lua")
DELIVER: Final = partial(script, "ops.lua", "deliver.lua")


class RedisStore:
    """Implements `engine.ports.store.StateStore`.

    `prefix` starts every key, so that several deployments can share a server. `notes`, after `start`, says what an
    operator should know about the server. Each instance belongs to one event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = PREFIX,
        options: RedisOptions | None = None,
        journal_length_max: int = JOURNAL_LENGTH_MAX,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._client = RedisClient(url, options or RedisOptions())
        self._keys = Keys(prefix)
        self._journal_length_max = journal_length_max
        self._bases: dict[int, bytes] = {}

    async def start(self) -> None:
        """Check the server: version, eviction policy, persistence, layout.

        Raises `StoreMisconfigured` where it must not be used as it is, `StoreUnavailable` where it does not answer.
        """
        with translated(self._client.where):
            servers = await self._client.info("everything")
            policies = [await self._eviction_policy(server) for server in servers]
            for server, policy in zip(servers, policies, strict=True):
                _check_server(server, policy, self._client.where)
            await self._check_layout()
        self.notes = tuple(dict.fromkeys(chain.from_iterable(map(_server_notes, servers))))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def open(self, shard: int) -> Head:
        """See `StateStore.open`: one call, so that all of it is as of one moment."""
        base = self._base(shard)
        with translated(self._client.where):
            reply = await self._client.run(script("open.lua"), base + HEAD)
        layout, offset_text, next_text, writing, outbox, state, touches_text, touches = reply[:8]
        if layout is not None and int(layout) != LAYOUT:
            raise StoreMisconfigured(_other_layout(layout))
        offset = int(offset_text) if offset_text is not None else -1
        if writing is not None and int(writing) != offset:
            raise StoreMisconfigured(_torn(shard, offset_text, writing))
        outbox_next = int(next_text or 0)
        entries = list(enumerate(outbox, outbox_next - len(outbox)))
        touches_next = int(touches_text or 0)
        listed = tuple(enumerate(touches, touches_next - len(touches)))
        small = dict(zip(state[::2], state[1::2], strict=True))
        lineage = reply[8] if len(reply) > 8 else None  # Lua ends a table at a nil
        return Head(offset, outbox_next, entries, small, listed, touches_next, lineage or b"")

    async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        """See `StateStore.load`."""
        base, parts = self._base(shard), chunks(keys, LOAD_KEYS_MAX)
        with translated(self._client.where):
            if at is None:
                calls = [self._client.call("MGET", *[base + key for key in part]) for part in parts]
                return list(chain.from_iterable(await asyncio.gather(*calls)))
            fenced = self._load_by_script if self._client.clustered else self._load_together
            replies = await asyncio.gather(*(fenced(base, part, at) for part in parts or [()]))
        for offset, _ in replies:
            if offset is not None:
                raise Fenced(shard, at[0], offset)
        return list(chain.from_iterable(values for _, values in replies))

    async def _load_together(self, base: bytes, keys: Sequence[bytes], at: Place) -> _Loaded:
        """Values and place in one transaction: a tenth of the server's time that a script takes for it."""
        commands: list[Sequence[bytes | str]] = [("HMGET", base + HEAD, "offset", "lineage")]
        if keys:
            commands.append(("MGET", *[base + key for key in keys]))
        place, *values = await self._client.together(*commands)
        found = int(place[0]) if place[0] is not None else -1, place[1] or b""
        return (None, values[0] if keys else []) if found == at else (found[0], [])

    async def _load_by_script(self, base: bytes, keys: Sequence[bytes], at: Place) -> _Loaded:
        """The same in a cluster, where a slot may be on its way and redirects a transaction in its middle."""
        verdict, found = await self._client.run(script("load.lua"), base + HEAD, *at, *keys)
        return (None, found) if verdict == b"O" else (int(found), [])

    async def commit(self, commit: Commit) -> None:
        """See `StateStore.commit`.

        Raises `Fenced`; `ValueError` on a malformed commit, and nothing has changed then; `StoreUnavailable`, after
        which it may or may not have been applied: open the shard again (see the module's docstring).
        """
        check_commit(commit)
        arguments: list[bytes | str | int] = [
            LAYOUT, commit.expected, commit.next_offset, commit.relayed, commit.ops, commit.outbox, commit.journal,
            self._journal_length_max, commit.delivered, commit.touches, commit.lineage, commit.next_lineage,
            len(commit.answers),
        ]  # fmt: skip
        for answer in commit.answers:
            arguments += answer
        for reply_to in commit.replies:
            arguments += reply_to
        with translated(self._client.where):
            reply = await self._client.run(COMMIT(), self._base(commit.shard) + HEAD, *arguments)
        if reply[0] != b"O":
            raise (
                Fenced(commit.shard, commit.expected, int(reply[1]))
                if reply[0] == b"F"
                else _refusal(commit.shard, reply)
            )

    async def deliver(self, delivery: Delivery) -> int:
        """See `StateStore.deliver`. Raises `ValueError` on a malformed one; nothing has changed then."""
        check_delivery(delivery)
        arguments = (
            LAYOUT, delivery.source, delivery.previous, delivery.first, delivery.next_offset, delivery.offsets,
            delivery.ops,
        )  # fmt: skip
        with translated(self._client.where):
            reply = await self._client.run(DELIVER(), self._base(delivery.home) + HEAD, *arguments)
        if reply[0] == b"G":
            raise DeliveryGap(delivery.home, delivery.source, delivery.previous, int(reply[1]))
        if reply[0] != b"O":
            raise _refusal(delivery.home, reply)
        return int(reply[1])

    async def layout(self) -> bytes | None:
        """See `StateStore.layout`."""
        with translated(self._client.where):
            layout: bytes | None = await self._client.call("GET", self._keys.features())
        return layout

    async def extend_layout(self, before: bytes | None, after: bytes) -> bool:
        """See `StateStore.extend_layout`."""
        with translated(self._client.where):
            return bool(await self._client.run(script("swap.lua"), self._keys.features(), before or b"", after))

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        """See `StateStore.answer`: what was given comes first."""
        base = self._base(shard)
        with translated(self._client.where):
            given, decision = await self._client.call("MGET", base + GIVEN + key, base + ANSWER + key)
        found: bytes | None = decision if given is None else given
        return found

    async def give(self, shard: int, key: bytes, body: bytes, ttl_s: int, age_s: float) -> tuple[bool, bytes | None]:
        """See `engine.ports.sync.AnswerBook.give`."""
        base = self._base(shard)
        arguments = (base + GIVEN + key, body, ttl_s * 1000, round(age_s * 1000))
        with translated(self._client.where):
            kept, owners = await self._client.run(script("give.lua"), base + ANSWER + key, *arguments)
        return bool(kept), owners

    async def kept_journal(self, shard: int, after: int) -> list[tuple[int, bytes]]:
        """See `engine.ports.copies.KeptJournal.kept_journal`."""
        begin, count = f"{max(0, after) + 1}-0", KEPT_ENTRIES_MAX
        with translated(self._client.where):
            found = await self._client.call("XRANGE", self._base(shard) + KEPT, begin, "+", "COUNT", count)
        return [(int(entry.partition(b"-")[0]), fields[b"r"]) for entry, fields in found]

    async def drop_kept_journal(self, shard: int) -> None:
        """See `engine.ports.copies.KeptJournal.drop_kept_journal`."""
        with translated(self._client.where):
            await self._client.call("UNLINK", self._base(shard) + KEPT)

    async def node(self, shard: int) -> str:
        """Which server holds a shard. Raises `StoreUnavailable`."""
        with translated(self._client.where):
            return await self._client.node_of(self._base(shard) + HEAD)

    def _base(self, shard: int) -> bytes:
        base = self._bases.get(shard)
        if base is None:
            base = self._bases[shard] = self._keys.base(shard)
        return base

    async def _eviction_policy(self, server: dict[str, Any]) -> str:
        """INFO names the policy also where a managed service forbids CONFIG."""
        if "maxmemory_policy" in server:
            return str(server["maxmemory_policy"])
        try:
            reply = await self._client.call("CONFIG", "GET", "maxmemory-policy")
        except (NoPermissionError, ResponseError):
            return "unknown"
        return str(reply["maxmemory-policy"] if isinstance(reply, dict) else reply[1].decode())

    async def _check_layout(self) -> None:
        key = self._keys.layout()
        await self._client.call("SET", key, LAYOUT, "NX")
        layout = await self._client.call("GET", key)
        if int(layout) != LAYOUT:
            raise StoreMisconfigured(_other_layout(layout))


def _check_server(server: dict[str, Any], policy: str, where: str) -> None:
    version = str(server.get("redis_version", "0"))  # Valkey gives the Redis version it is compatible with
    if tuple(int(part) for part in version.split(".")[:2]) < VERSION_MIN:
        raise StoreMisconfigured(f"Redis at {where} is {version}; {'.'.join(map(str, VERSION_MIN))} or later is needed")
    if policy != "noeviction":
        raise StoreMisconfigured(
            f"Redis at {where} may throw state away: its maxmemory-policy is {policy}. "
            "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf)."
        )


def _server_notes(server: dict[str, Any]) -> list[str]:
    notes = []
    if not int(server.get("aof_enabled", 0)):
        notes.append("Redis keeps no append-only file: a crash loses what was committed since the last snapshot")
    if not int(server.get("maxmemory", 0)):
        notes.append("Redis has no memory limit (maxmemory): set one below the machine's memory")
    return notes


def _other_layout(layout: bytes) -> str:
    if int(layout) == OUT_OF_SERVICE:
        return (
            "the state under this prefix is out of service: steward repartition is moving it to another number of "
            "partitions, or has moved it; once it is done, use the prefix and the topic that it names"
        )
    return f"Redis holds state of layout {layout.decode()}; this version reads layout {LAYOUT}: migrate it"


def _torn(shard: int, offset: bytes | None, writing: bytes) -> str:
    return (
        f"shard {shard}: a commit to offset {writing.decode()} stopped half way, the last whole one is "
        f"{(offset or b'-1').decode()}: restore the shard from a backup or rebuild it from the log"
    )


def _refusal(shard: int, reply: list[bytes]) -> Exception:
    if reply[0] == b"I":
        return ValueError(f"shard {shard}: {reply[1].decode(errors='replace')}")
    if reply[0] == b"V":
        return StoreMisconfigured(_other_layout(reply[1]))
    return StoreMisconfigured(_torn(shard, reply[1], reply[2]))
