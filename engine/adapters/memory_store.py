"""A state store in this process's memory: for replay, tests and development. Gone when the process ends."""

import asyncio
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from engine.adapters.commits import JOURNAL_LENGTH_MAX, check_commit, check_delivery, checked_ops, checked_touches
from engine.adapters.redis_keys import ANSWER, GIVEN
from engine.domain.ops import APPEND, DELETE, KEY_HEAD, REWRITE, Op, rewritten
from engine.ports.copies import Piece
from engine.ports.store import Commit, Delivery, DeliveryGap, Fenced, Head, Place, StoreMisconfigured

HOUR_SECONDS = 3600.0


@dataclass(slots=True)
class _Shard:
    offset: int = -1
    lineage: bytes = b""
    outbox_first: int = 0
    outbox: deque[bytes] = field(default_factory=deque)
    touches_first: int = 0
    touches: deque[bytes] = field(default_factory=deque)
    applied: dict[int, int] = field(default_factory=dict)
    state: dict[bytes, bytearray] = field(default_factory=dict)
    expires: dict[bytes, float] = field(default_factory=dict)
    answers: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    given: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    journal: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=JOURNAL_LENGTH_MAX))


class MemoryStore:
    """Implements `engine.ports.store.StateStore`.

    `now` returns seconds and only ages keys that have a time to live. Expired keys are dropped when they are next
    touched; unlike Redis nothing looks for them in between.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.notes: tuple[str, ...] = ("state is in memory: it ends with this process",)
        self._now = now
        self._shards: dict[int, _Shard] = {}
        self._layout: bytes | None = None
        self.sealed: set[int] = set()  # shards that are out of service
        self._listeners: dict[str, set[asyncio.Queue[bytes]]] = {}

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of; the state stays for a later `open`."""

    async def open(self, shard: int) -> Head:
        """See `StateStore.open`."""
        self._in_service(shard)
        held = self._shards.get(shard, _Shard())
        names = [name for name in held.state if name.startswith(KEY_HEAD)]
        state = {name: bytes(value) for name in names if (value := self._live(held, name)) is not None}
        outbox = list(enumerate(held.outbox, held.outbox_first))
        touches = tuple(enumerate(held.touches, held.touches_first))
        following = held.touches_first + len(held.touches)
        return Head(held.offset, held.outbox_first + len(held.outbox), outbox, state, touches, following, held.lineage)

    async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        """See `StateStore.load`."""
        held = self._shards.get(shard, _Shard())
        if at is not None and at != (held.offset, held.lineage):
            raise Fenced(shard, at[0], held.offset)
        values = (self._live(held, key) for key in keys)
        return [None if value is None else bytes(value) for value in values]

    async def commit(self, commit: Commit) -> None:
        """See `StateStore.commit`. Raises `ValueError` on a malformed commit; nothing has changed then."""
        check_commit(commit)
        self._in_service(commit.shard)
        held = self._shards.get(commit.shard) or _Shard()
        if held.offset != commit.expected or held.lineage != commit.lineage:
            raise Fenced(commit.shard, commit.expected, held.offset)
        ops = checked_ops(commit.ops)
        outbox_next = held.outbox_first + len(held.outbox)
        if commit.relayed > outbox_next:
            raise ValueError(f"relayed {commit.relayed} entries of {outbox_next}")
        if commit.delivered > held.touches_first + len(held.touches):
            raise ValueError(f"delivered {commit.delivered} touch entries")
        self._shards[commit.shard] = held
        for op in ops:
            self._apply(held, op)
        while held.touches_first < commit.delivered:
            held.touches.popleft()
            held.touches_first += 1
        if commit.touches:
            held.touches.append(commit.touches)
        while held.outbox_first < commit.relayed:
            held.outbox.popleft()
            held.outbox_first += 1
        if commit.outbox:
            held.outbox.append(commit.outbox)
        if commit.journal:
            held.journal.append((commit.next_offset, commit.journal))
        now = self._now()
        for key, decision, ttl_seconds in commit.answers:
            held.answers[key] = (decision, now + ttl_seconds)
        held.offset, held.lineage = commit.next_offset, commit.next_lineage
        for channel, payload in commit.replies:
            for queue in self._listeners.get(channel, ()):
                queue.put_nowait(payload)

    async def deliver(self, delivery: Delivery) -> int:
        """See `StateStore.deliver`. Raises `ValueError` on a malformed one; nothing has changed then."""
        check_delivery(delivery)
        self._in_service(delivery.home)
        held = self._shards.get(delivery.home) or _Shard()
        applied = held.applied.get(delivery.source, -1)
        if applied >= delivery.next_offset:
            return applied
        if applied < delivery.previous:
            raise DeliveryGap(delivery.home, delivery.source, delivery.previous, applied)
        ops = checked_touches(delivery)
        self._shards[delivery.home] = held
        for (offset,), op in zip(struct.iter_unpack("<I", delivery.offsets), ops, strict=True):
            if delivery.first + offset >= applied:
                self._apply(held, op)
        held.applied[delivery.source] = delivery.next_offset
        return delivery.next_offset

    async def layout(self) -> bytes | None:
        """See `StateStore.layout`."""
        return self._layout

    async def extend_layout(self, before: bytes | None, after: bytes) -> bool:
        """See `StateStore.extend_layout`."""
        if self._layout != before:
            return False
        self._layout = after
        return True

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        """See `StateStore.answer`: what was given comes first."""
        held = self._shards.get(shard, _Shard())
        given = self._kept(held.given, key)
        return self._kept(held.answers, key) if given is None else given

    async def give(self, shard: int, key: bytes, body: bytes, ttl_s: int, age_s: float) -> tuple[bool, bytes | None]:
        """See `engine.ports.sync.AnswerBook.give`."""
        held, now = self._shards.setdefault(shard, _Shard()), self._now()
        owners = self._kept(held.answers, key)
        if owners is not None and ttl_s - (held.answers[key][1] - now) > age_s:
            return False, owners
        held.given[key] = (body, now + ttl_s)
        return True, owners

    def _kept(self, answers: dict[bytes, tuple[bytes, float]], key: bytes) -> bytes | None:
        """One of the kept answers; dropped where its time is over."""
        body, expires = answers.get(key, (None, 0.0))
        if body is not None and expires <= self._now():
            del answers[key]
            return None
        return body

    def journal(self, shard: int) -> Iterator[tuple[int, bytes]]:
        """Journal entries kept, oldest first: the offset stored with each, and its bytes."""
        yield from self._shards.get(shard, _Shard()).journal

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Payloads published to `channel` by commits from now on, as `RedisReplies.subscribe` gives them."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.setdefault(channel, set()).add(queue)
        try:
            yield _drain(queue)
        finally:
            self._listeners[channel].discard(queue)

    def held(self) -> bool:
        """Whether anything was ever stored."""
        return bool(self._shards)

    def pieces(self, shard: int, now_ms: int = 0) -> list[Piece]:
        """All state and answers of a shard; expiries count from `now_ms`."""
        held, now = self._shards.get(shard, _Shard()), self._now()
        found = []
        for name in list(held.state):
            value, expires = self._live(held, name), held.expires.get(name)
            if value is not None:
                expires_ms = now_ms + max(1, round((expires - now) * 1000)) if expires is not None else 0
                found.append(Piece(name, "string", expires_ms, bytes(value)))
        for room, kept in ((ANSWER, held.answers), (GIVEN, held.given)):
            for key in list(kept):
                body = self._kept(kept, key)
                if body is not None:
                    found.append(Piece(room + key, "string", now_ms + round((kept[key][1] - now) * 1000), body))
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._shards.clear()
        self._layout = None

    def _in_service(self, shard: int) -> None:
        if shard in self.sealed:
            raise StoreMisconfigured(f"shard {shard} is out of service: steward repartition has it")

    def _live(self, held: _Shard, key: bytes) -> bytearray | None:
        value = held.state.get(key)
        if value is not None and held.expires.get(key, float("inf")) <= self._now():
            del held.state[key], held.expires[key]
            return None
        return value

    def _apply(self, held: _Shard, op: Op) -> None:
        value = self._live(held, op.key)
        if op.kind == DELETE:
            held.state.pop(op.key, None)
            held.expires.pop(op.key, None)
            return
        if op.kind == REWRITE:
            changed = rewritten(value, op.value) if value is not None else None
            if changed is None:
                return
            held.state[op.key] = bytearray(changed)
        elif op.kind == APPEND and value is not None:
            value += op.value
        else:
            held.state[op.key] = bytearray(op.value)
        if op.ttl_hours:
            held.expires[op.key] = self._now() + op.ttl_hours * HOUR_SECONDS


async def _drain(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await queue.get()
